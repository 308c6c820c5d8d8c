// What every CUDA kernel is made of: which Gaussians reach a tile, the two passes over them, barriers.
//
// A picture is a sum of Gaussians, colour times weight, over each pixel; the gradient of a loss sends each pixel's
// residual back to every Gaussian that reached it. Both are the tiled splatting of 3D Gaussian splatting (Kerbl et
// al., 2023) without depth: nothing is in front of anything, so nothing is sorted and no order is undone backwards.
//
// A block of 8 warps owns a tile of 32 x 8·ROWS pixels, a warp a strip of 16 x 2·ROWS of them, a thread
// ROWS pixels below one another. No sort and, for a few thousand Gaussians, no binning: the block tests
// every Gaussian's box against its tile and keeps the hits in shared memory in their own order, then each
// warp tests those exactly against its strip. Invariant: a pixel's sum therefore runs in index order and without
// atomics, and comes out the same in every run; only gradients are gathered with them, in any order. The slow twin is
// splat/raster_torch.py.
#pragma once

#include "splat/csrc/gaussian.h"

#ifndef GSCODEC_ROWS
#define GSCODEC_ROWS 4
#endif
#ifndef GSCODEC_BLOCKS
#define GSCODEC_BLOCKS 4
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
  const int* first;  // [pictures + 1]: Gaussians of picture b are first[b] ... first[b + 1] - 1
  float* params;     // [total, 8]
  float4* prepared;  // [total, 2]: (mean, inv_l1, inv_l3), (shear, colours); scaled by LOG2_SCALE
  short4* boxes;     // [total]: pixels x0 ... x1, y0 ... y1 within reach
  int* cell_lists;   // [pictures, cells, capacity]: indices within the picture, ascending
  int* cell_counts;  // [pictures, cells]
  int pictures, width, height, tiles_x, tiles_y;
  int cells_x, cells_y, capacity;  // cells_x = 0: no cells, every tile looks at every Gaussian
};

struct Shared {
  float4 gaussians[ROUND][2];
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

// Writes what the passes need of Gaussian i with parameters p; returns its box.
GS_DEVICE short4 prepare_gaussian(const Scene& scene, int i, const float* p) {
  const Inverse g = invert(p[2], p[3], p[4], LOG2_SCALE);
  const short4 box = box_of(p, scene.width, scene.height);
  scene.prepared[2 * i] = {p[0], p[1], g.inv_l1, g.inv_l3};
  scene.prepared[2 * i + 1] = {g.shear, p[5], p[6], p[7]};
  scene.boxes[i] = box;
  return box;
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
      }
    count += found;
    next += ROUND;
    if (found) __syncthreads();
  }
  return count;
}

// This thread's pixels: column x, rows y ... y + ROWS - 1; its warp's strip begins at (left, top).
struct Place {
  int x, y, left, top;
};

GS_DEVICE Place place_in(const Rect& tile) {
  const int lane = lane_id(), warp = warp_id();
  const int left = tile.x0 + (warp & 1) * STRIP_W, top = tile.y0 + (warp >> 1) * STRIP_H;
  return {left + (lane & 15), top + (lane >> 4) * ROWS, left, top};
}

// Whether the ellipse reaches the centre of any pixel of the warp's strip, or nearly: the least
// distance from the mean to the rectangle of centres, found on the two edges that face it.
GS_DEVICE bool reaches(float4 a, float shear, const Place& place) {
  const float x0 = float(place.left) + 0.5f - a.x, x1 = x0 + float(STRIP_W - 1);
  const float y0 = float(place.top) + 0.5f - a.y, y1 = y0 + float(STRIP_H - 1);
  const float edge_x = fminf(fmaxf(0.0f, x0), x1), edge_y = fminf(fmaxf(0.0f, y0), y1);
  const float best_y = fminf(fmaxf(__fdividef(-shear * edge_x, a.w), y0), y1);
  const float best_x = fminf(fmaxf(__fdividef(-shear * a.w * edge_y, a.z * a.z + shear * shear), x0), x1);
  const float ux = edge_x * a.z, vx = best_y * a.w + edge_x * shear;
  const float uy = best_x * a.z, vy = edge_y * a.w + best_x * shear;
  return fminf(ux * ux + vx * vx, uy * uy + vy * vy) <= CUT + 1e-3f;
}

GS_DEVICE float exp2_fast(float x) {
#ifdef __CUDA_ARCH__
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return exp2f(x);
#endif
}

// exp(-r²/2) at u, v, given -u².
GS_DEVICE float gaussian_at(float minus_u_sq, float v) { return exp2_fast(minus_u_sq - v * v); }

// The weight, from that; a NaN draws nothing.
GS_DEVICE float weight_from(float gaussian) { return fmaxf(gaussian - EDGE, 0.0f); }

GS_DEVICE float weight_at(float minus_u_sq, float v) { return weight_from(gaussian_at(minus_u_sq, v)); }

// Numbers, within a group of 32 of the list, of the Gaussians that reach the warp's strip.
GS_DEVICE unsigned reaching(const Shared& s, int base, int count, const Place& place) {
  const int j = base + lane_id();
  return __ballot_sync(ALL, j < count && reaches(s.gaussians[j][0], s.gaussians[j][1].x, place));
}

