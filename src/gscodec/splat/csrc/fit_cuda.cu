// Fitting on the GPU: the whole of a fit or of a colour solve in one launch, without the host.
//
// The launch is cooperative. Its blocks form groups; a group works on one picture after another, all of
// the fit of one before the next, and meets at barriers of its own. One picture takes every block of the card
// (live); many pictures take a few blocks each, and while one group waits another computes (batches).
// Semantics are those of fit.cpp; the residual never leaves the registers of the threads that made it.
#include "raster_cuda.cuh"

namespace gscodec {

// What fit.cpp's FitResult says.
struct Outcome {
  double loss, roi_mse;
  int iterations, finite;
};

struct FitParams {
  Scene scene;
  const float4* target;        // [pictures, H, W]: Y, U, V, weight
  const unsigned* roi_pixels;  // [pictures]
  float* gradient;             // [total, 8]
  float* momentum;             // [total, 16]: Adam's two memories
  double2* sums;               // [pictures, 2, SLOTS]: Σ weight·d², Σ over the ROI of d²; alternating
  int* flags;                  // [pictures, 2]: a parameter is not finite; the cells must be listed again
  float2* empty;               // [pictures, tiles]: a tile's sums where no Gaussian reaches it; -1: unknown
  Outcome* outcome;            // [pictures]
  unsigned* arrived;           // [groups], zero at the launch
  int group_size, groups;      // blocks of a group; groups
  int iterations;
  float rate_mean, rate_shape, rate_color, final_rate, beta1, beta2, plateau;
  float padding;
  double target_mse;
};

struct SolveParams {
  Scene scene;
  const float4* target;        // [pictures, H, W]
  float* gradient;             // [total, 8]
  float* rest;                 // [total, 4]: residual of the normal equations, diagonal
  double* dots;                // [pictures, sweeps + 1, 12], zero at the launch
  double* loss;                // [pictures], zero at the launch
  unsigned* arrived;           // [groups], zero at the launch
  int group_size, groups, sweeps;
  float ridge;
};

// The loss of a thread's pixels, summed until the end of a pass.
struct Loss {
  float all, roi;
};

GS_DEVICE void load_pixels(const Scene& scene, const float4* target, int picture, const Place& place,
                           float d[ROWS][3], float weight[ROWS]) {
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    const bool inside = place.x < scene.width && place.y + r < scene.height;
    const long long pixel = ((long long)picture * scene.height + place.y + r) * scene.width + place.x;
    const float4 t = inside ? target[pixel] : float4{0.0f, 0.0f, 0.0f, 0.0f};
    d[r][0] = -t.x, d[r][1] = -t.y, d[r][2] = -t.z;
    weight[r] = t.w;
  }
}

GS_DEVICE Loss weigh(float d[ROWS][3], const float weight[ROWS]) {
  Loss loss = {0.0f, 0.0f};
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    const float sq = d[r][0] * d[r][0] + d[r][1] * d[r][1] + d[r][2] * d[r][2];
    loss.all += weight[r] * sq;
    loss.roi += weight[r] > 0.5f ? sq : 0.0f;
    for (int k = 0; k < 3; ++k) d[r][k] *= weight[r];
  }
  return loss;
}

GS_DEVICE bool any_weight(const float weight[ROWS]) {
  bool any = false;
  for (int r = 0; r < ROWS; ++r) any = any || weight[r] > 0.0f;
  return __any_sync(ALL, any);
}

