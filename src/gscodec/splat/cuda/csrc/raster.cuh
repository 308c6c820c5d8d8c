// What every CUDA kernel is made of: which Gaussians reach a tile, the two passes over them, barriers.
//
// A picture is made of sums over the Gaussians at each pixel, of colour times weight and under the normalised blend of
// the weights too; the gradient of a loss sends each pixel's residual back to every Gaussian that reached it. Both are
// the tiled splatting of 3D Gaussian splatting (Kerbl et al., 2023) without depth: nothing is in front of anything, so
// nothing is sorted and no order is undone backwards.
//
// A block of 8 warps owns a tile of 32 x 8·ROWS pixels, a warp a strip of 16 x 2·ROWS of them, a thread
// ROWS pixels below one another. No sort and, for a few thousand Gaussians, no binning: the block tests
// every Gaussian's box against its tile and keeps the hits in shared memory in their own order, then each
// warp tests those exactly against its strip. Invariant: a pixel's sum therefore runs in index order and without
// atomics, and comes out the same in every run; only gradients are gathered with them, in any order. The slow twin is
// splat/drawing_torch.py.
#pragma once

#include "splat/csrc/gaussian.h"

#ifndef GSCODEC_ROWS
#define GSCODEC_ROWS 4
#endif
#ifndef GSCODEC_BLOCKS
#define GSCODEC_BLOCKS 4
#endif
// What is summed of a pixel. 3: colours, which are the picture (the sum). 4: Σ weight too, by which they are divided
// (the normalised blend). 5: and Σ weight of the person's Gaussians, whose share is the person's alpha.
#ifndef GSCODEC_CHANNELS
#define GSCODEC_CHANNELS 3
#endif
#ifndef GS_DEVICE
#define GS_DEVICE __device__ __forceinline__
#endif
#ifndef GS_SHARED
#define GS_SHARED(type, name) __shared__ type name
#endif

