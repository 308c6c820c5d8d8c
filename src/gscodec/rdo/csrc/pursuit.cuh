// What the parts of a pursuit on the GPU share: its parameters, who works on what, values and bits of symbols.
#pragma once

#include "splat/cuda/csrc/fit_pass.cuh"

namespace gscodec {

constexpr int RATE_ENTRIES = 32;
constexpr int N_GROUPS = NORMALISED ? 5 : 4;
constexpr int LOCK = 16;             // pixels of the side of a tile that one change may touch at a time
constexpr int BLOCK_WIDE = 1 << 10;  // pixels of a box from which on a whole block works on it
constexpr int GRID_WIDE = 1 << 13;   // … all blocks do, and in every fourth round only
constexpr int MAX_GRID_WIDE = 1024;  // of them; where they are more they fill the card as block-wide ones do
constexpr int SLICES = 64;           // of a grid-wide Gaussian's pixels, a warp each
constexpr int N_CURVATURES = 10;     // pursuit_value.cuh, gather_curvature()
// Of a Gaussian: its gradient, then Σ w·weight and Σ w, or under the normalised blend its curvatures.
constexpr int N_SUMS = PARAMS + (NORMALISED ? N_CURVATURES : 2);
constexpr int LOCK_INDEX_BITS = 20, LOCK_ROUND_SHIFT = 52;  // a key: round, gain, Gaussian

// What a pursuit did; the fields of pursuit.h's PursuitResult.
struct PursuitOutcome {
  double loss_before, loss;
  int tried, kept, rounds, unused;
};

struct PursuitParams {
  Scene scene;                // of one picture; params, prepared, boxes and amplitudes are kept up to date
  int* symbols;               // [n, PARAMS]
  const int* base;            // [n, PARAMS]
  const double* step;         // [n, PARAMS]
  const double* offset;       // [n, PARAMS]
  const int* low;             // [n, PARAMS]
  const int* high;            // [n, PARAMS]
  const float* first;         // [n], or null: all are coded anyway
  const float* rates;         // [PARAMS, RATE_ENTRIES], then group_on and group_off [N_GROUPS] each
  float4* residual;           // [H, W]: target minus picture, weight; kept up to date; sum only
  const float4* target;       // [H, W]: Y, U, V, weight; this and what follows up to curvatures: normalised blend only
  const float* matte;         // [H, W], where the person is told from the room
  float4* sums;               // [H, W]: Σ of colours, of weights; kept up to date
  float* persons;             // [H, W]: Σ of the person's weights; kept up to date
  float4* slopes;             // [H, W]: half the loss's derivative by `sums`, kept up to date
  float* person_slopes;       // [H, W]: that by `persons`
  float* curvatures;          // [n, N_CURVATURES], as of the last time that its Gaussian changed
  float2* state;              // [n]: mean loss weight under a Gaussian, or 1 once its curvatures are known; stiffness
  int* delta;                 // [n, PARAMS]: the best candidate's change of symbols
  float* gain;                // [n]: expected fall of D + lambda·R of it
  short4* reach;              // [n]: pixels that change with it
  unsigned* valued;           // [n]: round it was valued in, 0: not yet
  unsigned* stamp;            // [locks]: last round that changed a tile, zero at the launch
  unsigned long long* locks;  // [locks], zero at the launch
  PursuitOutcome* outcome;    // zero at the launch
  unsigned char* is_grid_wide;  // [n]
  int* order;                   // [n]: block-wide and grid-wide ones from the front, small ones from the back
  int* grid_wide;               // [MAX_GRID_WIDE]
  float* slices;                // [MAX_GRID_WIDE, SLICES, N_SUMS]
  unsigned* sliced;             // [MAX_GRID_WIDE]: slices that are summed, zero at the launch
  int* counts;                  // [4]: grid-wide ones; in order, front and back; items taken; zero at the launch
  unsigned* flags;              // [2]: last round with a candidate; time is up; zero at the launch
  unsigned* arrived;            // zero at the launch
  int group_size, rounds, locks_x;
  float lambda, stiffness, matte_weight;
  double deadline_s;  // 0: never
};

struct PursuitShared {
  float partial[WARPS][N_SUMS];
  float rates[PARAMS * RATE_ENTRIES + 2 * N_GROUPS];
  int item;
  int winners[WARPS];
};

// Threads that work on one Gaussian: a warp, or the block.
struct ThreadGroup {
  int thread, size;
  bool is_block;
};

GS_DEVICE int area(short4 box) {
  return box.y < box.x || box.w < box.z ? 0 : (box.y - box.x + 1) * (box.w - box.z + 1);
}

GS_DEVICE short4 hull(short4 a, short4 b) {
  if (area(a) == 0) return b;
  if (area(b) == 0) return a;
  return {a.x < b.x ? a.x : b.x, a.y > b.y ? a.y : b.y, a.z < b.z ? a.z : b.z, a.w > b.w ? a.w : b.w};
}

// Sums N values over a group; every thread of it learns them.
template <int N>
GS_DEVICE void group_sum(PursuitShared& s, const ThreadGroup& threads, float values[N]) {
#pragma unroll
  for (int j = 0; j < N; ++j) values[j] = warp_sum(values[j]);
  if (!threads.is_block) return;
  __syncthreads();
  if (lane_id() == 0)
    for (int j = 0; j < N; ++j) s.partial[warp_id()][j] = values[j];
  __syncthreads();
#pragma unroll
  for (int j = 0; j < N; ++j) {
    values[j] = 0.0f;
    for (int w = 0; w < WARPS; ++w) values[j] += s.partial[w][j];
  }
}

// Patches of 8 x 4 pixels that cover a box.
GS_DEVICE int patches(short4 box) {
  return area(box) == 0 ? 0 : ((box.y - box.x + 8) >> 3) * ((box.w - box.z + 4) >> 2);
}

// Calls use(x, y, index, inside) for this lane's pixel of every `stride`th patch of a box, from `first` to before
// `end`. Pixels past its edge are given the index of one inside: nothing depends on `inside` before the loads, so that
// they overlap.
template <typename Use>
GS_DEVICE void for_patches(const PursuitParams& p, short4 box, int first, int end, int stride, const Use& use) {
  if (first >= end) return;
  const int columns = (box.y - box.x + 8) >> 3, down = stride / columns, across = stride - down * columns;
  int row = first / columns, column = first - row * columns;
#pragma unroll 4
  for (int patch = first; patch < end; patch += stride) {
    const int x = box.x + 8 * column + (lane_id() & 7), y = box.z + 4 * row + (lane_id() >> 3);
    use(x, y, (y < box.w ? y : box.w) * p.scene.width + (x < box.y ? x : box.y), x <= box.y && y <= box.w);
    row += down, column += across;
    if (column >= columns) column -= columns, ++row;
  }
}

// The same for all pixels of a box, shared by a group.
template <typename Use>
GS_DEVICE void for_pixels(const PursuitParams& p, const ThreadGroup& threads, short4 box, const Use& use) {
  for_patches(p, box, threads.thread >> 5, patches(box), threads.size >> 5, use);
}

GS_DEVICE float weight_of(float4 a, float4 b, int x, int y, float& u, float& v) {
  const float dx = float(x) + 0.5f - a.x;
  u = dx * a.z;
  v = (float(y) + 0.5f - a.y) * a.w + dx * b.x;
  return weight_at(-u * u, v);
}

// Whether it is coded where all that are visible are: it has a colour, or under the normalised blend a weight.
GS_DEVICE bool is_visible(const PursuitParams& p, int i, const int symbols[PARAMS]) {
  constexpr int W = NORMALISED ? LOG_WEIGHT : 0;
  return NORMALISED ? symbols[W] > p.low[PARAMS * i + W] : symbols[5] != 0 || symbols[6] != 0 || symbols[7] != 0;
}

// Values of a Gaussian's symbols, rounded as quantize.py's dequantize does it.
GS_DEVICE void dequantize(const PursuitParams& p, int i, const int symbols[PARAMS], float out[PARAMS]) {
#pragma unroll
  for (int j = 0; j < PARAMS; ++j)
    out[j] = float(__dadd_rn(__dmul_rn(double(symbols[j]), p.step[PARAMS * i + j]), p.offset[PARAMS * i + j]));
  out[2] = fmaxf(out[2], MIN_SCALE);
  out[4] = fmaxf(out[4], MIN_SCALE);
  if (NORMALISED && !is_visible(p, i, symbols)) out[NORMALISED ? LOG_WEIGHT : 0] = ABSENT_LOG_WEIGHT;
}

GS_DEVICE void load_symbols(const int* from, int i, int to[PARAMS]) {
  if (NORMALISED) {  // rows of nine are not aligned
#pragma unroll
    for (int j = 0; j < PARAMS; ++j) to[j] = from[PARAMS * i + j];
    return;
  }
  const int4 a = reinterpret_cast<const int4*>(from)[2 * i], b = reinterpret_cast<const int4*>(from)[2 * i + 1];
  to[0] = a.x, to[1] = a.y, to[2] = a.z, to[3] = a.w, to[4] = b.x, to[5] = b.y, to[6] = b.z, to[7] = b.w;
}

GS_DEVICE float cost(const float* table, int distance) {
  distance = distance < 0 ? -distance : distance;
  if (distance < RATE_ENTRIES) return table[distance];
  const float last = table[RATE_ENTRIES - 1];
  return last + float(distance - RATE_ENTRIES + 1) * (last - table[RATE_ENTRIES - 2]);
}

// Bits of Gaussian i with these symbols (pursuit.cpp, bits()).
GS_DEVICE float bits(const PursuitParams& p, const PursuitShared& s, int i, float first, const int symbols[PARAMS],
                     const int base[PARAMS]) {
  constexpr int GROUP_OF[MAX_PARAMS] = {0, 0, 1, 1, 1, 2, 3, 3, 4};
  const float *on = s.rates + PARAMS * RATE_ENTRIES, *off = on + N_GROUPS;
  if (!p.first && !is_visible(p, i, symbols)) return 0.0f;
  float group[N_GROUPS] = {};
  unsigned moved = 0;
#pragma unroll
  for (int j = 0; j < PARAMS; ++j) {
    const int distance = symbols[j] - base[j];
    group[GROUP_OF[j]] += cost(s.rates + j * RATE_ENTRIES, distance);
    moved |= unsigned(distance != 0) << GROUP_OF[j];
  }
  if (p.first && !moved) return 0.0f;
  float sum = first;
#pragma unroll
  for (int k = 0; k < N_GROUPS; ++k) sum += (moved >> k & 1u) || !p.first ? on[k] + group[k] : off[k];
  return sum;
}

}  // namespace gscodec
