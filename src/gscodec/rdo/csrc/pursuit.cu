// Greedy integer updates on the GPU: the whole pursuit of one picture in one launch, without the host.
//
// After the fit, parameters are integers, and which integers decides rate and distortion together. Pursuit (after
// matching pursuit, Mallat and Zhang, 1993) changes the symbols of the Gaussian where D + λR is expected to fall most,
// by a quadratic model of its own (pursuit_value.cuh), draws the change, and keeps it only if D + λR did fall.
//
// Semantics are those of pursuit.cpp but for the order: in each round every Gaussian that something changed
// under is valued anew, the best candidates that touch no tile of a better one are drawn, and each is kept if
// D + lambda·R really fell. A round waits for its slowest block, so a warp values a small Gaussian, a block a large
// one, whichever is free, and all blocks of the grid share those that cover much of the picture.
//
// Invariants: between rounds `residual`, or `sums` and `persons` under the normalised blend, are those of the Gaussians
// that `symbols` stand for, up to rounding; two changes of one round touch no common tile (locks), so each one's
// measured gain is also true after the other, and D + λR never rises.
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

// How much a pixel's share of the loss changes where its sums change by so much.
GS_DEVICE float loss_change(const PursuitParams& p, int pixel, const float change[CHANNELS]) {
  constexpr int W = NORMALISED ? WEIGHT : 0, P = HAS_PERSON ? PERSON : 0;
  if (!NORMALISED) {
    const float4 r = p.residual[pixel];
    return r.w * (change[0] * (change[0] - 2.0f * r.x) + change[1] * (change[1] - 2.0f * r.y) +
                  change[2] * (change[2] - 2.0f * r.z));
  }
  // d² after minus d² before as (after - before)·(after + before): squares that nearly cancel would lose it.
  const float4 sums = p.sums[pixel], t = p.target[pixel];
  const float before = share_of(sums.w), after = share_of(sums.w + change[W]);
  const float own[3] = {sums.x, sums.y, sums.z}, target[3] = {t.x, t.y, t.z};
  float sum = 0.0f;
  for (int k = 0; k < 3; ++k) {
    const float was = own[k] * before, is = (own[k] + change[k]) * after;
    sum += (is - was) * (is + was - 2.0f * target[k]);
  }
  sum *= t.w;
  if (HAS_PERSON) {
    const float person = p.persons[pixel], was = person * before, is = (person + change[P]) * after;
    sum += p.matte_weight * (is - was) * (is + was - 2.0f * p.matte[pixel]);
  }
  return sum;
}

// Draws the candidate of Gaussian i; keeps it if D + lambda·R falls. By a block.
GS_DEVICE void attempt(const PursuitParams& p, PursuitShared& s, int i, unsigned round) {
  constexpr int W = NORMALISED ? WEIGHT : 0, P = HAS_PERSON ? PERSON : 0;
  const Scene& scene = p.scene;
  const ThreadGroup threads = {int(threadIdx.x), THREADS, true};
  const short4 box = p.reach[i];
  const Drawn g = drawn_at(scene, i);
  const float first = p.first ? p.first[i] : 0.0f;
  int symbols[PARAMS], base[PARAMS], delta[PARAMS];
  float then[PARAMS];
  load_symbols(p.symbols, i, symbols);
  load_symbols(p.base, i, base);
  load_symbols(p.delta, i, delta);
  const float before = bits(p, s, i, first, symbols, base);
  for (int j = 0; j < PARAMS; ++j) symbols[j] += delta[j];
  dequantize(p, i, symbols, then);
  const Inverse inverse = invert(then[2], then[3], then[4], LOG2_SCALE);
  const float signed_next = signed_amplitude(scene, i, then), next = fabsf(signed_next);
  const float4 c = {then[0], then[1], inverse.inv_l1, inverse.inv_l3};
  const float4 d = {inverse.shear, then[5] * next, then[6] * next, then[7] * next};
  const float next_person = fmaxf(signed_next, 0.0f);
  const auto difference = [&](int x, int y, float change[CHANNELS]) {
    float u, v;
    const float old = weight_of(g.a, g.b, x, y, u, v), now = weight_of(c, d, x, y, u, v);
    change[0] = now * d.y - old * g.b.y;
    change[1] = now * d.z - old * g.b.z;
    change[2] = now * d.w - old * g.b.w;
    if (NORMALISED) change[W] = now * next - old * g.amplitude;
    if (HAS_PERSON) change[P] = now * next_person - old * g.person;
  };
  float sum[1] = {0.0f};
  for_pixels(p, threads, box, [&](int x, int y, int pixel, bool inside) {
    float change[CHANNELS];
    difference(x, y, change);
    const float found = loss_change(p, pixel, change);
    sum[0] += inside ? found : 0.0f;
  });
  group_sum<1>(s, threads, sum);
  const bool good = sum[0] + p.lambda * (bits(p, s, i, first, symbols, base) - before) < 0.0f;
  if (good) {
    // Nobody else writes there.
    for_pixels(p, threads, box, [&](int x, int y, int pixel, bool inside) {
      float change[CHANNELS];
      difference(x, y, change);
      if (!inside) return;
      if (NORMALISED) {
        const float4 sums = p.sums[pixel];
        p.sums[pixel] = {sums.x + change[0], sums.y + change[1], sums.z + change[2], sums.w + change[W]};
        if (HAS_PERSON) p.persons[pixel] += change[P];
        store_slopes(p, pixel, look_at(p, pixel));
        return;
      }
      // Additions that return nothing need not wait for what they add to.
      atomicAdd(&p.residual[pixel].x, -change[0]);
      atomicAdd(&p.residual[pixel].y, -change[1]);
      atomicAdd(&p.residual[pixel].z, -change[2]);
    });
    if (area(box)) {
      const int x0 = box.x / LOCK, y0 = box.z / LOCK, columns = box.y / LOCK - x0 + 1, rows = box.w / LOCK - y0 + 1;
      for (int t = threads.thread; t < columns * rows; t += threads.size)
        p.stamp[(y0 + t / columns) * p.locks_x + x0 + t % columns] = round;
    }
  }
  if (threads.thread == 0) {
    const float stiffness = p.state[i].y;
    p.state[i].y = good ? fmaxf(1.0f, 0.9f * stiffness) : 2.0f * stiffness;
    if (NORMALISED && good) p.state[i].x = 0.0f;
    p.valued[i] = 0;
    atomicAdd(&p.outcome->tried, 1);
    if (good) {
      atomicAdd(&p.outcome->kept, 1);
      for (int j = 0; j < PARAMS; ++j) p.symbols[PARAMS * i + j] = symbols[j];
      store_row(scene.params, i, then);
      prepare_gaussian(scene, i, then);
    }
  }
  __syncthreads();
}

