// Fitting on the GPU: the whole of a fit or of a colour solve in one launch, without the host.
//
// A fit moves Gaussians by Adam (Kingma and Ba, 2015) until they look like a picture; a colour solve finds the best
// colours for fixed shapes and weights, a linear least-squares problem, by preconditioned conjugate gradients. Either
// is dozens of short passes, each of which needs the last one's result, so the loop lives on the card.
//
// The launch is cooperative. Its blocks form groups; a group works on one picture after another, all of
// the fit of one before the next, and meets at barriers of its own. One picture takes every block of the card
// (live); many pictures take a few blocks each, and while one group waits another computes (batches).
// Invariant: all threads of a group take the same way out of the loop, else a barrier waits for ever; so what stops it
// is asked by sync() and told to all. Semantics are those of fit.cpp.
#include "fit_pass.cuh"

namespace gscodec {

// What fit.cpp's FitResult says.
struct Outcome {
  double loss, roi_mse;
  int iterations, finite;
};

struct FitParams {
  Scene scene;
  Lists lists;
  Targets targets;
  const unsigned* roi_pixels;  // [pictures]
  float* gradient;             // [total, PARAMS]
  float* momentum;             // [2, total, PARAMS]: Adam's two memories
  double2* sums;               // [pictures, 2, SLOTS]: Σ weight·d², Σ over the ROI of d²; alternating
  int* flags;                  // [pictures, 4]: 1 + the first iteration with a parameter that is not
                               // finite; time is up; the tiles must be listed again
  float2* empty;               // [pictures, strips]: a strip's sums when no Gaussian is near it; -1: unknown
  Outcome* outcome;            // [pictures]
  unsigned* arrived;           // [groups], zero at the launch
  int group_size, groups;      // blocks of a group; groups
  int iterations;
  unsigned seed;       // of the noise
  const float* noise;  // [total, PARAMS], or null: width of uniform noise on what is drawn, another every iteration
  float rate_mean, rate_shape, rate_color, rate_weight, beta1, beta2, plateau;
  const float4* schedule;  // [iterations + 1]: share of rates, 1 / (1 - beta1^t), 1 / (1 - beta2^t), plain Adam
  double target_mse;
  double deadline_s;  // 0: never
};

// The loss of a strip that no Gaussian is near, which never changes.
GS_DEVICE void add_empty(const FitParams& p, const Targets& targets, const Picture& picture, const Strip& strip,
                         int number, Loss& loss) {
  float2* known = p.empty + (long long)picture.number * picture.strips + number;
  if (known->x < 0.0f || known->x != known->x) {
    Loss own = {0.0f, 0.0f};
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
      const float4 t = target_at(p.scene, targets, strip.place, r);
      float d[CHANNELS] = {t.x, t.y, t.z};
      if (NORMALISED) {
        start_at(p.scene, targets, strip.place, r, true, d);
        compare<true>(d, t, matte_at(p.scene, targets, strip.place, r), targets.matte_weight, own);
      } else {
        weigh(d, t.w, own);
      }
    }
    own.all = warp_sum(own.all);
    own.roi = warp_sum(own.roi);
    __syncwarp();
    if (lane_id() == 0) *known = {own.all, own.roi};
    __syncwarp();
  }
  if (lane_id() == 0) loss.all += known->x, loss.roi += known->y;
}

// One strip of one iteration: the picture, its difference from the target, and what that says to each Gaussian.
GS_DEVICE void fit_strip(const FitParams& p, FitShared& s, const Picture& picture, int number, bool last, Loss& loss) {
  const Scene& scene = p.scene;
  const Strip strip = strip_at(scene, p.lists, picture, number);
  if (strip.outside) return;
  const Targets targets = targets_of(p.targets, scene, picture.number);
  if (!strip.near_any) {
    if (warp_id() % TEAM == 0) add_empty(p, targets, picture, strip, number, loss);
    return;
  }
  float e[ROWS][CHANNELS], weight[ROWS];
  const int kept = residual<true>(scene, targets, s, strip, e, weight, loss);
  if (last) return;
  Store& store = s.stores[warp_id()];
  for_kept(store, scene, strip, kept, [&](int count) {
    int j = 0;
    for (; j + 1 < count; j += 2) {
      float m[16], by_weight[2];
      for (int i = 0; i < 2; ++i)
        sums_of(store.gaussians[j + i][0], store.gaussians[j + i][1], amplitude_of(store, j + i), strip.place, e,
                m + 8 * i, by_weight[i]);
      add_sums(m, by_weight, p.gradient + PARAMS * store.index[j], p.gradient + PARAMS * store.index[j + 1]);
    }
    if (j < count) {
      float m[8], by_weight;
      sums_of(store.gaussians[j][0], store.gaussians[j][1], amplitude_of(store, j), strip.place, e, m, by_weight);
      add_sums(m, by_weight, p.gradient + PARAMS * store.index[j]);
    }
  });
}

