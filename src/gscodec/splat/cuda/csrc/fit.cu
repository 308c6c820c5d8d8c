// Fitting on the GPU: the whole of a fit or of a colour solve in one launch, without the host.
//
// A fit moves Gaussians by Adam (Kingma and Ba, 2015) until their sum looks like a picture; a colour solve finds the
// best colours for fixed shapes, a linear least-squares problem, by preconditioned conjugate gradients. Either is
// dozens of short passes, each of which needs the last one's result, so the loop lives on the card.
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
  const float4* target;        // [pictures, H, W]: Y, U, V, weight
  const unsigned* roi_pixels;  // [pictures]
  float* gradient;             // [total, 8]
  float* momentum;             // [total, 16]: Adam's two memories
  double2* sums;               // [pictures, 2, SLOTS]: Σ weight·d², Σ over the ROI of d²; alternating
  int* flags;                  // [pictures, 4]: 1 + the first iteration with a parameter that is not
                               // finite; time is up; the tiles must be listed again
  float2* empty;               // [pictures, strips]: a strip's sums when no Gaussian is near it; -1: unknown
  Outcome* outcome;            // [pictures]
  unsigned* arrived;           // [groups], zero at the launch
  int group_size, groups;      // blocks of a group; groups
  int iterations;
  float rate_mean, rate_shape, rate_color, beta1, beta2, plateau;
  const float4* schedule;  // [iterations + 1]: share of rates, 1 / (1 - beta1^t), 1 / (1 - beta2^t), plain Adam
  double target_mse;
  double deadline_s;  // 0: never
};

struct SolveParams {
  Scene scene;
  Lists lists;
  const float4* target;  // [pictures, H, W]
  float* gradient;       // [total, 8]
  float* rest;           // [total, 4]: residual of the normal equations, diagonal
  double* dots;          // [pictures, sweeps + 1, 12], zero at the launch
  double* loss;          // [pictures], zero at the launch
  unsigned* arrived;     // [groups], zero at the launch
  int group_size, groups, sweeps;
  float ridge;
};

// The loss of a strip that no Gaussian is near, which never changes.
GS_DEVICE void add_empty(const FitParams& p, const float4* target, const Picture& picture, const Strip& strip,
                         int number, Loss& loss) {
  float2* known = p.empty + (long long)picture.number * picture.strips + number;
  if (known->x < 0.0f || known->x != known->x) {
    Loss own = {0.0f, 0.0f};
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
      const float4 t = target_at(p.scene, target, strip.place, r);
      float d[3] = {t.x, t.y, t.z};
      weigh(d, t.w, own);
    }
    own.all = warp_sum(own.all);
    own.roi = warp_sum(own.roi);
    __syncwarp();
    if (lane_id() == 0) *known = {own.all, own.roi};
    __syncwarp();
  }
  if (lane_id() == 0) loss.all += known->x, loss.roi += known->y;
}

// One strip of one iteration: the sum, its difference from the target, and what that says to each Gaussian.
GS_DEVICE void fit_strip(const FitParams& p, FitShared& s, const Picture& picture, int number, bool last, Loss& loss) {
  const Scene& scene = p.scene;
  const Strip strip = strip_at(scene, p.lists, picture, number);
  if (strip.outside) return;
  const float4* target = p.target + (long long)picture.number * scene.height * scene.width;
  if (!strip.near_any) {
    if (warp_id() % TEAM == 0) add_empty(p, target, picture, strip, number, loss);
    return;
  }
  float e[ROWS][3], weight[ROWS];
  const int kept = residual<true>(scene, target, s, strip, e, weight, loss);
  if (last) return;
  Store& store = s.stores[warp_id()];
  for_kept(store, scene, strip, kept, [&](int count) {
    int j = 0;
    for (; j + 1 < count; j += 2) {
      float m[16];
      sums_of(store.gaussians[j][0], store.gaussians[j][1], strip.place, e, m);
      sums_of(store.gaussians[j + 1][0], store.gaussians[j + 1][1], strip.place, e, m + 8);
      add_sums(m, p.gradient + 8 * store.index[j], p.gradient + 8 * store.index[j + 1]);
    }
    if (j < count) {
      float m[8];
      sums_of(store.gaussians[j][0], store.gaussians[j][1], strip.place, e, m);
      add_sums(m, p.gradient + 8 * store.index[j]);
    }
  });
}

// Adam's step sizes at one iteration.
struct Rates {
  float mean, shape, color, fix1, fix2;
  bool plain;  // Adam on (mean, L, colour) instead of a Gaussian's own frame
};

GS_DEVICE float clamp(float x, float low, float high) { return fminf(fmaxf(x, low), high); }