// Whether grid-wide Gaussians are worked on.
GS_DEVICE bool is_their_turn(unsigned round) { return round % 4 == 1; }

// Sorts the Gaussians by who works on them.
GS_DEVICE void sort_by_size(const PursuitParams& p, int rank) {
  const int n = p.scene.first[1];
  for (int i = rank * THREADS + int(threadIdx.x); i < n; i += p.group_size * THREADS) {
    const int pixels = area(p.scene.boxes[i]);
    p.is_grid_wide[i] = pixels >= GRID_WIDE;
    if (pixels >= GRID_WIDE) {
      const int place = atomicAdd(p.counts, 1);
      if (place < MAX_GRID_WIDE) p.grid_wide[place] = i;
    }
    if (pixels >= BLOCK_WIDE)
      p.order[atomicAdd(p.counts + 1, 1)] = i;
    else
      p.order[n - 1 - atomicAdd(p.counts + 2, 1)] = i;
    p.valued[i] = 0;
    p.state[i] = {0.0f, 0.0f};
  }
}

// Grid-wide Gaussians, which all blocks share.
GS_DEVICE int n_grid_wide(const PursuitParams& p) { return p.counts[0] <= MAX_GRID_WIDE ? p.counts[0] : 0; }

// Values the grid-wide Gaussians, a slice to each warp of all blocks; the warp that ends last adds the slices up.
GS_DEVICE void value_grid_wide(const PursuitParams& p, const PursuitShared& s, int rank, unsigned round) {
  const int slices = SLICES * n_grid_wide(p);
  for (int slice = rank + warp_id() * p.group_size; slice < slices; slice += p.group_size * WARPS) {
    const int v = slice / SLICES, k = slice % SLICES, i = p.grid_wide[v];
    const short4 box = p.scene.boxes[i];
    const int count = patches(box), share = (count + SLICES - 1) / SLICES;
    const Drawn g = drawn_at(p.scene, i);
    const bool is_new = is_unknown(p, i);  // the same for all slices: told after the last of them is summed
    float m[N_SUMS] = {};
    for_patches(p, box, k * share, min(count, (k + 1) * share), 1, [&](int x, int y, int pixel, bool inside) {
      gather(p, g, x, y, pixel, inside, m);
      if (NORMALISED && is_new) gather_curvature(p, g, x, y, pixel, inside, m + PARAMS);
    });
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
    choose(p, s, i, m, is_new, round);
    if (p.gain[i] > 0.0f) claim(p, i, round);
  }
}

// Values Gaussian i if something changed under it, and puts its candidate forward.
GS_DEVICE void refresh(const PursuitParams& p, PursuitShared& s, const ThreadGroup& threads, int i, unsigned round) {
  const short4 box = p.scene.boxes[i];
  if (stale(p, threads, i, box)) value(p, s, threads, i, box, round);
  if (threads.thread < 32 && p.gain[i] > 0.0f) claim(p, i, round);
}