// Adam's step sizes at one iteration.
struct Rates {
  float mean, shape, color, weight, fix1, fix2;
  bool plain;  // Adam on (mean, L, colour) instead of a Gaussian's own frame
};

// Uniform in [-0.5, 0.5), for a number of an iteration: a permuted congruential generator (O'Neill, 2014) as a hash.
GS_DEVICE float uniform_at(unsigned seed, int iteration, int number) {
  unsigned x = seed + unsigned(iteration) * 2654435769u + unsigned(number) * 747796405u;
  x = x * 747796405u + 2891336453u;
  x = ((x >> ((x >> 28) + 4)) ^ x) * 277803737u;
  x = (x >> 22) ^ x;
  return float(x >> 8) * (1.0f / 16777216.0f) - 0.5f;
}

// Prepares Gaussian i with parameters `now` to be drawn in an iteration, with that iteration's noise; returns its box.
GS_DEVICE short4 prepare_noisy(const FitParams& p, int i, int iteration, float now[PARAMS]) {
  if (p.noise) {
    for (int j = 0; j < PARAMS; ++j)
      now[j] += p.noise[(long long)PARAMS * i + j] * uniform_at(p.seed, iteration, PARAMS * i + j);
    now[2] = fmaxf(now[2], MIN_SCALE);
    now[4] = fmaxf(now[4], MIN_SCALE);
  }
  return prepare_gaussian(p.scene, i, now);
}

GS_DEVICE float clamp(float x, float low, float high) { return fminf(fmaxf(x, low), high); }

// One step of Gaussian i in its own frame (fit.cpp, step()): sets the picture's flags.
GS_DEVICE void step(const FitParams& p, int i, const Rates& rates, float limit, int it, int* flags) {
  float now[PARAMS], g[PARAMS], first[PARAMS], second[PARAMS], gradient[PARAMS], change[PARAMS];
  const int total = p.scene.first[p.scene.pictures];
  load_row(p.scene.params, i, now);
  load_row(p.gradient, i, g);
  load_row(p.momentum, i, first);
  load_row(p.momentum, total + i, second);
  const short4 anchor = p.lists.anchors[i];
  unscale(g, NORMALISED ? p.scene.amplitudes[i] : 1.0f, gradient);
  if (rates.plain) {
    gradient[1] /= now[4];
    gradient[0] = (gradient[0] - now[3] * gradient[1]) / now[2];
    gradient[3] /= now[4];
    gradient[2] = (gradient[2] - now[3] * gradient[3]) / now[2];
    gradient[4] /= now[4];
  }
#pragma unroll
  for (int j = 0; j < PARAMS; ++j) {
    first[j] += (1.0f - p.beta1) * (gradient[j] - first[j]);
    second[j] += (1.0f - p.beta2) * (gradient[j] * gradient[j] - second[j]);
    const float rate = j < 2 ? rates.mean : j < 5 ? rates.shape : j < LOG_WEIGHT ? rates.color : rates.weight;
    change[j] = -rate * (first[j] * rates.fix1) / (sqrtf(second[j] * rates.fix2) + 1e-6f);
    g[j] = 0.0f;
  }
  store_row(p.gradient, i, g);
  store_row(p.momentum, i, first);
  store_row(p.momentum, total + i, second);
  if (rates.plain) {
    for (int j = 0; j < 5; ++j) now[j] += change[j];
  } else {
    const float l1 = now[2], l2 = now[3], l3 = now[4];
    const float grow1 = expf(change[2]), grow3 = expf(change[4]);
    now[0] += l1 * change[0];
    now[1] += l2 * change[0] + l3 * change[1];
    now[2] = l1 * grow1;
    now[3] = l2 * grow1 + l3 * change[3];
    now[4] = l3 * grow3;
  }
  now[2] = clamp(now[2], MIN_SCALE, limit);
  now[3] = clamp(now[3], -limit, limit);
  now[4] = clamp(now[4], MIN_SCALE, limit);
  float check = 0.0f;  // not 0 where something left the finite numbers
  for (int j = 5; j < PARAMS; ++j) now[j] += change[j];
  for (int j = 0; j < PARAMS; ++j) check += 0.0f * change[j] + 0.0f * now[j];
  if (NORMALISED) {
    float& weight = now[NORMALISED ? LOG_WEIGHT : 0];
    weight = clamp(weight, -MAX_LOG_WEIGHT, MAX_LOG_WEIGHT);
  }
  store_row(p.scene.params, i, now);
  const short4 box = prepare_noisy(p, i, it + 1, now);
  if (!(check == 0.0f)) flags[0] = it + 2;  // blocks that have not looked yet must not stop before the others
  if (strayed(p.lists, box, anchor)) flags[2] = 1;
}

GS_DEVICE bool is_finite(double x) { return x - x == 0.0; }