// One tile of one iteration: the sum, its difference from the target, and what that says to each Gaussian.
GS_DEVICE void fit_tile(const FitParams& p, Shared& s, int picture, int tile, bool last, Loss& loss, int& parity) {
  const Scene& scene = p.scene;
  const Rect rect = tile_rect(scene, tile);
  const Place place = place_in(rect);
  const Source source = source_of(scene, picture, rect);
  float2* known = p.empty + (long long)picture * scene.tiles_x * scene.tiles_y + tile;
  int next = 0;
  int count = collect(s, scene, source, rect, next, parity);
  const bool at_once = next >= source.n;  // the usual case: one list holds all
  const bool empty = at_once && count == 0;
  if (empty && known->x >= 0.0f) {
    if (threadIdx.x == 0) loss.all += known->x, loss.roi += known->y;
    return;
  }
  float d[ROWS][3], weight[ROWS];
  load_pixels(scene, p.target, picture, place, d, weight);
  const bool matters = any_weight(weight);
  for (;;) {
    if (matters) forward<false>(s, count, place, d, nullptr);
    if (next >= source.n) break;
    count = collect(s, scene, source, rect, next, parity);
  }
  const Loss own = weigh(d, weight);
  loss.all += own.all;
  loss.roi += own.roi;
  if (empty) {
    float all = own.all, roi = own.roi;
    block_sum(s, all, roi);
    if (threadIdx.x == 0) *known = {all, roi};
    return;
  }
  if (last) return;
  if (at_once) {
    if (matters) backward(s, count, place, d, p.gradient);
    return;
  }
  for (next = 0; next < source.n;) {
    count = collect(s, scene, source, rect, next, parity);
    if (matters) backward(s, count, place, d, p.gradient);
  }
}

// Adam's step sizes at one iteration.
struct Rates {
  float mean, shape, color, fix1, fix2;
};

GS_DEVICE float clamp(float x, float low, float high) { return fminf(fmaxf(x, low), high); }

// One step of Gaussian i in its own frame (fit.cpp, step()); false where it left the finite numbers.
GS_DEVICE bool step(const FitParams& p, int i, const Rates& rates, float limit) {
  float* q = p.scene.params + 8ll * i;
  float* g = p.gradient + 8ll * i;
  float* memory = p.momentum + 16ll * i;
  float now[8], gradient[8], change[8];
  for (int j = 0; j < 8; ++j) now[j] = q[j];
  const Moments m = {g[0], g[1], g[2], g[3], g[4], {g[5], g[6], g[7]}};
  natural_gradient(m, invert(now[2], now[3], now[4], 1.0f), gradient);
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const float first = memory[j] + (1.0f - p.beta1) * (gradient[j] - memory[j]);
    const float second = memory[8 + j] + (1.0f - p.beta2) * (gradient[j] * gradient[j] - memory[8 + j]);
    memory[j] = first;
    memory[8 + j] = second;
    g[j] = 0.0f;
    const float rate = j < 2 ? rates.mean : j < 5 ? rates.shape : rates.color;
    change[j] = -rate * (first * rates.fix1) / (sqrtf(second * rates.fix2) + 1e-6f);
  }
  const float l1 = now[2], l2 = now[3], l3 = now[4];
  const float grow1 = expf(change[2]), grow3 = expf(change[4]);
  now[0] += l1 * change[0];
  now[1] += l2 * change[0] + l3 * change[1];
  now[2] = clamp(l1 * grow1, MIN_SCALE, limit);
  now[3] = clamp(l2 * grow1 + l3 * change[3], -limit, limit);
  now[4] = clamp(l3 * grow3, MIN_SCALE, limit);
  float check = 0.0f;
  for (int j = 5; j < 8; ++j) now[j] += change[j];
  for (int j = 0; j < 8; ++j) q[j] = now[j], check += 0.0f * change[j] + 0.0f * now[j];
  prepare_gaussian(p.scene, i);
  return check == 0.0f;
}

// Lists the cells of a picture for the boxes as they are, and remembers those.
GS_DEVICE void list_cells_of(const Scene& scene, Shared& s, const Group& group, int picture, int& parity) {
  for (int cell = group.rank; cell < scene.cells_x * scene.cells_y; cell += group.size)
    list_cell(s, scene, picture, cell, CELL_MARGIN, parity);
  for (int i = scene.first[picture] + group.rank * THREADS + int(threadIdx.x); i < scene.first[picture + 1];
       i += group.size * THREADS)
    scene.anchors[i] = scene.boxes[i];
}

GS_DEVICE bool strayed(short4 box, short4 anchor) {
  return box.x < anchor.x - CELL_MARGIN || box.y > anchor.y + CELL_MARGIN || box.z < anchor.z - CELL_MARGIN ||
         box.w > anchor.w + CELL_MARGIN;
}

GS_DEVICE bool is_finite(double x) { return x - x == 0.0; }

