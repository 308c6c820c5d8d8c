// One prepared Gaussian at the pixels of a warp's strip: what it adds to them, and what they say to it.
//
// Forward, a thread adds weight times colour and amplitude to the sums of its ROWS pixels. Backward, it gathers the
// moments of the loss's derivative by those sums under the Gaussian, which the lanes of a warp then add up by
// shuffles. All exponentials, thus nearly all arithmetic of a fit, are here. The mathematics is gaussian.h's; what
// differs between the blends is how many sums there are, and goes where CHANNELS is 3.
#pragma once

#include "raster.cuh"

namespace gscodec {

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

// Of what 2^b with the room's sign stands for: the weight, and the person's.
GS_DEVICE float weight_of_all(float amplitude) { return HAS_PERSON ? fabsf(amplitude) : amplitude; }
GS_DEVICE float weight_of_person(float amplitude) { return fmaxf(amplitude, 0.0f); }

// That of the Gaussian numbered j of a list in shared memory.
template <typename List>
GS_DEVICE float amplitude_of(const List& list, int j) {
  return NORMALISED ? list.amplitudes[j] : 1.0f;
}

// sums[ROWS][N] += weight times the colours, the amplitude and that of the person, of one prepared Gaussian.
template <int N>
GS_DEVICE void add_gaussian(float4 a, float4 b, float amplitude, const Place& place, float sums[ROWS][N]) {
  const float dx = float(place.x) + 0.5f - a.x, u = dx * a.z;
  const float v = (float(place.y) + 0.5f - a.y) * a.w + dx * b.x, minus_u_sq = -u * u;
  const float own = weight_of_all(amplitude), person = weight_of_person(amplitude);
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    const float w = weight_at(minus_u_sq, v + float(r) * a.w);
    sums[r][0] += w * b.y;
    sums[r][1] += w * b.z;
    sums[r][2] += w * b.w;
    if (N > WEIGHT) sums[r][N > WEIGHT ? WEIGHT : 0] += w * own;
    if (N > PERSON) sums[r][N > PERSON ? PERSON : 0] += w * person;
  }
}

// The same for every Gaussian of the list.
template <int N>
GS_DEVICE void forward(const Shared& s, int count, const Place& place, float sums[ROWS][N]) {
  for (int base = 0; base < count; base += 32) {
    for (unsigned mask = reaching(s, base, count, place); mask; mask &= mask - 1) {
      const int j = base + __ffs(int(mask)) - 1;
      add_gaussian<N>(s.gaussians[j][0], s.gaussians[j][1], amplitude_of(s, j), place, sums);
    }
  }
}

// What a pixel's sums are to be multiplied by to be the picture's. Rounding may leave Σ weight just below zero.
GS_DEVICE float share_of(float weights) { return NORMALISED ? 1.0f / (fmaxf(weights, 0.0f) + GROUND) : 1.0f; }