// One step of Gaussian i in its own frame (fit.cpp, step()): sets the picture's flags.
GS_DEVICE void step(const FitParams& p, int i, const Rates& rates, float limit, int it, int* flags) {
  float now[8], g[8], first[8], second[8], gradient[8], change[8];
  load8(p.scene.params + 8 * i, now);
  load8(p.gradient + 8 * i, g);
  load8(p.momentum + 16 * i, first);
  load8(p.momentum + 16 * i + 8, second);
  const short4 anchor = p.lists.anchors[i];
  unscale(g, gradient);
  if (rates.plain) {
    gradient[1] /= now[4];
    gradient[0] = (gradient[0] - now[3] * gradient[1]) / now[2];
    gradient[3] /= now[4];
    gradient[2] = (gradient[2] - now[3] * gradient[3]) / now[2];
    gradient[4] /= now[4];
  }
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    first[j] += (1.0f - p.beta1) * (gradient[j] - first[j]);
    second[j] += (1.0f - p.beta2) * (gradient[j] * gradient[j] - second[j]);
    const float rate = j < 2 ? rates.mean : j < 5 ? rates.shape : rates.color;
    change[j] = -rate * (first[j] * rates.fix1) / (sqrtf(second[j] * rates.fix2) + 1e-6f);
    g[j] = 0.0f;
  }
  store8(p.gradient + 8 * i, g);
  store8(p.momentum + 16 * i, first);
  store8(p.momentum + 16 * i + 8, second);
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
  for (int j = 5; j < 8; ++j) now[j] += change[j];
  for (int j = 0; j < 8; ++j) check += 0.0f * change[j] + 0.0f * now[j];
  store8(p.scene.params + 8 * i, now);
  const short4 box = prepare_gaussian(p.scene, i, now);
  if (!(check == 0.0f)) flags[0] = it + 2;  // blocks that have not looked yet must not stop before the others
  if (strayed(p.lists, box, anchor)) flags[2] = 1;
}

GS_DEVICE bool is_finite(double x) { return x - x == 0.0; }