namespace gscodec {

constexpr int ROWS = GSCODEC_ROWS;
constexpr int BLOCKS = GSCODEC_BLOCKS;  // wanted on a multiprocessor: bounds the registers
constexpr int CHANNELS = GSCODEC_CHANNELS;
constexpr bool NORMALISED = CHANNELS > N_COLORS;            // the blend
constexpr bool HAS_PERSON = CHANNELS > N_COLORS + 1;        // the person is told from the room
constexpr int WEIGHT = N_COLORS, PERSON = N_COLORS + 1;     // numbers of channels
constexpr int PARAMS = NORMALISED ? MAX_PARAMS : N_PARAMS;  // of a Gaussian; as many sums are its gradient
constexpr int WARPS = 8;
constexpr int THREADS = 32 * WARPS;
constexpr int STRIP_W = 16, STRIP_H = 2 * ROWS;
constexpr int TILE_W = 2 * STRIP_W, TILE_H = 4 * STRIP_H;
constexpr int TESTS = 4;                // Gaussians a thread tests in one round
constexpr int ROUND = TESTS * THREADS;  // also the room for hits: one round always fits
constexpr int CELL = 256;               // pixels of a cell's side; a tile never straddles two
constexpr unsigned ALL = 0xffffffffu;
constexpr float CUT = RADIUS_SQ * LOG2_SCALE * LOG2_SCALE;  // RADIUS_SQ in the units of a prepared Gaussian
static_assert(TESTS * WARPS == 32, "one lane of a warp per count");
static_assert(CELL % TILE_W == 0 && CELL % TILE_H == 0, "tiles must not straddle cells");

// The Gaussians of a batch of pictures of one size, and where each may be seen.
struct Scene {
  const int* first;   // [pictures + 1]: Gaussians of picture b are first[b] ... first[b + 1] - 1
  float* params;      // [total, PARAMS]
  float4* prepared;   // [total, 2]: (mean, inv_l1, inv_l3), (shear, colours times amplitude); scaled by LOG2_SCALE
  short4* boxes;      // [total]: pixels x0 ... x1, y0 ... y1 within reach
  float* amplitudes;  // [total]: 2^b, below zero where it is the room's; normalised blend only
  const unsigned char* is_room;  // [total], where the person is told from the room
  int* cell_lists;               // [pictures, cells, capacity]: indices within the picture, ascending
  int* cell_counts;              // [pictures, cells]
  int pictures, width, height, tiles_x, tiles_y;
  int cells_x, cells_y, capacity;  // cells_x = 0: no cells, every tile looks at every Gaussian
};

struct Shared {
  float4 gaussians[ROUND][2];
  float amplitudes[NORMALISED ? ROUND : 1];
  int index[ROUND];
  int counts[2][32];
};

// Gaussians first + list[i], or first + i without a list.
struct Source {
  const int* list;
  int first, n;
};

struct Rect {
  int x0, y0, x1, y1;  // pixels, inclusive
};

GS_DEVICE int lane_id() { return int(threadIdx.x) & 31; }
GS_DEVICE int warp_id() { return int(threadIdx.x) >> 5; }

GS_DEVICE Rect tile_rect(const Scene& scene, int tile) {
  const int x0 = tile % scene.tiles_x * TILE_W, y0 = tile / scene.tiles_x * TILE_H;
  return {x0, y0, x0 + TILE_W - 1, y0 + TILE_H - 1};
}

GS_DEVICE bool overlaps(short4 box, const Rect& r) {
  return box.x <= r.x1 && box.y >= r.x0 && box.z <= r.y1 && box.w >= r.y0;
}

GS_DEVICE short4 box_of(const float* p, int width, int height) {
  // An ellipse |L⁻¹·d|² = r² reaches r·l1 in x and r·√(l2² + l3²) in y; a hair more against rounding.
  const float half_x = sqrtf(RADIUS_SQ) * p[2] * 1.00001f + 1e-3f;
  const float half_y = sqrtf(RADIUS_SQ * (p[3] * p[3] + p[4] * p[4])) * 1.00001f + 1e-3f;
  const float w = float(width), h = float(height);
  // Clamped before converting: means may lie anywhere. A NaN reaches nothing.
  if (!(fabsf(p[0]) < 1e30f && fabsf(p[1]) < 1e30f && half_x < 1e30f && half_y < 1e30f)) return {1, 0, 1, 0};
  return {short(fminf(fmaxf(ceilf(p[0] - half_x - 0.5f), 0.0f), w)),
          short(fmaxf(fminf(floorf(p[0] + half_x - 0.5f), w - 1.0f), -1.0f)),
          short(fminf(fmaxf(ceilf(p[1] - half_y - 0.5f), 0.0f), h)),
          short(fmaxf(fminf(floorf(p[1] + half_y - 0.5f), h - 1.0f), -1.0f))};
}

// Two float4 as an array, in one access each.
GS_DEVICE void load8(const float* from, float to[8]) {
  const float4 a = reinterpret_cast<const float4*>(from)[0], b = reinterpret_cast<const float4*>(from)[1];
  to[0] = a.x, to[1] = a.y, to[2] = a.z, to[3] = a.w, to[4] = b.x, to[5] = b.y, to[6] = b.z, to[7] = b.w;
}

GS_DEVICE void store8(float* to, const float from[8]) {
  reinterpret_cast<float4*>(to)[0] = {from[0], from[1], from[2], from[3]};
  reinterpret_cast<float4*>(to)[1] = {from[4], from[5], from[6], from[7]};
}

// A Gaussian's row of params or gradients.
GS_DEVICE void load_row(const float* rows, int i, float to[PARAMS]) {
  const float* from = rows + (long long)PARAMS * i;
  if (!NORMALISED) return load8(from, to);
#pragma unroll
  for (int j = 0; j < PARAMS; ++j) to[j] = from[j];  // rows of nine are not aligned
}

GS_DEVICE void store_row(float* rows, int i, const float from[PARAMS]) {
  float* to = rows + (long long)PARAMS * i;
  if (!NORMALISED) return store8(to, from);
#pragma unroll
  for (int j = 0; j < PARAMS; ++j) to[j] = from[j];
}

// 2^b, below zero where the Gaussian is the room's: what the sums of weights and of the person's alone are made of.
GS_DEVICE float signed_amplitude(const Scene& scene, int i, const float* p) {
  if (!NORMALISED) return 1.0f;
  const float amplitude = exp2f(p[NORMALISED ? LOG_WEIGHT : 0]);
  return HAS_PERSON && scene.is_room[i] ? -amplitude : amplitude;
}

// Writes what the passes need of Gaussian i with parameters p; returns its box.
GS_DEVICE short4 prepare_gaussian(const Scene& scene, int i, const float* p) {
  const Inverse g = invert(p[2], p[3], p[4], LOG2_SCALE);
  const short4 box = box_of(p, scene.width, scene.height);
  const float signed_own = signed_amplitude(scene, i, p), own = fabsf(signed_own);
  scene.prepared[2 * i] = {p[0], p[1], g.inv_l1, g.inv_l3};
  scene.prepared[2 * i + 1] = {g.shear, p[5] * own, p[6] * own, p[7] * own};
  if (NORMALISED) scene.amplitudes[i] = signed_own;
  scene.boxes[i] = box;
  return box;
}

// Offsets of this thread's hits in the block's order, index order; the number of hits of the round.
// One __syncthreads(); `parity` alternates so that the counts need no second one.
GS_DEVICE int rank_hits(int counts[2][32], const unsigned hits[TESTS], int offsets[TESTS], int& parity) {
  const int lane = lane_id(), warp = warp_id();
  parity ^= 1;
  if (lane == 0)
    for (int k = 0; k < TESTS; ++k) counts[parity][k * WARPS + warp] = __popc(hits[k]);
  __syncthreads();
  const int own = counts[parity][lane];
  int sum = own;
  for (int step = 1; step < 32; step *= 2) {
    const int before = __shfl_up_sync(ALL, sum, step);
    if (lane >= step) sum += before;
  }
  for (int k = 0; k < TESTS; ++k)
    offsets[k] = __shfl_sync(ALL, sum - own, k * WARPS + warp) + __popc(hits[k] & ((1u << lane) - 1u));
  return __shfl_sync(ALL, sum, 31);
}

// Copies Gaussians of `source` from number `next` on whose box meets `rect` to shared memory, in order,
// until all were looked at or no more fit; returns how many. Needs no barrier before it.
GS_DEVICE int collect(Shared& s, const Scene& scene, const Source& source, const Rect& rect, int& next, int& parity) {
  int count = 0;
  while (next < source.n) {
    unsigned hits[TESTS];
    int index[TESTS], offsets[TESTS];
#pragma unroll
    for (int k = 0; k < TESTS; ++k) {
      const int i = next + k * THREADS + int(threadIdx.x);
      index[k] = -1;
      if (i < source.n) index[k] = source.first + (source.list ? source.list[i] : i);
    }
#pragma unroll
    for (int k = 0; k < TESTS; ++k) {
      const bool hit = index[k] >= 0 && overlaps(scene.boxes[index[k]], rect);
      hits[k] = __ballot_sync(ALL, hit);
    }
    const int found = rank_hits(s.counts, hits, offsets, parity);
    if (count + found > ROUND) break;
#pragma unroll
    for (int k = 0; k < TESTS; ++k)
      if (hits[k] >> lane_id() & 1u) {
        const int to = count + offsets[k];
        s.index[to] = index[k];
        s.gaussians[to][0] = scene.prepared[2ll * index[k]];
        s.gaussians[to][1] = scene.prepared[2ll * index[k] + 1];
        if (NORMALISED) s.amplitudes[to] = scene.amplitudes[index[k]];
      }
    count += found;
    next += ROUND;
    if (found) __syncthreads();
  }
  return count;
}

// The Gaussians a tile has to look at: its cell's, or all of its picture's.
GS_DEVICE Source source_of(const Scene& scene, int picture, const Rect& tile) {
  const int first = scene.first[picture];
  if (scene.cells_x == 0) return {nullptr, first, scene.first[picture + 1] - first};
  const int cell = (picture * scene.cells_y + tile.y0 / CELL) * scene.cells_x + tile.x0 / CELL;
  return {scene.cell_lists + (long long)cell * scene.capacity, first, scene.cell_counts[cell]};
}

// How far a Gaussian may stray from a box that was listed with a margin. Large ones step further.
GS_DEVICE int margin_of(int margin, short4 box) {
  const int width = box.y - box.x, height = box.w - box.z;
  return margin == 0 ? 0 : margin + ((width > height ? width : height) >> 3);
}

GS_DEVICE Rect widened(const Rect& r, int by) { return {r.x0 - by, r.y0 - by, r.x1 + by, r.y1 + by}; }

// Lists the Gaussians of a picture that come within a margin of a cell, in index order. By one block.
GS_DEVICE void list_cell(int counts[2][32], const Scene& scene, int picture, int cell, int margin, int& parity) {
  const int first = scene.first[picture], n = scene.first[picture + 1] - first;
  const int x0 = cell % scene.cells_x * CELL, y0 = cell / scene.cells_x * CELL;
  const Rect rect = {x0, y0, x0 + CELL - 1, y0 + CELL - 1};
  const int number = picture * scene.cells_x * scene.cells_y + cell;
  int* list = scene.cell_lists + (long long)number * scene.capacity;
  int count = 0;
  for (int next = 0; next < n; next += ROUND) {
    unsigned hits[TESTS];
    int offsets[TESTS];
#pragma unroll
    for (int k = 0; k < TESTS; ++k) {
      const int i = next + k * THREADS + int(threadIdx.x);
      const short4 box = scene.boxes[first + (i < n ? i : 0)];
      hits[k] = __ballot_sync(ALL, i < n && overlaps(box, widened(rect, margin_of(margin, box))));
    }
    const int found = rank_hits(counts, hits, offsets, parity);
#pragma unroll
    for (int k = 0; k < TESTS; ++k)
      if (hits[k] >> lane_id() & 1u) list[count + offsets[k]] = next + k * THREADS + int(threadIdx.x);
    count += found;
  }
  if (threadIdx.x == 0) scene.cell_counts[number] = count;
}

}  // namespace gscodec