// sums[ROWS][3] += colour · weight of one prepared Gaussian, and with COVERAGE coverage[ROWS] += weight.
template <bool COVERAGE>
GS_DEVICE void add_gaussian(float4 a, float4 b, const Place& place, float sums[ROWS][3], float coverage[ROWS]) {
  const float dx = float(place.x) + 0.5f - a.x, u = dx * a.z;
  const float v = (float(place.y) + 0.5f - a.y) * a.w + dx * b.x, minus_u_sq = -u * u;
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    const float w = weight_at(minus_u_sq, v + float(r) * a.w);
    sums[r][0] += w * b.y;
    sums[r][1] += w * b.z;
    sums[r][2] += w * b.w;
    if (COVERAGE) coverage[r] += w;
  }
}

// The same for every Gaussian of the list.
template <bool COVERAGE>
GS_DEVICE void forward(const Shared& s, int count, const Place& place, float sums[ROWS][3], float coverage[ROWS]) {
  for (int base = 0; base < count; base += 32) {
    for (unsigned mask = reaching(s, base, count, place); mask; mask &= mask - 1) {
      const int j = base + __ffs(int(mask)) - 1;
      add_gaussian<COVERAGE>(s.gaussians[j][0], s.gaussians[j][1], place, sums, coverage);
    }
  }
}

// Sums N values (a power of two) over the warp; lane l returns the one numbered l / (32 / N). Recursive:
// every index must be a constant, or the values leave the registers.
template <int N, int BIT = 16>
GS_DEVICE float reduce(float* values) {
  if constexpr (N > 1) {
    const bool upper = lane_id() & BIT;
#pragma unroll
    for (int i = 0; i < N / 2; ++i) {
      const float keep = upper ? values[i + N / 2] : values[i], send = upper ? values[i] : values[i + N / 2];
      values[i] = keep + __shfl_xor_sync(ALL, send, BIT);
    }
    return reduce<N / 2, BIT / 2>(values);
  } else {
    float sum = values[0];
#pragma unroll
    for (int bit = BIT; bit >= 1; bit /= 2) sum += __shfl_xor_sync(ALL, sum, bit);
    return sum;
  }
}

// This thread's share of the eight sums of one prepared Gaussian against e[ROWS][3]: those of gaussian.h,
// in its own frame from the start (moments about the mean would cancel for needles), scaled as (u, v) are.
GS_DEVICE void sums_of(float4 a, float4 b, const Place& place, const float e[ROWS][3], float m[8]) {
  const float dx = float(place.x) + 0.5f - a.x, u = dx * a.z;
  const float v = (float(place.y) + 0.5f - a.y) * a.w + dx * b.x, minus_u_sq = -u * u;
  float c0 = 0.0f, c1 = 0.0f, c2 = 0.0f;
  float t_0 = 0.0f, t_1 = 0.0f, t_2 = 0.0f;  // moments about the first row, in rows
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    const float gaussian = gaussian_at(minus_u_sq, v + float(r) * a.w), w = weight_from(gaussian);
    c0 += w * e[r][0];
    c1 += w * e[r][1];
    c2 += w * e[r][2];
    const float t = (w > 0.0f ? gaussian : 0.0f) * (e[r][0] * b.y + e[r][1] * b.z + e[r][2] * b.w);
    t_0 += t;
    if (r > 0) {
      t_1 += t * float(r);
      t_2 += t * float(r * r);
    }
  }
  // Rounded product by product: what cancels exactly, at a mean on a pixel's centre, must stay exact.
  const float step = __fmul_rn(a.w, t_1), t_u = u * t_0, t_v = __fadd_rn(__fmul_rn(v, t_0), step);
  m[0] = t_u, m[1] = t_v, m[2] = u * t_u, m[3] = u * t_v;
  m[4] = __fadd_rn(__fmul_rn(v, __fadd_rn(t_v, step)), __fmul_rn(a.w, __fmul_rn(a.w, t_2)));
  m[5] = c0, m[6] = c1, m[7] = c2;
}

// Undoes the scale of sums_of.
GS_DEVICE void unscale(const float sums[8], float gradient[8]) {
  constexpr float ONCE = 1.0f / LOG2_SCALE, TWICE = 1.0f / (LOG2_SCALE * LOG2_SCALE);
#pragma unroll
  for (int j = 0; j < 8; ++j) gradient[j] = sums[j] * (j < 2 ? ONCE : j < 5 ? TWICE : 1.0f);
}

// gradient[8] += the warp's sums of m[8].
GS_DEVICE void add_sums(float m[8], float* gradient) {
  const float sum = reduce<8>(m);
  if ((lane_id() & 3) == 0) atomicAdd(gradient + (lane_id() >> 2), sum);
}

// The same for two Gaussians at a time: one shuffle less each, and their latencies overlap.
GS_DEVICE void add_sums(float m[16], float* gradient_0, float* gradient_1) {
  const float sum = reduce<16>(m);
  float* to = lane_id() < 16 ? gradient_0 : gradient_1;
  if ((lane_id() & 1) == 0) atomicAdd(to + (lane_id() >> 1 & 7), sum);
}

// gradient[4 ... 7] += Σ w·weight and Σ w·e of one prepared Gaussian.
GS_DEVICE void gather_color(float4 a, float4 b, const Place& place, const float e[ROWS][3], const float weight[ROWS],
                            float* gradient) {
  const float dx = float(place.x) + 0.5f - a.x, u = dx * a.z;
  const float v = (float(place.y) + 0.5f - a.y) * a.w + dx * b.x, minus_u_sq = -u * u;
  float m[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    const float w = weight_at(minus_u_sq, v + float(r) * a.w);
    m[0] += w * weight[r];
    for (int k = 0; k < N_COLORS; ++k) m[1 + k] += w * e[r][k];
  }
  const float sum = reduce<4>(m);
  if ((lane_id() & 7) == 0) atomicAdd(gradient + 4 + (lane_id() >> 3), sum);
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