GS_DEVICE void start_fit(const FitParams& p, const Group& group, const Picture& picture) {
  const int thread = int(threadIdx.x), stride = group.size * THREADS;
  const float zero[8] = {};
  for (int i = thread * group.size + group.rank; i < picture.n; i += stride) {
    const int to = picture.first + i;
    float now[8], check = 0.0f;
    load8(p.scene.params + 8 * to, now);
    prepare_gaussian(p.scene, to, now);
    for (int j = 0; j < 8; ++j) check += 0.0f * now[j];
    store8(p.gradient + 8 * to, zero);
    store8(p.momentum + 16 * to, zero);
    store8(p.momentum + 16 * to + 8, zero);
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
    const Rates rates = {now.x * p.rate_mean, now.x * p.rate_shape, now.x * p.rate_color, now.y, now.z, now.w != 0.0f};
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

// FIRST: e = weight·(sum - target); otherwise e = weight·sum.
template <bool FIRST>
GS_DEVICE void solve_strip(const SolveParams& p, FitShared& s, const Picture& picture, int number, Loss& loss) {
  const Strip strip = strip_at(p.scene, p.lists, picture, number);
  if (strip.outside || (!FIRST && !strip.near_any)) return;
  const float4* target = p.target + (long long)picture.number * p.scene.height * p.scene.width;
  float e[ROWS][3], weight[ROWS];
  const int kept = residual<FIRST>(p.scene, target, s, strip, e, weight, loss);
  Store& store = s.stores[warp_id()];
  for_kept(store, p.scene, strip, kept, [&](int count) {
#pragma unroll 2
    for (int j = 0; j < count; ++j)
      gather_color(store.gaussians[j][0], store.gaussians[j][1], strip.place, e, weight,
                   p.gradient + 8 * store.index[j]);
  });
}

template <bool FIRST>
GS_DEVICE void solve_pass(const SolveParams& p, FitShared& s, const Group& group, const Picture& picture, Loss& loss) {
  const int team = warp_id() / TEAM;
  for (int strip = group.rank + team * group.size; strip < picture.strips; strip += group.size * TEAMS)
    solve_strip<FIRST>(p, s, picture, strip, loss);
}

GS_DEVICE void add_dots(double* dots, const float* terms, int n) {
  for (int j = 0; j < n; ++j) {
    const float sum = warp_sum(terms[j]);
    if (lane_id() == 0 && sum != 0.0f) atomicAdd(dots + j, double(sum));
  }
}

// Conjugate gradients on BᵀWB·c = BᵀW·picture with its diagonal as preconditioner (fit.cpp, solve_colors).
GS_DEVICE void solve_picture(const SolveParams& p, FitShared& s, Group& group, int number) {
  const Scene& scene = p.scene;
  const Picture picture = picture_at(scene, p.lists, number);
  const int begin = picture.first, end = begin + picture.n;
  const int thread = int(threadIdx.x);
  const int own = begin + group.rank * THREADS + thread, stride = group.size * THREADS;
  const int rounds = (end - begin + stride - 1) / stride;  // of this group's threads over the Gaussians
  double* dots = p.dots + (long long)number * (p.sweeps + 1) * 12;

  for (int i = own; i < end; i += stride) {
    const float zero[8] = {};
    float now[8];
    load8(scene.params + 8 * i, now);
    prepare_gaussian(scene, i, now);
    store8(p.gradient + 8 * i, zero);
  }
  sync(group);
  int parity = 0;
  list_tiles(scene, p.lists, s, group, picture, parity);
  Loss loss = {0.0f, 0.0f};
  solve_pass<true>(p, s, group, picture, loss);
  block_sum(s, loss.all, loss.roi);
  if (thread == 0) atomicAdd(p.loss + number, double(loss.all));
  sync(group);

  for (int round = 0; round < rounds; ++round) {
    const int i = own + round * stride;
    float terms[3] = {0.0f, 0.0f, 0.0f};
    if (i < end) {
      float *g = p.gradient + 8ll * i, *rest = p.rest + 4ll * i;
      float* direction = reinterpret_cast<float*>(scene.prepared + 2ll * i + 1) + 1;
      const float diagonal = 0.5f * g[4] + 1e-3f;
      for (int k = 0; k < 3; ++k) {
        rest[k] = -g[5 + k];
        direction[k] = rest[k] / diagonal;
        terms[k] = rest[k] * direction[k];
      }
      rest[3] = diagonal;
      for (int j = 4; j < 8; ++j) g[j] = 0.0f;
    }
    add_dots(dots, terms, 3);
  }
  sync(group);

  for (int sweep = 0; sweep < p.sweeps; ++sweep, dots += 12) {
    solve_pass<false>(p, s, group, picture, loss);
    sync(group);
    for (int round = 0; round < rounds; ++round) {
      const int i = own + round * stride;
      float terms[9] = {};
      if (i < end) {
        float *g = p.gradient + 8ll * i, *rest = p.rest + 4ll * i;
        const float* direction = reinterpret_cast<const float*>(scene.prepared + 2ll * i + 1) + 1;
        for (int k = 0; k < 3; ++k) {
          const float image = g[5 + k] + p.ridge * rest[3] * direction[k];
          g[5 + k] = image;
          terms[k] = direction[k] * image;
          terms[3 + k] = rest[k] * image / rest[3];
          terms[6 + k] = image * image / rest[3];
        }
      }
      add_dots(dots + 3, terms, 9);
    }
    sync(group);
    // The next ρ is foretold from these sums, which saves a barrier; it is summed afresh for the next step.
    float alpha[3], beta[3];
    for (int k = 0; k < 3; ++k) {
      const double rho = dots[k], curvature = dots[3 + k];
      const double length = curvature > 0.0 ? rho / curvature : 0.0;
      const double next_rho = rho - 2.0 * length * dots[6 + k] + length * length * dots[9 + k];
      alpha[k] = float(length);
      beta[k] = rho > 0.0 ? float(fmax(next_rho, 0.0) / rho) : 0.0f;
    }
    for (int round = 0; round < rounds; ++round) {
      const int i = own + round * stride;
      float terms[3] = {0.0f, 0.0f, 0.0f};
      if (i < end) {
        float *g = p.gradient + 8ll * i, *rest = p.rest + 4ll * i, *color = scene.params + 8ll * i + 5;
        float* direction = reinterpret_cast<float*>(scene.prepared + 2ll * i + 1) + 1;
        for (int k = 0; k < 3; ++k) {
          color[k] += alpha[k] * direction[k];
          rest[k] -= alpha[k] * g[5 + k];
          const float z = rest[k] / rest[3];
          direction[k] = z + beta[k] * direction[k];
          terms[k] = rest[k] * z;
        }
        for (int j = 4; j < 8; ++j) g[j] = 0.0f;
      }
      add_dots(dots + 12, terms, 3);
    }
    sync(group);
  }
}

// Grid groups * group_size, cooperative.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) solve(const SolveParams p) {
  GS_SHARED(FitShared, s);
  const int number = int(blockIdx.x) / p.group_size;
  Group group = {p.arrived + number, int(blockIdx.x) % p.group_size, p.group_size, 0};
  for (int picture = number; picture < p.scene.pictures; picture += p.groups) solve_picture(p, s, group, picture);
}

}  // namespace gscodec