GS_DEVICE void start_fit(const FitParams& p, const Group& group, int picture) {
  const Scene& scene = p.scene;
  const int begin = scene.first[picture], end = scene.first[picture + 1];
  const int thread = int(threadIdx.x), tiles = scene.tiles_x * scene.tiles_y;
  for (int i = begin + thread * group.size + group.rank; i < end; i += group.size * THREADS) {
    prepare_gaussian(scene, i);
    float check = 0.0f;
    for (int j = 0; j < 8; ++j) check += 0.0f * scene.params[8ll * i + j], p.gradient[8ll * i + j] = 0.0f;
    for (int j = 0; j < 16; ++j) p.momentum[16ll * i + j] = 0.0f;
    if (!(check == 0.0f)) p.flags[2 * picture] = 1;
  }
  for (int t = group.rank + thread * group.size; t < tiles; t += group.size * THREADS)
    p.empty[(long long)picture * tiles + t] = {-1.0f, -1.0f};
}

// Every thread of the group learns the sums of the pass that a barrier has ended.
GS_DEVICE double2 total(const double2* slots) {
  const double2 own = slots[lane_id()];
  return {warp_sum(own.x), warp_sum(own.y)};
}

GS_DEVICE void fit_picture(const FitParams& p, Shared& s, Group& group, int picture, int& parity) {
  const Scene& scene = p.scene;
  const int begin = scene.first[picture], end = scene.first[picture + 1];
  const int tiles = scene.tiles_x * scene.tiles_y, thread = int(threadIdx.x);
  const float limit = float(scene.width > scene.height ? scene.width : scene.height);
  const double roi_values = fmax(1.0, 3.0 * double(p.roi_pixels[picture]));
  double2* sums = p.sums + picture * 2 * SLOTS;
  int* flags = p.flags + 2 * picture;
  double loss_before = 0.0;
  float power1 = 1.0f, power2 = 1.0f;

  start_fit(p, group, picture);
  sync(group);
  if (scene.cells_x) {
    list_cells_of(scene, s, group, picture, parity);
    sync(group);
  }
  for (int it = 0;; ++it) {
    double2* slots = sums + (it & 1) * SLOTS;
    Loss loss = {0.0f, 0.0f};
    for (int tile = group.rank; tile < tiles; tile += group.size)
      fit_tile(p, s, picture, tile, it >= p.iterations, loss, parity);
    block_sum(s, loss.all, loss.roi);
    if (thread == 0) {
      atomicAdd(&slots[group.rank % SLOTS].x, double(loss.all));
      atomicAdd(&slots[group.rank % SLOTS].y, double(loss.roi));
    }
    sync(group);

    const double2 sum = total(slots);
    const double roi_mse = sum.y / roi_values;
    const bool finite = is_finite(sum.x) && *(volatile int*)flags == 0;
    bool stop = !finite || it >= p.iterations || (p.target_mse > 0.0 && roi_mse <= p.target_mse);
    if (p.plateau > 0.0f && it % 10 == 0) {
      stop = stop || (it > 0 && loss_before - sum.x < double(p.plateau) * loss_before);
      loss_before = sum.x;
    }
    if (stop) {
      if (group.rank == 0 && thread == 0) p.outcome[picture] = {sum.x, roi_mse, it, finite};
      return;
    }
    power1 *= p.beta1;
    power2 *= p.beta2;
    const float phase = float(it) / float(p.iterations);
    const float rate = p.final_rate + (1.0f - p.final_rate) * 0.5f * (1.0f + cosf(3.14159265f * phase));
    const Rates rates = {rate * p.rate_mean, rate * p.rate_shape, rate * p.rate_color, 1.0f / (1.0f - power1),
                         1.0f / (1.0f - power2)};
    // Neighbours go to different blocks: with few Gaussians the step is all latency.
    for (int i = begin + thread * group.size + group.rank; i < end; i += group.size * THREADS) {
      if (!step(p, i, rates, limit)) flags[0] = 1;
      if (scene.cells_x && strayed(scene.boxes[i], scene.anchors[i])) flags[1] = 1;
    }
    if (group.rank == 0 && thread < SLOTS) sums[(~it & 1) * SLOTS + thread] = {0.0, 0.0};
    sync(group);
    if (scene.cells_x && *(volatile int*)(flags + 1)) {
      list_cells_of(scene, s, group, picture, parity);
      sync(group);
      if (group.rank == 0 && thread == 0) flags[1] = 0;
    }
  }
}