// The others: blocks take them as they become free, one block-wide Gaussian or as many small ones as they have warps.
GS_DEVICE void value_others(const PursuitParams& p, PursuitShared& s, int rank, unsigned round) {
  const int n_block_wide = p.counts[1], n_small = p.counts[2], n = p.scene.first[1];
  const int n_items = n_block_wide + (n_small + WARPS - 1) / WARPS;
  const bool shared = n_grid_wide(p) > 0;
  for (int item = rank; item < n_items;) {
    if (item < n_block_wide) {
      const int i = p.order[item];
      if (!shared || !p.is_grid_wide[i]) refresh(p, s, ThreadGroup{int(threadIdx.x), THREADS, true}, i, round);
    } else {
      const int k = (item - n_block_wide) * WARPS + warp_id();
      if (k < n_small) refresh(p, s, ThreadGroup{lane_id(), 32, false}, p.order[n - 1 - k], round);
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
  const bool all = n_grid_wide(p) == 0 || is_their_turn(round);
  for (int begin = rank; begin < n; begin += p.group_size * WARPS) {
    const int i = begin + warp_id() * p.group_size;
    const bool stands = i < n && p.gain[i] > 0.0f && (all || !p.is_grid_wide[i]) && may_change(p, i, round);
    if (lane_id() == 0) s.winners[warp_id()] = stands ? i : -1;
    __syncthreads();
    for (int w = 0; w < WARPS; ++w)
      if (s.winners[w] >= 0) attempt(p, s, s.winners[w], round);
    __syncthreads();
  }
}

// The loss of the picture as it stands, this warp's share; what its pixels say to Gaussians is stored by the way.
GS_DEVICE double picture_loss(const PursuitParams& p, int rank) {
  const int pixels = p.scene.width * p.scene.height;
  double sum = 0.0;
  for (int i = rank * THREADS + int(threadIdx.x); i < pixels; i += p.group_size * THREADS) {
    const Pixel at = look_at(p, i);
    if (NORMALISED) store_slopes(p, i, at);
    sum += double(at.loss);
  }
  return warp_sum(sum);
}

// Grid Gaussians: the parameters that symbols stand for.
extern "C" __global__ void __launch_bounds__(THREADS) place_symbols(const PursuitParams p) {
  const int i = int(blockIdx.x) * THREADS + int(threadIdx.x);
  if (i >= p.scene.first[1]) return;
  int symbols[PARAMS];
  float values[PARAMS];
  load_symbols(p.symbols, i, symbols);
  dequantize(p, i, symbols, values);
  store_row(p.scene.params, i, values);
}

// Grid group_size, cooperative. `residual`, or `sums` and `persons`, are those that `draw` left.
extern "C" __global__ void __launch_bounds__(THREADS, 2) pursue(const PursuitParams p) {
  GS_SHARED(PursuitShared, s);
  const Scene& scene = p.scene;
  Group group = {p.arrived, int(blockIdx.x), p.group_size, 0};
  const int thread = int(threadIdx.x), n = scene.first[1];
  const unsigned long long deadline = nanoseconds() + (unsigned long long)(1e9 * p.deadline_s);
  for (int j = thread; j < PARAMS * RATE_ENTRIES + 2 * N_GROUPS; j += THREADS) s.rates[j] = p.rates[j];
  sort_by_size(p, group.rank);
  const double before = picture_loss(p, group.rank);
  if (lane_id() == 0) atomicAdd(&p.outcome->loss_before, before);
  sync(group);
  unsigned round = 1;
  for (; round <= unsigned(p.rounds); ++round) {
    if (is_their_turn(round))
      value_grid_wide(p, s, group.rank, round);
    else if (group.rank == 0)
      for (int v = thread; v < n_grid_wide(p); v += THREADS)
        if (p.gain[p.grid_wide[v]] > 0.0f) p.flags[0] = round;  // its turn will come
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

// Grid Gaussians: the curvatures of each as things stand, by a block.
extern "C" __global__ void __launch_bounds__(THREADS) measure_curvatures(const PursuitParams p) {
  if (!NORMALISED) return;
  GS_SHARED(PursuitShared, s);
  const int i = int(blockIdx.x);
  const ThreadGroup threads = {int(threadIdx.x), THREADS, true};
  const Drawn g = drawn_at(p.scene, i);
  float m[N_CURVATURES] = {};
  for_pixels(p, threads, p.scene.boxes[i],
             [&](int x, int y, int pixel, bool inside) { gather_curvature(p, g, x, y, pixel, inside, m); });
  group_sum<N_CURVATURES>(s, threads, m);
  if (threads.thread == 0) store_curvature(p, i, g.amplitude, m);
}

}  // namespace gscodec