// The derivative by a pixel's sums, in place of that by its picture; that by the person's share, if any, is there.
GS_DEVICE void by_sums(const float picture[3], float share, float e[CHANNELS]) {
  if (!NORMALISED) return;
  float pull = 0.0f;
  for (int k = 0; k < N_COLORS; ++k) {
    e[k] *= share;
    pull += e[k] * picture[k];
  }
  e[NORMALISED ? WEIGHT : 0] = -pull;
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

// This thread's share of the sums of one prepared Gaussian against e[ROWS][CHANNELS]: those of gaussian.h, in its own
// frame from the start (moments about the mean would cancel for needles), scaled as (u, v) are. m has the eight that
// both blends have; by_weight is Σ w·slope, the ninth up to a factor.
GS_DEVICE void sums_of(float4 a, float4 b, float amplitude, const Place& place, const float e[ROWS][CHANNELS],
                       float m[8], float& by_weight) {
  const float dx = float(place.x) + 0.5f - a.x, u = dx * a.z;
  const float v = (float(place.y) + 0.5f - a.y) * a.w + dx * b.x, minus_u_sq = -u * u;
  const float own = weight_of_all(amplitude), person = weight_of_person(amplitude);
  float c0 = 0.0f, c1 = 0.0f, c2 = 0.0f;
  float t_0 = 0.0f, t_1 = 0.0f, t_2 = 0.0f;  // moments about the first row, in rows
  by_weight = 0.0f;
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    const float gaussian = gaussian_at(minus_u_sq, v + float(r) * a.w), w = weight_from(gaussian);
    c0 += w * e[r][0];
    c1 += w * e[r][1];
    c2 += w * e[r][2];
    float slope = e[r][0] * b.y + e[r][1] * b.z + e[r][2] * b.w;
    if (NORMALISED) slope += e[r][NORMALISED ? WEIGHT : 0] * own;
    if (HAS_PERSON) slope += e[r][HAS_PERSON ? PERSON : 0] * person;
    if (NORMALISED) by_weight += w * slope;
    const float t = (w > 0.0f ? gaussian : 0.0f) * slope;
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

// Undoes the scale of sums_of and of by_weight; `amplitude` of the Gaussian.
GS_DEVICE void unscale(const float sums[PARAMS], float amplitude, float gradient[PARAMS]) {
  constexpr float ONCE = 1.0f / LOG2_SCALE, TWICE = 1.0f / (LOG2_SCALE * LOG2_SCALE);
#pragma unroll
  for (int j = 0; j < 8; ++j) gradient[j] = sums[j] * (j < 2 ? ONCE : j < 5 ? TWICE : fabsf(amplitude));
  if (NORMALISED) gradient[NORMALISED ? LOG_WEIGHT : 0] = LN2 * sums[NORMALISED ? LOG_WEIGHT : 0];
}

// gradient[PARAMS] += the warp's sums of m[8] and by_weight.
GS_DEVICE void add_sums(float m[8], float by_weight, float* gradient) {
  const int lane = lane_id();
  const float sum = reduce<8>(m);
  if (!NORMALISED) {
    if ((lane & 3) == 0) atomicAdd(gradient + (lane >> 2), sum);
    return;
  }
  // The ninth goes with the others, from a lane that has nothing else to add.
  const float last = reduce<1>(&by_weight);
  if ((lane & 3) == 0 || lane == 1) atomicAdd(gradient + (lane == 1 ? LOG_WEIGHT : lane >> 2), lane == 1 ? last : sum);
}

// The same for two Gaussians at a time: one shuffle less each, and their latencies overlap.
GS_DEVICE void add_sums(float m[16], float by_weight[2], float* gradient_0, float* gradient_1) {
  const int lane = lane_id();
  const float sum = reduce<16>(m);
  float* to = lane < 16 ? gradient_0 : gradient_1;
  if (!NORMALISED) {
    if ((lane & 1) == 0) atomicAdd(to + (lane >> 1 & 7), sum);
    return;
  }
  const float last = reduce<2>(by_weight);
  const bool is_last = (lane & 15) == 1;
  if ((lane & 1) == 0 || is_last) atomicAdd(to + (is_last ? LOG_WEIGHT : lane >> 1 & 7), is_last ? last : sum);
}

// gradient[4 ... 7] += what the diagonal is made of and Σ w·e of one prepared Gaussian: Σ w·weight, of which half
// stands for Σ w²·weight, and under the normalised blend that itself.
GS_DEVICE void gather_color(float4 a, float4 b, const Place& place, const float e[ROWS][CHANNELS],
                            const float weight[ROWS], float* gradient) {
  const float dx = float(place.x) + 0.5f - a.x, u = dx * a.z;
  const float v = (float(place.y) + 0.5f - a.y) * a.w + dx * b.x, minus_u_sq = -u * u;
  float m[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    const float w = weight_at(minus_u_sq, v + float(r) * a.w);
    m[0] += (NORMALISED ? w * w : w) * weight[r];
    for (int k = 0; k < N_COLORS; ++k) m[1 + k] += w * e[r][k];
  }
  const float sum = reduce<4>(m);
  if ((lane_id() & 7) == 0) atomicAdd(gradient + 4 + (lane_id() >> 3), sum);
}

}  // namespace gscodec