GS_DEVICE void start_fit(const FitParams& p, const Group& group, const Picture& picture) {
  const int thread = int(threadIdx.x), stride = group.size * THREADS;
  const int total = p.scene.first[p.scene.pictures];
  const float zero[PARAMS] = {};
  for (int i = thread * group.size + group.rank; i < picture.n; i += stride) {
    const int to = picture.first + i;
    float now[PARAMS], check = 0.0f;
    load_row(p.scene.params, to, now);
    for (int j = 0; j < PARAMS; ++j) check += 0.0f * now[j];
    prepare_noisy(p, to, 0, now);
    store_row(p.gradient, to, zero);
    store_row(p.momentum, to, zero);
    store_row(p.momentum, total + to, zero);
    if (!(check == 0.0f)) p.flags[4 * picture.number] = 1;
  }
  for (int i = group.rank + thread * group.size; i < picture.strips; i += stride)
    p.empty[(long long)picture.number * picture.strips + i] = {-1.0f, -1.0f};
}

// Every thread of the group learns the sums of the pass that a barrier has ended.
GS_DEVICE double2 total(const double2* slots) {
  const double2 own = slots[lane_id()];
  return {warp_sum(own.x), warp_sum(own.y)};
}

GS_DEVICE void fit_picture(const FitParams& p, FitShared& s, Group& group, int number) {
  const Scene& scene = p.scene;
  const Picture picture = picture_at(scene, p.lists, number);
  const int thread = int(threadIdx.x), team = warp_id() / TEAM;
  const float limit = float(scene.width > scene.height ? scene.width : scene.height);
  const double roi_values = fmax(1.0, 3.0 * double(p.roi_pixels[number]));
  double2* sums = p.sums + number * 2 * SLOTS;
  int* flags = p.flags + 4 * number;
  double loss_before = 0.0;
  const unsigned long long deadline = nanoseconds() + (unsigned long long)(1e9 * p.deadline_s);

  start_fit(p, group, picture);
  sync(group);
  int parity = 0;
  list_tiles(scene, p.lists, s, group, picture, parity);
  for (int it = 0;; ++it) {
    double2* slots = sums + (it & 1) * SLOTS;
    Loss loss = {0.0f, 0.0f};
    for (int strip = group.rank + team * group.size; strip < picture.strips; strip += group.size * TEAMS)
      fit_strip(p, s, picture, strip, it >= p.iterations, loss);
    block_sum(s, loss.all, loss.roi);
    if (thread == 0) {
      atomicAdd(&slots[group.rank % SLOTS].x, double(loss.all));
      atomicAdd(&slots[group.rank % SLOTS].y, double(loss.roi));
      if (p.deadline_s > 0.0 && group.rank == 0 && nanoseconds() >= deadline) flags[1] = 1;
    }
    const bool stop = sync(group, [&] {
      const int first_bad = *(volatile int*)flags, late = *(volatile int*)(flags + 1);
      const double2 sum = total(slots);
      const double roi_mse = sum.y / roi_values;
      const bool finite = is_finite(sum.x) && (first_bad == 0 || first_bad > it + 1);
      bool done = !finite || late || it >= p.iterations || (p.target_mse > 0.0 && roi_mse <= p.target_mse);
      if (p.plateau > 0.0f && it % 10 == 0) {
        done = done || (it > 0 && loss_before - sum.x < double(p.plateau) * loss_before);
        loss_before = sum.x;
      }
      if (done && group.rank == 0 && thread == 0) p.outcome[number] = {sum.x, roi_mse, it, finite};
      return done;
    });
    if (stop) return;
    const float4 now = p.schedule[it];
    const Rates rates = {
        now.x * p.rate_mean, now.x * p.rate_shape, now.x * p.rate_color, now.x * p.rate_weight, now.y, now.z,
        now.w != 0.0f};
    // Neighbours go to different blocks: with few Gaussians the step is all latency.
    for (int i = thread * group.size + group.rank; i < picture.n; i += group.size * THREADS)
      step(p, picture.first + i, rates, limit, it, flags);
    if (group.rank == 0 && thread < SLOTS) sums[(~it & 1) * SLOTS + thread] = {0.0, 0.0};
    if (sync(group, [&] { return *(volatile int*)(flags + 2) != 0; })) {
      list_tiles(scene, p.lists, s, group, picture, parity);
      if (group.rank == 0 && thread == 0) flags[2] = 0;
    }
  }
}

// Grid groups * group_size, cooperative; `sums`, `flags` and `arrived` are zero at the launch.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) fit(const FitParams p) {
  GS_SHARED(FitShared, s);
  const int number = int(blockIdx.x) / p.group_size;
  Group group = {p.arrived + number, int(blockIdx.x) % p.group_size, p.group_size, 0};
  for (int picture = number; picture < p.scene.pictures; picture += p.groups) fit_picture(p, s, group, picture);
}

}  // namespace gscodec
