// Greedy integer updates on the GPU: the whole pursuit of one picture in one launch, without the host.
//
// After the fit, parameters are integers, and which integers decides rate and distortion together. Pursuit (after
// matching pursuit, Mallat and Zhang, 1993) changes the symbols of the Gaussian where D + λR is expected to fall most,
// by a quadratic model of its own (pursuit_value.cuh), draws the change, and keeps it only if D + λR did fall.
//
// Semantics are those of pursuit.cpp but for the order: in each round every Gaussian that something changed
// under is valued anew, the best candidates that touch no tile of a better one are drawn, and each is kept if
// D + lambda·R really fell. A round waits for its slowest block, so a warp values a small Gaussian, a block a large
// one, whichever is free, and all blocks share those that cover much of the picture.
//
// Invariants: between rounds `rest` is the target minus the sum of the Gaussians that `symbols` stand for, up to
// rounding; two changes of one round touch no common tile (locks), so each one's measured gain is also true after the
// other, and D + λR never rises.
#include "pursuit_value.cuh"

namespace gscodec {

GS_DEVICE unsigned long long key_of(unsigned round, float gain, int i) {
  // A gain is above 0, so its bits order as it does; a later round outbids what earlier ones left in the locks.
  return (unsigned long long)round << LOCK_ROUND_SHIFT | (unsigned long long)__float_as_uint(gain) << LOCK_INDEX_BITS |
         (unsigned long long)i;
}

// Claims the tiles that the candidate of Gaussian i changes.
GS_DEVICE void claim(const PursuitParams& p, int i, unsigned round) {
  const short4 box = p.reach[i];
  if (lane_id() == 0) p.flags[0] = round;
  if (area(box) == 0) return;
  const int x0 = box.x / LOCK, y0 = box.z / LOCK, columns = box.y / LOCK - x0 + 1, rows = box.w / LOCK - y0 + 1;
  const unsigned long long key = key_of(round, p.gain[i], i);
  for (int t = lane_id(); t < columns * rows; t += 32)
    atomicMax(p.locks + (y0 + t / columns) * p.locks_x + x0 + t % columns, key);
}

// Whether nothing better claimed any of them; the same in all lanes of the warp.
GS_DEVICE bool may_change(const PursuitParams& p, int i, unsigned round) {
  const short4 box = p.reach[i];
  bool taken = false;
  if (area(box)) {
    const int x0 = box.x / LOCK, y0 = box.z / LOCK, columns = box.y / LOCK - x0 + 1, rows = box.w / LOCK - y0 + 1;
    const unsigned long long key = key_of(round, p.gain[i], i);
    for (int t = lane_id(); t < columns * rows; t += 32)
      taken |= p.locks[(y0 + t / columns) * p.locks_x + x0 + t % columns] != key;
  }
  return !__any_sync(ALL, taken);
}

// Draws the candidate of Gaussian i; keeps it if D + lambda·R falls. By a block.
GS_DEVICE void attempt(const PursuitParams& p, PursuitShared& s, int i, unsigned round) {
  const Scene& scene = p.scene;
  const Crew crew = {int(threadIdx.x), THREADS, true};
  const short4 box = p.reach[i];
  const float4 a = scene.prepared[2 * i], b = scene.prepared[2 * i + 1];
  const float first = p.first ? p.first[i] : 0.0f;
  int symbols[8], base[8], delta[8];
  float then[8];
  load_symbols(p.symbols, i, symbols);
  load_symbols(p.base, i, base);
  load_symbols(p.delta, i, delta);
  const float before = bits(p, s, first, symbols, base);
  for (int j = 0; j < 8; ++j) symbols[j] += delta[j];
  dequantize(p, i, symbols, then);
  const Inverse inverse = invert(then[2], then[3], then[4], LOG2_SCALE);
  const float4 c = {then[0], then[1], inverse.inv_l1, inverse.inv_l3}, d = {inverse.shear, then[5], then[6], then[7]};
  const auto difference = [&](int x, int y, float change[3]) {
    float u, v;
    const float old = weight_of(a, b, x, y, u, v), now = weight_of(c, d, x, y, u, v);
    change[0] = now * d.y - old * b.y;
    change[1] = now * d.z - old * b.z;
    change[2] = now * d.w - old * b.w;
  };
  float sum[1] = {0.0f};
  for_pixels(p, crew, box, [&](int x, int y, int pixel, bool inside) {
    const float4 r = p.rest[pixel];
    float e[3];
    difference(x, y, e);
    const float weight = inside ? r.w : 0.0f;
    sum[0] += weight * (e[0] * (e[0] - 2.0f * r.x) + e[1] * (e[1] - 2.0f * r.y) + e[2] * (e[2] - 2.0f * r.z));
  });
  crew_sum<1>(s, crew, sum);
  const bool good = sum[0] + p.lambda * (bits(p, s, first, symbols, base) - before) < 0.0f;
  if (good) {
    // Nobody else writes there; additions that return nothing need not wait for what they add to.
    for_pixels(p, crew, box, [&](int x, int y, int pixel, bool inside) {
      float e[3];
      difference(x, y, e);
      if (!inside) return;
      atomicAdd(&p.rest[pixel].x, -e[0]);
      atomicAdd(&p.rest[pixel].y, -e[1]);
      atomicAdd(&p.rest[pixel].z, -e[2]);
    });
    if (area(box)) {
      const int x0 = box.x / LOCK, y0 = box.z / LOCK, columns = box.y / LOCK - x0 + 1, rows = box.w / LOCK - y0 + 1;
      for (int t = crew.thread; t < columns * rows; t += crew.size)
        p.stamp[(y0 + t / columns) * p.locks_x + x0 + t % columns] = round;
    }
  }
  if (crew.thread == 0) {
    const float stiffness = p.state[i].y;
    p.state[i].y = good ? fmaxf(1.0f, 0.9f * stiffness) : 2.0f * stiffness;
    p.valued[i] = 0;
    atomicAdd(&p.outcome->tried, 1);
    if (good) {
      atomicAdd(&p.outcome->kept, 1);
      for (int j = 0; j < 8; ++j) p.symbols[8 * i + j] = symbols[j];
      store8(scene.params + 8ll * i, then);
      prepare_gaussian(scene, i, then);
    }
  }
  __syncthreads();
}

// Whether vast Gaussians are worked on.
GS_DEVICE bool is_their_turn(unsigned round) { return round % 4 == 1; }

// Sorts the Gaussians by who works on them.
GS_DEVICE void sort_by_size(const PursuitParams& p, int rank) {
  const int n = p.scene.first[1];
  for (int i = rank * THREADS + int(threadIdx.x); i < n; i += p.group_size * THREADS) {
    const int pixels = area(p.scene.boxes[i]);
    p.is_vast[i] = pixels >= VAST;
    if (pixels >= VAST) {
      const int place = atomicAdd(p.counts, 1);
      if (place < MAX_VAST) p.vast[place] = i;
    }
    if (pixels >= LARGE)
      p.order[atomicAdd(p.counts + 1, 1)] = i;
    else
      p.order[n - 1 - atomicAdd(p.counts + 2, 1)] = i;
    p.valued[i] = 0;
    p.state[i] = {0.0f, 0.0f};
  }
}

// Vast Gaussians that all blocks share.
GS_DEVICE int n_vast(const PursuitParams& p) { return p.counts[0] <= MAX_VAST ? p.counts[0] : 0; }

// Values the vast Gaussians, a slice to each warp of all blocks; the warp that ends last adds the slices up.
GS_DEVICE void value_vast(const PursuitParams& p, const PursuitShared& s, int rank, unsigned round) {
  const int slices = SLICES * n_vast(p);
  for (int slice = rank + warp_id() * p.group_size; slice < slices; slice += p.group_size * WARPS) {
    const int v = slice / SLICES, k = slice % SLICES, i = p.vast[v];
    const short4 box = p.scene.boxes[i];
    const int count = patches(box), share = (count + SLICES - 1) / SLICES;
    const float4 a = p.scene.prepared[2 * i], b = p.scene.prepared[2 * i + 1];
    float m[N_SUMS] = {};
    for_patches(p, box, k * share, min(count, (k + 1) * share), 1,
                [&](int x, int y, int pixel, bool inside) { gather(p, a, b, x, y, pixel, inside, m); });
    for (float& x : m) x = warp_sum(x);
    bool last = false;
    if (lane_id() == 0) {
      for (int j = 0; j < N_SUMS; ++j) p.slices[slice * N_SUMS + j] = m[j];
      __threadfence();
      last = atomicAdd(p.sliced + v, 1u) == SLICES - 1;
    }
    if (!__shfl_sync(ALL, last, 0)) continue;
    __threadfence();
    for (float& x : m) x = 0.0f;
    for (int other = lane_id(); other < SLICES; other += 32)
      for (int j = 0; j < N_SUMS; ++j) m[j] += __ldcg(p.slices + (v * SLICES + other) * N_SUMS + j);
    for (float& x : m) x = warp_sum(x);
    if (lane_id() == 0) p.sliced[v] = 0;
    choose(p, s, i, m, round);
    if (p.gain[i] > 0.0f) claim(p, i, round);
  }
}

// Values Gaussian i if something changed under it, and puts its candidate forward.
GS_DEVICE void refresh(const PursuitParams& p, PursuitShared& s, const Crew& crew, int i, unsigned round) {
  const short4 box = p.scene.boxes[i];
  if (stale(p, crew, i, box)) value(p, s, crew, i, box, round);
  if (crew.thread < 32 && p.gain[i] > 0.0f) claim(p, i, round);
}

// The others: blocks take them as they become free, one large Gaussian or as many small ones as they have warps.
GS_DEVICE void value_others(const PursuitParams& p, PursuitShared& s, int rank, unsigned round) {
  const int n_large = p.counts[1], n_small = p.counts[2], n = p.scene.first[1];
  const int n_items = n_large + (n_small + WARPS - 1) / WARPS;
  const bool shared = n_vast(p) > 0;
  for (int item = rank; item < n_items;) {
    if (item < n_large) {
      const int i = p.order[item];
      if (!shared || !p.is_vast[i]) refresh(p, s, Crew{int(threadIdx.x), THREADS, true}, i, round);
    } else {
      const int k = (item - n_large) * WARPS + warp_id();
      if (k < n_small) refresh(p, s, Crew{lane_id(), 32, false}, p.order[n - 1 - k], round);
    }
    if (threadIdx.x == 0) s.item = p.group_size + atomicAdd(p.counts + 3, 1);
    __syncthreads();
    item = s.item;
    __syncthreads();
  }
}

// Draws the candidates that nothing better stands in the way of: a warp finds one, its block draws it.
GS_DEVICE void attempt_winners(const PursuitParams& p, PursuitShared& s, int rank, unsigned round) {
  const int n = p.scene.first[1];
  const bool all = n_vast(p) == 0 || is_their_turn(round);
  for (int begin = rank; begin < n; begin += p.group_size * WARPS) {
    const int i = begin + warp_id() * p.group_size;
    const bool stands = i < n && p.gain[i] > 0.0f && (all || !p.is_vast[i]) && may_change(p, i, round);
    if (lane_id() == 0) s.winners[warp_id()] = stands ? i : -1;
    __syncthreads();
    for (int w = 0; w < WARPS; ++w)
      if (s.winners[w] >= 0) attempt(p, s, s.winners[w], round);
    __syncthreads();
  }
}

GS_DEVICE double picture_loss(const PursuitParams& p, int rank) {
  const int pixels = p.scene.width * p.scene.height;
  double sum = 0.0;
  for (int i = rank * THREADS + int(threadIdx.x); i < pixels; i += p.group_size * THREADS) {
    const float4 r = p.rest[i];
    sum += double(r.w * (r.x * r.x + r.y * r.y + r.z * r.z));
  }
  return warp_sum(sum);
}

// Grid Gaussians: the parameters that symbols stand for.
extern "C" __global__ void __launch_bounds__(THREADS) place_symbols(const PursuitParams p) {
  const int i = int(blockIdx.x) * THREADS + int(threadIdx.x);
  if (i >= p.scene.first[1]) return;
  int symbols[8];
  float values[8];
  load_symbols(p.symbols, i, symbols);
  dequantize(p, i, symbols, values);
  store8(p.scene.params + 8ll * i, values);
}

// Grid group_size, cooperative. `rest` is what `draw` left of the picture as it stands.
extern "C" __global__ void __launch_bounds__(THREADS, 2) pursue(const PursuitParams p) {
  GS_SHARED(PursuitShared, s);
  const Scene& scene = p.scene;
  Group group = {p.arrived, int(blockIdx.x), p.group_size, 0};
  const int thread = int(threadIdx.x), n = scene.first[1];
  const unsigned long long deadline = nanoseconds() + (unsigned long long)(1e9 * p.deadline_s);
  for (int j = thread; j < 8 * RATE_ENTRIES + 2 * N_GROUPS; j += THREADS) s.rates[j] = p.rates[j];
  sort_by_size(p, group.rank);
  const double before = picture_loss(p, group.rank);
  if (lane_id() == 0) atomicAdd(&p.outcome->loss_before, before);
  sync(group);
  unsigned round = 1;
  for (; round <= unsigned(p.rounds); ++round) {
    if (is_their_turn(round))
      value_vast(p, s, group.rank, round);
    else if (group.rank == 0)
      for (int v = thread; v < n_vast(p); v += THREADS)
        if (p.gain[p.vast[v]] > 0.0f) p.flags[0] = round;  // its turn will come
    value_others(p, s, group.rank, round);
    if (thread == 0 && group.rank == 0 && p.deadline_s > 0.0 && nanoseconds() > deadline) p.flags[1] = 1;
    volatile unsigned* flags = p.flags;
    if (sync(group, [&] { return flags[0] != round || flags[1] != 0; })) break;
    if (thread == 0 && group.rank == 0) p.counts[3] = 0;
    attempt_winners(p, s, group.rank, round);
    sync(group);
  }
  const double after = picture_loss(p, group.rank);
  if (lane_id() == 0) atomicAdd(&p.outcome->loss, after);
  if (group.rank == 0 && thread == 0) p.outcome->rounds = int(round) - 1;
}

}  // namespace gscodec
