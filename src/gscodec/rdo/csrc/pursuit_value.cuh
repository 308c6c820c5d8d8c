// What a Gaussian's best change of symbols is worth: gradients gathered, candidates tried by a quadratic model.
//
// To draw every change one might make is too slow. The loss along one Gaussian's eight parameters is close to
// 2·gᵀx + xᵀHx: g is gathered from the residual under it, H is known in closed form, as ∫ over the plane of products of
// a Gaussian's derivatives (docs/fitting.md), times the mean weight of the pixels there. Each lane of a warp makes one
// candidate: the minimum along one group of attributes, rounded to symbols, or one that saves bits. H is too small
// where Gaussians overlap, so it is multiplied by a stiffness, doubled when a drawn change disappoints.
//
// Invariant: nothing here decides. A wrong model costs a failed attempt, never quality.
#pragma once

#include "pursuit.cuh"

namespace gscodec {

// Closed-form block of JᵀJ of one Gaussian in natural coordinates (pursuit.cpp, fill_block()), which is sparse:
// means and shear stand alone, the two scales and the colours go together.
struct Block {
  float mean, scale, cross, shear, color;  // diagonals; between the scales
  float c[3], c_sq;
};

GS_DEVICE Block block_of(const float p[8], float weight) {
  const float c_sq = p[5] * p[5] + p[6] * p[6] + p[7] * p[7], area = PI * p[2] * p[4] * weight, unit = c_sq * area;
  const float color = WEIGHT_ENERGY * area;
  return {0.5f * unit, 0.75f * unit, 0.25f * unit, 0.25f * unit, color, {p[5], p[6], p[7]}, c_sq};
}

GS_DEVICE float damped(float x) { return x * 1.02f + 1e-9f; }

// The step that a group of attributes would take, 0 elsewhere: (block + damping)·x = -g.
GS_DEVICE void solve(const Block& h, const float g[8], bool means, bool shape, bool luma, bool chroma, float x[8]) {
  for (int j = 0; j < 8; ++j) x[j] = 0.0f;
  if (means) {
    x[0] = -g[0] / damped(h.mean);
    x[1] = -g[1] / damped(h.mean);
  }
  const float own = damped(h.color);
  const bool both = shape && chroma;  // scales and colours are coupled: growing and brightening look alike
  if (shape) {
    const float share = both ? 0.5f * h.color / own : 0.0f;  // eliminates the colours
    const float out = share * 0.5f * h.color * h.c_sq;
    const float a = damped(h.scale) - out, b = h.cross - out;
    const float carried = share * (h.c[0] * g[5] + h.c[1] * g[6] + h.c[2] * g[7]);
    const float r2 = carried - g[2], r4 = carried - g[4], det = (a - b) * (a + b);
    x[2] = (a * r2 - b * r4) / det;
    x[4] = (a * r4 - b * r2) / det;
    x[3] = -g[3] / damped(h.shear);
  }
  const float pull = both ? 0.5f * h.color * (x[2] + x[4]) : 0.0f;
  for (int k = 0; k < 3; ++k)
    if (k == 0 ? luma : chroma) x[5 + k] = -(g[5 + k] + pull * h.c[k]) / own;
}

// Expected change of the loss for a step x.
GS_DEVICE float expected(const Block& h, const float g[8], const float x[8]) {
  float linear = 0.0f, mixed = 0.0f, colors = 0.0f;
  for (int j = 0; j < 8; ++j) linear += g[j] * x[j];
  for (int k = 0; k < 3; ++k) mixed += h.c[k] * x[5 + k], colors += x[5 + k] * x[5 + k];
  return 2.0f * linear + h.mean * (x[0] * x[0] + x[1] * x[1]) + h.scale * (x[2] * x[2] + x[4] * x[4]) +
         2.0f * h.cross * x[2] * x[4] + h.shear * x[3] * x[3] + h.color * (colors + (x[2] + x[4]) * mixed);
}

// Symbol steps nearest to a step in natural coordinates, within bounds (pursuit.cpp, to_symbols()).
GS_DEVICE void to_symbols(const PursuitParams& p, int i, const float now[8], const int symbols[8], const float x[8],
                          int delta[8]) {
  const float l1 = now[2], l2 = now[3], l3 = now[4];
  const float change[8] = {l1 * x[0], l2 * x[0] + l3 * x[1], l1 * x[2], l2 * x[2] + l3 * x[3], l3 * x[4], x[5], x[6],
                           x[7]};
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const float wanted = rintf(change[j] / float(p.step[8 * i + j]));
    int next = symbols[j] + int(fminf(fmaxf(wanted, -1e6f), 1e6f));
    const int low = p.low[8 * i + j], high = p.high[8 * i + j];
    next = next < low ? low : next > high ? high : next;
    delta[j] = next - symbols[j];
  }
}

