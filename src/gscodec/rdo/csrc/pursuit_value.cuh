// What a Gaussian's best change of symbols is worth: gradients gathered, candidates tried by a quadratic model.
//
// To draw every change one might make is too slow. The loss along one Gaussian's parameters is close to
// 2·gᵀx + xᵀHx: g is gathered from the residual under it. Under the sum H is known in closed form, as ∫ over the plane
// of products of a Gaussian's derivatives (docs/fitting.md), times the mean weight of the pixels there; under the
// normalised blend, where what a Gaussian does depends on its neighbours, it is gathered too. Each lane of a warp makes
// one candidate: the minimum along one group of attributes, rounded to symbols, or one that saves bits. H is too small
// where Gaussians overlap, so it is multiplied by a stiffness, doubled when a drawn change disappoints.
//
// Invariant: nothing here decides. A wrong model costs a failed attempt, never quality.
#pragma once

#include "pursuit.cuh"

namespace gscodec {

// Block of JᵀJ of one Gaussian in natural coordinates (pursuit.cpp, fill_block()), which is sparse: means and shear
// stand alone; the two scales, the colours and the log-weight go together. `contrast` is Σ m·w²·(colour - what it takes
// the place of): half of it couples a scale and a colour, LN2 of it a log-weight and a colour.
struct Block {
  float mean[2], scale[2], cross, shear, color;  // diagonals; between the scales
  float contrast[3];
  float weight, weight_scale;  // log-weight: diagonal; with a scale. Normalised blend only
};

// In closed form: the sum, where a colour takes the place of nothing.
GS_DEVICE Block block_of(const float p[PARAMS], float weight) {
  const float c_sq = p[5] * p[5] + p[6] * p[6] + p[7] * p[7], area = PI * p[2] * p[4] * weight, unit = c_sq * area;
  const float color = WEIGHT_ENERGY * area;
  return {{0.5f * unit, 0.5f * unit},
          {0.75f * unit, 0.75f * unit},
          0.25f * unit,
          0.25f * unit,
          color,
          {color * p[5], color * p[6], color * p[7]},
          0.0f,
          0.0f};
}

// From the sums of gather_curvature(), times the stiffness: the normalised blend.
GS_DEVICE Block gathered_block(const float p[PARAMS], const float* s, float stiffness) {
  const float area = stiffness * s[0], by_weight = stiffness * s[4];
  return {{stiffness * s[5], stiffness * s[6]},
          {stiffness * s[7], stiffness * s[9]},
          stiffness * s[8],
          stiffness * s[8],
          area,
          {area * p[5] - stiffness * s[1], area * p[6] - stiffness * s[2], area * p[7] - stiffness * s[3]},
          LN2 * LN2 * by_weight,
          0.5f * LN2 * by_weight};
}

GS_DEVICE float damped(float x) { return x * 1.02f + 1e-9f; }

// Which attributes a step moves.
struct Moves {
  bool means, shape, luma, chroma, weight;
};

// The step that a group of attributes would take, 0 elsewhere: (block + damping)·x = -g.
GS_DEVICE void solve(const Block& h, const float g[PARAMS], const Moves& moves, float x[PARAMS]) {
  constexpr int W = NORMALISED ? LOG_WEIGHT : 0;
  for (int j = 0; j < PARAMS; ++j) x[j] = 0.0f;
  if (moves.means) {
    x[0] = -g[0] / damped(h.mean[0]);
    x[1] = -g[1] / damped(h.mean[1]);
  }
  const float own = damped(h.color);
  const bool shape = moves.shape, weight = NORMALISED && moves.weight;
  // What else goes with the colours is solved first, the colours eliminated: growing, weighing more and brightening
  // look alike.
  const bool coupled = moves.chroma && (shape || weight);
  float out = 0.0f, carried = 0.0f;
  for (int k = 0; k < 3 && coupled; ++k) {
    const float share = h.contrast[k] / own;
    out += share * h.contrast[k];
    carried += share * g[5 + k];
  }
  // The equations of x[2], x[4] and x[8], symmetric.
  float a22 = damped(h.scale[0]) - 0.25f * out, a44 = damped(h.scale[1]) - 0.25f * out, a24 = h.cross - 0.25f * out;
  float r2 = 0.5f * carried - g[2], r4 = 0.5f * carried - g[4], a28 = 0.0f, a88 = 1.0f, r8 = 0.0f;
  if (weight) {
    a28 = shape ? h.weight_scale - 0.5f * LN2 * out : 0.0f;  // with x[4] the same
    a88 = damped(h.weight) - LN2 * LN2 * out;
    r8 = LN2 * carried - g[W];
    // Eliminates the log-weight.
    const float by = a28 / a88;
    a22 -= by * a28, a44 -= by * a28, a24 -= by * a28;
    r2 -= by * r8, r4 -= by * r8;
  }
  if (shape) {
    const float det = a22 * a44 - a24 * a24;
    x[2] = (a44 * r2 - a24 * r4) / det;
    x[4] = (a22 * r4 - a24 * r2) / det;
    x[3] = -g[3] / damped(h.shear);
  }
  if (weight) x[W] = (r8 - a28 * (x[2] + x[4])) / a88;
  const float pull = coupled ? 0.5f * (x[2] + x[4]) + (weight ? LN2 * x[W] : 0.0f) : 0.0f;
  for (int k = 0; k < 3; ++k)
    if (k == 0 ? moves.luma : moves.chroma) x[5 + k] = -(g[5 + k] + pull * h.contrast[k]) / own;
}

// Expected change of the loss for a step x.
GS_DEVICE float expected(const Block& h, const float g[PARAMS], const float x[PARAMS]) {
  constexpr int W = NORMALISED ? LOG_WEIGHT : 0;
  // The weight itself, not its logarithm, is what the picture answers to: 2^b changes by that share of it.
  const float weight = NORMALISED ? (exp2f(fminf(x[W], 8.0f)) - 1.0f) / LN2 : 0.0f, grow = x[2] + x[4];
  float linear = NORMALISED ? g[W] * weight : 0.0f, mixed = 0.0f, colors = 0.0f;
  for (int j = 0; j < 8; ++j) linear += g[j] * x[j];
  for (int k = 0; k < 3; ++k) mixed += h.contrast[k] * x[5 + k], colors += x[5 + k] * x[5 + k];
  float sum = 2.0f * linear + h.mean[0] * x[0] * x[0] + h.mean[1] * x[1] * x[1] + h.scale[0] * x[2] * x[2] +
              h.scale[1] * x[4] * x[4] + 2.0f * h.cross * x[2] * x[4] + h.shear * x[3] * x[3] + h.color * colors +
              grow * mixed;
  if (NORMALISED) sum += weight * (h.weight * weight + 2.0f * h.weight_scale * grow + 2.0f * LN2 * mixed);
  return sum;
}

// Symbol steps nearest to a step in natural coordinates, within bounds (pursuit.cpp, to_symbols()).
GS_DEVICE void to_symbols(const PursuitParams& p, int i, const float now[PARAMS], const int symbols[PARAMS],
                          const float x[PARAMS], int delta[PARAMS]) {
  const float l1 = now[2], l2 = now[3], l3 = now[4];
  float change[PARAMS] = {l1 * x[0], l2 * x[0] + l3 * x[1], l1 * x[2], l2 * x[2] + l3 * x[3], l3 * x[4]};
  for (int j = 5; j < PARAMS; ++j) change[j] = x[j];
#pragma unroll
  for (int j = 0; j < PARAMS; ++j) {
    const float wanted = rintf(change[j] / float(p.step[PARAMS * i + j]));
    int next = symbols[j] + int(fminf(fmaxf(wanted, -1e6f), 1e6f));
    const int low = p.low[PARAMS * i + j], high = p.high[PARAMS * i + j];
    next = next < low ? low : next > high ? high : next;
    delta[j] = next - symbols[j];
  }
}

GS_DEVICE void to_natural(const PursuitParams& p, int i, const float now[PARAMS], const int delta[PARAMS],
                          float x[PARAMS]) {
  float moved[PARAMS];
#pragma unroll
  for (int j = 0; j < PARAMS; ++j) moved[j] = float(delta[j]) * float(p.step[PARAMS * i + j]);
  x[0] = moved[0] / now[2];
  x[1] = (moved[1] - now[3] * x[0]) / now[4];
  x[2] = moved[2] / now[2];
  x[3] = (moved[3] - now[3] * x[2]) / now[4];
  x[4] = moved[4] / now[4];
  for (int k = 5; k < PARAMS; ++k) x[k] = moved[k];
}

// What each of the first lanes moves: luma; colours; means; means, luma; shape; means, shape; means, shape, colours;
// and under the normalised blend weight; weight, colours; weight, means, shape.
constexpr int N_STEPS = NORMALISED ? 10 : 7;
GS_DEVICE Moves moves_of(int lane) {
  constexpr unsigned MEANS = 0b1001101100, SHAPE = 0b1001110000, LUMA = 0b0101001011, CHROMA = 0b0101000010;
  return {bool(MEANS >> lane & 1u), bool(SHAPE >> lane & 1u), bool(LUMA >> lane & 1u), bool(CHROMA >> lane & 1u),
          lane >= 7};
}

// The candidate numbered like this lane: a group's step; back to the base; where all are coded a symbol nearer
// to what it is predicted to be, or no Gaussian at all. False if there is none of that number.
GS_DEVICE bool candidate(const PursuitParams& p, int i, const float now[PARAMS], const int symbols[PARAMS],
                         const int base[PARAMS], const float g[PARAMS], const Block& block, bool seen,
                         int delta[PARAMS]) {
  constexpr int CHEAPER = N_STEPS + 3 * (PARAMS - 2);  // lanes up to here: three for each symbol but the mean's
  static_assert(CHEAPER < 32, "a lane must be left for no Gaussian at all");
  const int lane = lane_id();
  for (int j = 0; j < PARAMS; ++j) delta[j] = 0;
  if (lane < N_STEPS) {
    if (!seen) return false;
    float x[PARAMS];
    solve(block, g, moves_of(lane), x);
    to_symbols(p, i, now, symbols, x, delta);
  } else if (p.first) {
    if (lane > N_STEPS) return false;
    for (int j = 0; j < PARAMS; ++j) delta[j] = base[j] - symbols[j];
  } else if (lane < CHEAPER) {
    const int which = (lane - N_STEPS) % 3;
#pragma unroll
    for (int j = 2; j < PARAMS; ++j)
      if (j == 2 + (lane - N_STEPS) / 3) {
        const int away = symbols[j] - base[j];
        delta[j] = (which == 0 ? away - (away > 0) + (away < 0) : which == 1 ? away / 2 : 0) - away;
      }
  } else if (lane == CHEAPER) {
    constexpr int W = NORMALISED ? LOG_WEIGHT : 0;
    if (NORMALISED) delta[W] = p.low[PARAMS * i + W] - symbols[W];
    for (int j = 5; j < 8 && !NORMALISED; ++j) delta[j] = -symbols[j];
  }
  bool any = false;
  for (int j = 0; j < PARAMS; ++j) any |= delta[j] != 0;
  return any;
}

// Chooses the best candidate of Gaussian i as things stand. By one warp.
GS_DEVICE void propose(const PursuitParams& p, const PursuitShared& s, int i, const float now[PARAMS],
                       const float g[PARAMS], unsigned round) {
  const float2 state = p.state[i];
  const float first = p.first ? p.first[i] : 0.0f;
  int symbols[PARAMS], base[PARAMS], delta[PARAMS];
  load_symbols(p.symbols, i, symbols);
  load_symbols(p.base, i, base);
  const Block block = NORMALISED ? gathered_block(now, p.curvatures + (long long)N_CURVATURES * i, state.y)
                                 : block_of(now, state.x * state.y);
  float gain = 0.0f;
  if (candidate(p, i, now, symbols, base, g, block, block.color > 0.0f, delta)) {
    float x[PARAMS];
    int next[PARAMS];
    to_natural(p, i, now, delta, x);
    for (int j = 0; j < PARAMS; ++j) next[j] = symbols[j] + delta[j];
    gain = -expected(block, g, x) - p.lambda * (bits(p, s, i, first, next, base) - bits(p, s, i, first, symbols, base));
    if (!(gain > 0.02f * p.lambda)) gain = 0.0f;
  }
  float best = gain;
  for (int bit = 16; bit >= 1; bit /= 2) best = fmaxf(best, __shfl_xor_sync(ALL, best, bit));
  const unsigned winners = __ballot_sync(ALL, gain == best);
  if (lane_id() == __ffs(int(winners)) - 1) {
    p.valued[i] = round;
    p.gain[i] = best;
    if (best > 0.0f) {
      int next[PARAMS];
      float then[PARAMS];
      for (int j = 0; j < PARAMS; ++j) next[j] = symbols[j] + delta[j], p.delta[PARAMS * i + j] = delta[j];
      dequantize(p, i, next, then);
      p.reach[i] = hull(p.scene.boxes[i], box_of(then, p.scene.width, p.scene.height));
    }
  }
}

// Whether anything changed under Gaussian i since it was valued; the same in all threads of the group.
GS_DEVICE bool stale(const PursuitParams& p, const ThreadGroup& threads, int i, short4 box) {
  const unsigned valued = p.valued[i];
  if (valued == 0) return true;
  bool changed = false;
  if (area(box)) {
    const int x0 = box.x / LOCK, y0 = box.z / LOCK, columns = box.y / LOCK - x0 + 1, rows = box.w / LOCK - y0 + 1;
    for (int t = threads.thread; t < columns * rows; t += threads.size)
      changed |= p.stamp[(y0 + t / columns) * p.locks_x + x0 + t % columns] >= valued;
  }
  return threads.is_block ? __syncthreads_or(changed) : __any_sync(ALL, changed);
}

// A prepared Gaussian.
struct Drawn {
  float4 a, b;
  float amplitude, person;  // 1 and of no use under the sum
};

GS_DEVICE Drawn drawn_at(const Scene& scene, int i) {
  const float amplitude = NORMALISED ? scene.amplitudes[i] : 1.0f;
  return {scene.prepared[2 * i], scene.prepared[2 * i + 1], fabsf(amplitude), fmaxf(amplitude, 0.0f)};
}

// What a pixel shows and what that says: half the loss's derivative by its sums, and its share of the loss.
struct Pixel {
  float e[CHANNELS], shown[3], share, weight, loss;
};

GS_DEVICE Pixel look_at(const PursuitParams& p, int pixel) {
  Pixel found;
  if (!NORMALISED) {
    const float4 r = p.residual[pixel];
    found.weight = r.w;
    found.e[0] = -r.w * r.x, found.e[1] = -r.w * r.y, found.e[2] = -r.w * r.z;
    found.loss = r.w * (r.x * r.x + r.y * r.y + r.z * r.z);
    return found;
  }
  const float4 sums = p.sums[pixel], target = p.target[pixel];
  Loss loss = {0.0f, 0.0f};
  found.e[0] = sums.x, found.e[1] = sums.y, found.e[2] = sums.z, found.e[NORMALISED ? WEIGHT : 0] = sums.w;
  if (HAS_PERSON) found.e[HAS_PERSON ? PERSON : 0] = p.persons[pixel];
  found.share = share_of(sums.w);
  for (int k = 0; k < 3; ++k) found.shown[k] = found.e[k] * found.share;
  found.weight = compare<true>(found.e, target, HAS_PERSON ? p.matte[pixel] : 0.0f, p.matte_weight, loss);
  found.loss = loss.all;
  return found;
}

// What the sums of a pixel, which have just changed, say to Gaussians. Pixels are asked for it far more often than they
// change.
GS_DEVICE void store_slopes(const PursuitParams& p, int pixel, const Pixel& at) {
  p.slopes[pixel] = {at.e[0], at.e[1], at.e[2], at.e[NORMALISED ? WEIGHT : 0]};
  if (HAS_PERSON) p.person_slopes[pixel] = at.e[HAS_PERSON ? PERSON : 0];
}

// Adds one pixel to the sums that are a Gaussian's gradient, and under the sum to those of its weights.
GS_DEVICE void gather(const PursuitParams& p, const Drawn& g, int x, int y, int pixel, bool inside, float m[N_SUMS]) {
  constexpr int W = NORMALISED ? WEIGHT : 0, P = HAS_PERSON ? PERSON : 0;
  Pixel at;
  if (NORMALISED) {
    const float4 slopes = p.slopes[pixel];
    at.e[0] = slopes.x, at.e[1] = slopes.y, at.e[2] = slopes.z, at.e[W] = slopes.w;
    if (HAS_PERSON) at.e[P] = p.person_slopes[pixel];
  } else {
    at = look_at(p, pixel);
  }
  float u, v;
  const float reached = weight_of(g.a, g.b, x, y, u, v), w = inside ? reached : 0.0f;
  float slope = at.e[0] * g.b.y + at.e[1] * g.b.z + at.e[2] * g.b.w;
  if (NORMALISED) slope += at.e[W] * g.amplitude;
  if (HAS_PERSON) slope += at.e[P] * g.person;
  const float t = w > 0.0f ? (w + EDGE) * slope : 0.0f, tu = t * u, tv = t * v;
  m[0] += tu, m[1] += tv, m[2] += u * tu, m[3] += u * tv, m[4] += v * tv;
  for (int k = 0; k < 3; ++k) m[5 + k] += w * at.e[k];
  if (NORMALISED)
    m[8] += w * slope;
  else
    m[8] += w * at.weight, m[9] += w;
}

// Adds one pixel to a Gaussian's curvatures (kernels.h, Curvature): what makes blocks of JᵀJ. As often as a Gaussian
// changes, not as often as it is valued: what others' changes do to them is less than its stiffness allows for.
GS_DEVICE void gather_curvature(const PursuitParams& p, const Drawn& g, int x, int y, int pixel, bool inside,
                                float m[N_CURVATURES]) {
  const Pixel at = look_at(p, pixel);
  const float inv = g.amplitude > 0.0f ? 1.0f / g.amplitude : 0.0f;
  float u, v;
  const float reached = weight_of(g.a, g.b, x, y, u, v), w = inside ? reached : 0.0f;
  const float d[3] = {g.b.y * inv - at.shown[0], g.b.z * inv - at.shown[1], g.b.w * inv - at.shown[2]};
  const float d_sq = d[0] * d[0] + d[1] * d[1] + d[2] * d[2], area = at.weight * w * w;
  const float gaussian = w > 0.0f ? w + EDGE : 0.0f, z = at.weight * gaussian * gaussian * d_sq;
  const float u_sq = u * u, v_sq = v * v;
  m[0] += area;
  for (int k = 0; k < 3; ++k) m[1 + k] += area * at.shown[k];
  m[4] += area * d_sq;
  m[5] += z * u_sq, m[6] += z * v_sq;
  m[7] += z * u_sq * u_sq, m[8] += z * u_sq * v_sq, m[9] += z * v_sq * v_sq;
}

// The sums of gather_curvature() -> curvatures: undoes the scale of u and v.
GS_DEVICE void store_curvature(const PursuitParams& p, int i, float amplitude, const float m[N_CURVATURES]) {
  constexpr float TWICE = 1.0f / (LOG2_SCALE * LOG2_SCALE);
  for (int k = 0; k < N_CURVATURES; ++k)
    p.curvatures[(long long)N_CURVATURES * i + k] = amplitude * amplitude * m[k] *
                                                    (k < 5   ? 1.0f
                                                     : k < 7 ? TWICE
                                                             : TWICE * TWICE);
}

// Chooses the candidate of Gaussian i from its sums. By one warp, every lane of which has them.
GS_DEVICE void choose(const PursuitParams& p, const PursuitShared& s, int i, const float m[N_SUMS], bool is_new,
                      unsigned round) {
  float now[PARAMS], g[PARAMS];
  load_row(p.scene.params, i, now);
  const float amplitude = NORMALISED ? fabsf(p.scene.amplitudes[i]) : 1.0f;
  unscale(m, amplitude, g);
  __syncwarp();
  if (is_new && lane_id() == 0) {
    const float weight = m[9] > 0.0f ? fmaxf(m[8] / m[9], 1e-3f) : 0.0f, stiffness = p.state[i].y;
    if (NORMALISED) store_curvature(p, i, amplitude, m + PARAMS);
    p.state[i] = {NORMALISED ? 1.0f : weight, stiffness == 0.0f ? p.stiffness : stiffness};
  }
  __syncwarp();
  propose(p, s, i, now, g, round);
  __syncwarp();
}

// Whether all has to be gathered of Gaussian i, not its gradient alone: the first time, and under the normalised blend
// whenever it has changed.
GS_DEVICE bool is_unknown(const PursuitParams& p, int i) {
  return NORMALISED ? p.state[i].x == 0.0f : p.state[i].y == 0.0f;
}

// Gathers the gradient of Gaussian i and chooses its candidate.
GS_DEVICE void value(const PursuitParams& p, PursuitShared& s, const ThreadGroup& threads, int i, short4 box,
                     unsigned round) {
  const Drawn g = drawn_at(p.scene, i);
  const bool is_new = is_unknown(p, i);
  float m[N_SUMS] = {};
  for_pixels(p, threads, box, [&](int x, int y, int pixel, bool inside) { gather(p, g, x, y, pixel, inside, m); });
  if (NORMALISED && is_new) {
    for_pixels(p, threads, box,
               [&](int x, int y, int pixel, bool inside) { gather_curvature(p, g, x, y, pixel, inside, m + PARAMS); });
  }
  group_sum<N_SUMS>(s, threads, m);
  if (threads.thread < 32) choose(p, s, i, m, is_new, round);
}

}  // namespace gscodec