// Grid groups * group_size, cooperative; `sums`, `flags` and `arrived` are zero at the launch.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) fit(const FitParams p) {
  GS_SHARED(Shared, s);
  const int number = int(blockIdx.x) / p.group_size;
  Group group = {p.arrived + number, int(blockIdx.x) % p.group_size, p.group_size, 0};
  int parity = 0;
  for (int picture = number; picture < p.scene.pictures; picture += p.groups)
    fit_picture(p, s, group, picture, parity);
}

// FIRST: e = weight·(sum - target) and Σ w·weight beside; otherwise e = weight·sum.
template <bool FIRST>
GS_DEVICE void solve_tile(const SolveParams& p, Shared& s, int picture, int tile, Loss& loss, int& parity) {
  const Scene& scene = p.scene;
  const Rect rect = tile_rect(scene, tile);
  const Place place = place_in(rect);
  const Source source = source_of(scene, picture, rect);
  int next = 0;
  int count = collect(s, scene, source, rect, next, parity);
  const bool at_once = next >= source.n;
  if (!FIRST && at_once && count == 0) return;
  float d[ROWS][3], weight[ROWS];
  load_pixels(scene, p.target, picture, place, d, weight);
  if (!FIRST)
    for (int r = 0; r < ROWS; ++r) d[r][0] = d[r][1] = d[r][2] = 0.0f;
  const bool matters = any_weight(weight);
  for (;;) {
    if (matters) forward<false>(s, count, place, d, nullptr);
    if (next >= source.n) break;
    count = collect(s, scene, source, rect, next, parity);
  }
  const Loss own = weigh(d, weight);
  loss.all += own.all;
  if (at_once) {
    if (matters) backward_color(s, count, place, d, weight, p.gradient);
    return;
  }
  for (next = 0; next < source.n;) {
    count = collect(s, scene, source, rect, next, parity);
    if (matters) backward_color(s, count, place, d, weight, p.gradient);
  }
}

GS_DEVICE void add_dots(double* dots, const float* terms, int n) {
  for (int j = 0; j < n; ++j) {
    const double sum = warp_sum(double(terms[j]));
    if (lane_id() == 0 && sum != 0.0) atomicAdd(dots + j, sum);
  }
}

// Conjugate gradients on BᵀWB·c = BᵀW·picture with its diagonal as preconditioner (fit.cpp, solve_colors).
GS_DEVICE void solve_picture(const SolveParams& p, Shared& s, Group& group, int picture, int& parity) {
  const Scene& scene = p.scene;
  const int begin = scene.first[picture], end = scene.first[picture + 1];
  const int tiles = scene.tiles_x * scene.tiles_y, thread = int(threadIdx.x);
  const int own = begin + group.rank * THREADS + thread, stride = group.size * THREADS;
  const int rounds = (end - begin + stride - 1) / stride;  // of this group's threads over the Gaussians
  double* dots = p.dots + (long long)picture * (p.sweeps + 1) * 12;

  for (int i = own; i < end; i += stride) {
    prepare_gaussian(scene, i);
    for (int j = 0; j < 8; ++j) p.gradient[8ll * i + j] = 0.0f;
  }
  sync(group);
  if (scene.cells_x) {
    list_cells_of(scene, s, group, picture, parity);
    sync(group);
  }
  Loss loss = {0.0f, 0.0f};
  for (int tile = group.rank; tile < tiles; tile += group.size) solve_tile<true>(p, s, picture, tile, loss, parity);
  block_sum(s, loss.all, loss.roi);
  if (thread == 0) atomicAdd(p.loss + picture, double(loss.all));
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
    for (int tile = group.rank; tile < tiles; tile += group.size)
      solve_tile<false>(p, s, picture, tile, loss, parity);
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
  GS_SHARED(Shared, s);
  const int number = int(blockIdx.x) / p.group_size;
  Group group = {p.arrived + number, int(blockIdx.x) % p.group_size, p.group_size, 0};
  int parity = 0;
  for (int picture = number; picture < p.scene.pictures; picture += p.groups)
    solve_picture(p, s, group, picture, parity);
}

}  // namespace gscodec