GS_DEVICE void to_natural(const PursuitParams& p, int i, const float now[8], const int delta[8], float x[8]) {
  float moved[8];
#pragma unroll
  for (int j = 0; j < 8; ++j) moved[j] = float(delta[j]) * float(p.step[8 * i + j]);
  x[0] = moved[0] / now[2];
  x[1] = (moved[1] - now[3] * x[0]) / now[4];
  x[2] = moved[2] / now[2];
  x[3] = (moved[3] - now[3] * x[2]) / now[4];
  x[4] = moved[4] / now[4];
  for (int k = 5; k < 8; ++k) x[k] = moved[k];
}

// The candidate numbered like this lane: a group's step; back to the base; where all are coded a symbol nearer
// to what it is predicted to be, or no Gaussian at all. False if there is none of that number.
GS_DEVICE bool candidate(const PursuitParams& p, int i, const float now[8], const int symbols[8], const int base[8],
                         const float g[8], const Block& block, bool seen, int delta[8]) {
  const int lane = lane_id();
  for (int j = 0; j < 8; ++j) delta[j] = 0;
  if (lane < 7) {
    if (!seen) return false;
    // luma; colours; means; means, luma; shape; means, shape; all
    float x[8];
    solve(block, g, lane == 2 || lane == 3 || lane >= 5, lane >= 4, lane == 0 || lane == 1 || lane == 3 || lane == 6,
          lane == 1 || lane == 6, x);
    to_symbols(p, i, now, symbols, x, delta);
  } else if (p.first) {
    if (lane > 7) return false;
    for (int j = 0; j < 8; ++j) delta[j] = base[j] - symbols[j];
  } else if (lane < 25) {
    const int which = (lane - 7) % 3;
#pragma unroll
    for (int j = 2; j < 8; ++j)
      if (j == 2 + (lane - 7) / 3) {
        const int away = symbols[j] - base[j];
        delta[j] = (which == 0 ? away - (away > 0) + (away < 0) : which == 1 ? away / 2 : 0) - away;
      }
  } else if (lane == 25) {
    for (int j = 5; j < 8; ++j) delta[j] = -symbols[j];
  }
  bool any = false;
  for (int j = 0; j < 8; ++j) any |= delta[j] != 0;
  return any;
}

// Chooses the best candidate of Gaussian i as things stand. By one warp.
GS_DEVICE void propose(const PursuitParams& p, const PursuitShared& s, int i, const float now[8], const float g[8],
                       unsigned round) {
  const float2 state = p.state[i];
  const float first = p.first ? p.first[i] : 0.0f;
  int symbols[8], base[8], delta[8];
  load_symbols(p.symbols, i, symbols);
  load_symbols(p.base, i, base);
  const Block block = block_of(now, state.x * state.y);
  float gain = 0.0f;
  if (candidate(p, i, now, symbols, base, g, block, state.x > 0.0f, delta)) {
    float x[8];
    int next[8];
    to_natural(p, i, now, delta, x);
    for (int j = 0; j < 8; ++j) next[j] = symbols[j] + delta[j];
    gain = -expected(block, g, x) - p.lambda * (bits(p, s, first, next, base) - bits(p, s, first, symbols, base));
    if (!(gain > 0.02f * p.lambda)) gain = 0.0f;
  }
  float best = gain;
  for (int bit = 16; bit >= 1; bit /= 2) best = fmaxf(best, __shfl_xor_sync(ALL, best, bit));
  const unsigned winners = __ballot_sync(ALL, gain == best);
  if (lane_id() == __ffs(int(winners)) - 1) {
    p.valued[i] = round;
    p.gain[i] = best;
    if (best > 0.0f) {
      int next[8];
      float then[8];
      for (int j = 0; j < 8; ++j) next[j] = symbols[j] + delta[j], p.delta[8 * i + j] = delta[j];
      dequantize(p, i, next, then);
      p.reach[i] = hull(p.scene.boxes[i], box_of(then, p.scene.width, p.scene.height));
    }
  }
}

// Whether anything changed under Gaussian i since it was valued; the same in all threads of the crew.
GS_DEVICE bool stale(const PursuitParams& p, const Crew& crew, int i, short4 box) {
  const unsigned valued = p.valued[i];
  if (valued == 0) return true;
  bool changed = false;
  if (area(box)) {
    const int x0 = box.x / LOCK, y0 = box.z / LOCK, columns = box.y / LOCK - x0 + 1, rows = box.w / LOCK - y0 + 1;
    for (int t = crew.thread; t < columns * rows; t += crew.size)
      changed |= p.stamp[(y0 + t / columns) * p.locks_x + x0 + t % columns] >= valued;
  }
  return crew.block ? __syncthreads_or(changed) : __any_sync(ALL, changed);
}

// Adds one pixel to a Gaussian's sums.
GS_DEVICE void gather(const PursuitParams& p, float4 a, float4 b, int x, int y, int pixel, bool inside,
                      float m[N_SUMS]) {
  const float4 r = p.rest[pixel];
  float u, v;
  const float reached = weight_of(a, b, x, y, u, v), w = inside ? reached : 0.0f;
  const float e = -w * r.w, e0 = e * r.x, e1 = e * r.y, e2 = e * r.z;
  const float slope = w > 0.0f ? (w + EDGE) * -r.w : 0.0f;
  const float t = slope * (r.x * b.y + r.y * b.z + r.z * b.w), tu = t * u, tv = t * v;
  m[0] += tu, m[1] += tv, m[2] += u * tu, m[3] += u * tv, m[4] += v * tv;
  m[5] += e0, m[6] += e1, m[7] += e2;
  m[8] += w * r.w, m[9] += w;
}

// Chooses the candidate of Gaussian i from its sums. By one warp, every lane of which has them.
GS_DEVICE void choose(const PursuitParams& p, const PursuitShared& s, int i, const float m[N_SUMS], unsigned round) {
  float now[8], g[8];
  load8(p.scene.params + 8ll * i, now);
  unscale(m, g);
  if (p.valued[i] == 0 && p.state[i].y == 0.0f) {
    __syncwarp();
    if (lane_id() == 0) p.state[i] = {m[9] > 0.0f ? fmaxf(m[8] / m[9], 1e-3f) : 0.0f, p.stiffness};
    __syncwarp();
  }
  propose(p, s, i, now, g, round);
  __syncwarp();
}

// Gathers the gradient of Gaussian i and chooses its candidate.
GS_DEVICE void value(const PursuitParams& p, PursuitShared& s, const Crew& crew, int i, short4 box, unsigned round) {
  const float4 a = p.scene.prepared[2 * i], b = p.scene.prepared[2 * i + 1];
  float m[N_SUMS] = {};
  for_pixels(p, crew, box, [&](int x, int y, int pixel, bool inside) { gather(p, a, b, x, y, pixel, inside, m); });
  crew_sum<N_SUMS>(s, crew, m);
  if (crew.thread < 32) choose(p, s, i, m, round);
}

}  // namespace gscodec
