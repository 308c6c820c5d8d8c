// The hot loops, written once over vectors of LANES floats and compiled for each instruction set.
//
// A Gaussian's weight at a column changes from row to row by a ratio that itself changes by a
// constant ratio, so inside a block of rows two multiplications replace an exponential. Only
// `exp2` at the top row is evaluated. Gaussians too thin for that (Prepared::direct) take the slow
// road.
#include "kernels.h"
#include "csrc/vectors.h"

namespace gscodec {
namespace GSCODEC_ISA {

constexpr int ROWS = LANES == 16 ? 8 : 4;  // rows whose sums stay in registers
constexpr int COLUMN_BLOCKS = TILE_W / LANES;
constexpr int ROW_BLOCKS = TILE_H / ROWS;
static_assert(TILE_W % LANES == 0 && TILE_H % ROWS == 0, "blocks must tile the tile");

// What the blends differ in: how many sums there are of a pixel. Matted is the normalised blend with the person's share
// as one colour more, which is 1 or 0 and never changes.
struct Sum {
  static constexpr bool NORMALISED = false, MATTED = false;
  static constexpr int COLORS = N_COLORS, CHANNELS = N_COLORS;
};
struct Normalised {
  static constexpr bool NORMALISED = true, MATTED = false;
  static constexpr int COLORS = N_COLORS, CHANNELS = COLORS + 1;
};
struct Matted {
  static constexpr bool NORMALISED = true, MATTED = true;
  static constexpr int COLORS = N_COLORS + 1, CHANNELS = COLORS + 1;
};

// exp(-r²/2) of one Gaussian down a block of rows of one column block.
struct Column {
  Vec gaussian, ratio, row_ratio;
  Vec u_sq, v;  // these and inv_l3: only the direct road
  float inv_l3;
};

GS_INLINE Column start_column(const Prepared& g, Vec dx, float dy) {
  const Vec u = local_u(g.inverse, dx);
  const Vec v = local_v(g.inverse, dx, splat(dy));
  const float i3 = g.inverse.inv_l3;
  Column c;
  c.u_sq = u * u;
  c.v = v;
  c.inv_l3 = i3;
  c.gaussian = exp2(-(c.u_sq + v * v));
  c.ratio = exp2((v + v + splat(i3)) * splat(-i3));
  c.row_ratio = splat(g.row_ratio);
  return c;
}

// The weight, from exp(-r²/2); a NaN draws nothing.
GS_INLINE Vec weight_from(Vec gaussian) { return larger(gaussian - splat(EDGE), splat(0.0f)); }

// exp(-r²/2) in the current row; steps to the next row.
template <bool DIRECT>
GS_INLINE Vec next_row(Column& c) {
  const Vec now = c.gaussian;
  if (DIRECT) {
    c.v = c.v + splat(c.inv_l3);
    c.gaussian = exp2(-(c.u_sq + c.v * c.v));
  } else {
    c.gaussian = c.gaussian * c.ratio;
    c.ratio = c.ratio * c.row_ratio;
  }
  return now;
}

// Adds the thin Gaussians of a list; apart from `accumulate` so that its loop keeps its registers.
template <typename Blend>
static __attribute__((noinline)) void accumulate_direct(const Prepared* gaussians, const uint32_t* list, int n, int x0,
                                                        int y0, float* acc) {
  for (int i = 0; i < n; ++i) {
    const Prepared& g = gaussians[list[i]];
    if (g.direct == 0.0f) continue;
    for (int cb = 0; cb < COLUMN_BLOCKS; ++cb) {
      const Vec dx = iota() + splat(float(x0 + cb * LANES) + 0.5f - g.mean_x);
      Column column = start_column(g, dx, float(y0) + 0.5f - g.mean_y);
      for (int r = 0; r < TILE_H; ++r) {
        const Vec w = weight_from(next_row<true>(column));
        for (int k = 0; k < Blend::CHANNELS; ++k) {
          float* p = acc + k * TILE_PIXELS + r * TILE_W + cb * LANES;
          store(p, load(p) + w * splat(k < N_COLORS ? g.color[k] : k < Blend::COLORS ? g.person : g.amplitude));
        }
      }
    }
  }
}

template <typename Blend>
static void accumulate(const Prepared* gaussians, const uint32_t* list, int n, int x0, int y0, float* acc) {
  bool any_direct = false;
  for (int cb = 0; cb < COLUMN_BLOCKS; ++cb) {
    const Vec px = iota() + splat(float(x0 + cb * LANES) + 0.5f);
    for (int rb = 0; rb < ROW_BLOCKS; ++rb) {
      const float py = float(y0 + rb * ROWS) + 0.5f;
      Vec sums[ROWS][Blend::CHANNELS];
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; ++r)
        for (int k = 0; k < Blend::CHANNELS; ++k) sums[r][k] = splat(0.0f);
      for (int i = 0; i < n; ++i) {
        const Prepared& g = gaussians[list[i]];
        if (g.direct != 0.0f) {
          any_direct = true;
          continue;
        }
        Column column = start_column(g, px - splat(g.mean_x), py - g.mean_y);
        const Vec c0 = splat(g.color[0]), c1 = splat(g.color[1]), c2 = splat(g.color[2]);
        [[maybe_unused]] const Vec amplitude = splat(g.amplitude), person = splat(g.person);
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; ++r) {
          const Vec w = weight_from(next_row<false>(column));
          sums[r][0] += w * c0;
          sums[r][1] += w * c1;
          sums[r][2] += w * c2;
          if (Blend::MATTED) sums[r][N_COLORS] += w * person;
          if (Blend::NORMALISED) sums[r][Blend::COLORS] += w * amplitude;
        }
      }
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; ++r)
        for (int k = 0; k < Blend::CHANNELS; ++k)
          store(acc + k * TILE_PIXELS + (rb * ROWS + r) * TILE_W + cb * LANES, sums[r][k]);
    }
  }
  if (any_direct) accumulate_direct<Blend>(gaussians, list, n, x0, y0, acc);
}

// Running sums of one Gaussian over its tiles, kept in lanes until the end.
struct LaneMoments {
  Vec x, y, xx, xy, yy, color[N_COLORS], person, pull;  // Σ w·e of the matte, Σ w·(e·picture)
};

template <typename Blend, bool DIRECT>
GS_INLINE void gather_block(const Prepared& g, const float* e, Vec dx, float dy, LaneMoments& m) {
  Column column = start_column(g, dx, dy);
  const Vec c0 = splat(g.color[0]), c1 = splat(g.color[1]), c2 = splat(g.color[2]);
  [[maybe_unused]] const Vec amplitude = splat(g.amplitude), person = splat(g.person);
  Vec b0 = splat(0.0f), b1 = b0, b2 = b0, b3 = b0, b4 = b0, t_0 = b0, t_y = b0,
      t_yy = b0;  // t_…: about the block's top row
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r) {
    const Vec gaussian = next_row<DIRECT>(column), w = weight_from(gaussian);
    const Vec e0 = load(e + r * TILE_W), e1 = load(e + TILE_PIXELS + r * TILE_W),
              e2 = load(e + 2 * TILE_PIXELS + r * TILE_W);
    b0 += w * e0;
    b1 += w * e1;
    b2 += w * e2;
    Vec slope = e0 * c0 + e1 * c1 + e2 * c2;
    if (Blend::MATTED) {
      const Vec e3 = load(e + N_COLORS * TILE_PIXELS + r * TILE_W);
      b3 += w * e3;
      slope += e3 * person;
    }
    if (Blend::NORMALISED) {
      const Vec e4 = load(e + Blend::COLORS * TILE_PIXELS + r * TILE_W);
      b4 += w * e4;
      slope -= e4 * amplitude;
    }
    const Vec t = (w > splat(0.0f) ? gaussian : splat(0.0f)) * slope;
    t_0 += t;
    if (r > 0) {
      t_y += t * splat(float(r));
      t_yy += t * splat(float(r * r));
    }
  }
  const Vec tx = t_0 * dx, ty = t_y + t_0 * splat(dy);
  m.x += tx;
  m.xx += tx * dx;
  m.y += ty;
  m.xy += ty * dx;
  m.yy += t_yy + splat(dy) * (t_y + ty);
  m.color[0] += b0;
  m.color[1] += b1;
  m.color[2] += b2;
  if (Blend::MATTED) m.person += b3;
  if (Blend::NORMALISED) m.pull += b4;
}

// Calls block(first float of a block of rows and lanes, dx of its lanes, dy of its top row) over a Gaussian's tiles.
template <int CHANNELS, typename Block>
GS_INLINE void for_blocks(const Prepared& g, const uint32_t* tiles, int n, int tiles_x, const float* e,
                          const Block& block) {
  for (int i = 0; i < n; ++i) {
    const uint32_t t = tiles[i];
    const float dx0 = float(int(t % tiles_x) * TILE_W) + 0.5f - g.mean_x;
    const float dy0 = float(int(t / tiles_x) * TILE_H) + 0.5f - g.mean_y;
    const float* tile = e + std::size_t(t) * CHANNELS * TILE_PIXELS;
    for (int cb = 0; cb < COLUMN_BLOCKS; ++cb) {
      const Vec dx = iota() + splat(dx0 + float(cb * LANES));
      for (int rb = 0; rb < ROW_BLOCKS; ++rb) block(tile + rb * ROWS * TILE_W + cb * LANES, dx, dy0 + float(rb * ROWS));
    }
  }
}

template <typename Blend>
static void gather(const Prepared& g, const uint32_t* tiles, int n, int tiles_x, const float* e, Moments* out) {
  constexpr int C = Blend::CHANNELS;
  const Vec zero = splat(0.0f);
  LaneMoments m = {zero, zero, zero, zero, zero, {zero, zero, zero}, zero, zero};
  if (g.direct != 0.0f)
    for_blocks<C>(g, tiles, n, tiles_x, e, [&](const float* p, Vec dx, float dy) __attribute__((always_inline)) {
      gather_block<Blend, true>(g, p, dx, dy, m);
    });
  else
    for_blocks<C>(g, tiles, n, tiles_x, e, [&](const float* p, Vec dx, float dy) __attribute__((always_inline)) {
      gather_block<Blend, false>(g, p, dx, dy, m);
    });
  *out = {sum(m.x), sum(m.y), sum(m.xx), sum(m.xy), sum(m.yy), {sum(m.color[0]), sum(m.color[1]), sum(m.color[2])}, 0};
  if (Blend::NORMALISED) {
    float by_weight = g.person * sum(m.person) - g.amplitude * sum(m.pull);
    for (int k = 0; k < N_COLORS; ++k) {
      by_weight += g.color[k] * out->color[k];
      out->color[k] *= g.amplitude;
    }
    out->log_weight = LN2 * by_weight;
  }
}

// out[k] += Σ w·field of the first N channels of a field of CHANNELS.
template <int CHANNELS, int N, bool DIRECT>
GS_INLINE void gather_field(const Prepared& g, const uint32_t* tiles, int n, int tiles_x, const float* field,
                            Vec* out) {
  for_blocks<CHANNELS>(g, tiles, n, tiles_x, field,
                       [&](const float* p, Vec dx, float dy) __attribute__((always_inline)) {
                         Column column = start_column(g, dx, dy);
#pragma GCC unroll 8
                         for (int r = 0; r < ROWS; ++r) {
                           Vec w = weight_from(next_row<DIRECT>(column));
                           for (int k = 0; k < N; ++k) out[k] += w * load(p + k * TILE_PIXELS + r * TILE_W);
                         }
                       });
}

template <typename Blend>
static void gather_color(const Prepared& g, const uint32_t* tiles, int n, int tiles_x, const float* e, float* out) {
  Vec b[N_COLORS] = {splat(0.0f), splat(0.0f), splat(0.0f)};
  if (g.direct != 0.0f)
    gather_field<Blend::CHANNELS, N_COLORS, true>(g, tiles, n, tiles_x, e, b);
  else
    gather_field<Blend::CHANNELS, N_COLORS, false>(g, tiles, n, tiles_x, e, b);
  for (int k = 0; k < N_COLORS; ++k) out[k] = g.amplitude * sum(b[k]);
}

// Lanes of Curvature.
struct LaneCurvature {
  Vec area, pull[N_COLORS], weight, uu, vv, uuuu, uuvv, vvvv;
};

template <bool DIRECT>
GS_INLINE void gather_squares_from(const Prepared& g, const uint32_t* tiles, int n, int tiles_x, const float* squares,
                                   LaneCurvature& m) {
  const float inv = g.amplitude != 0.0f ? 1.0f / g.amplitude : 0.0f;
  const float c[N_COLORS] = {g.color[0] * inv, g.color[1] * inv, g.color[2] * inv};
  const Vec c0 = splat(-2.0f * c[0]), c1 = splat(-2.0f * c[1]), c2 = splat(-2.0f * c[2]);
  const Vec norm = splat(c[0] * c[0] + c[1] * c[1] + c[2] * c[2]);
  for_blocks<N_SQUARES>(g, tiles, n, tiles_x, squares,
                        [&](const float* p, Vec dx, float dy) __attribute__((always_inline)) {
                          Column column = start_column(g, dx, dy);
                          const Vec u_sq = column.u_sq;
                          Vec v = column.v, z_0 = splat(0.0f), z_vv = z_0, z_vvvv = z_0;
#pragma GCC unroll 8
                          for (int r = 0; r < ROWS; ++r) {
                            const Vec gaussian = next_row<DIRECT>(column), w = weight_from(gaussian);
                            const float* at = p + r * TILE_W;
                            const Vec s0 = load(at), s1 = load(at + TILE_PIXELS), s2 = load(at + 2 * TILE_PIXELS),
                                      s3 = load(at + 3 * TILE_PIXELS), s4 = load(at + 4 * TILE_PIXELS);
                            const Vec w_sq = w * w;
                            m.area += w_sq * s0;
                            m.pull[0] += w_sq * s1;
                            m.pull[1] += w_sq * s2;
                            m.pull[2] += w_sq * s3;
                            const Vec d = s0 * norm + c0 * s1 + c1 * s2 + c2 * s3 + s4;
                            m.weight += w_sq * d;
                            const Vec z = (w > splat(0.0f) ? gaussian * gaussian : splat(0.0f)) * d;
                            const Vec v_r = v + splat(float(r) * g.inverse.inv_l3), v_sq = v_r * v_r;
                            z_0 += z;
                            z_vv += z * v_sq;
                            z_vvvv += z * v_sq * v_sq;
                          }
                          m.uu += z_0 * u_sq;
                          m.uuuu += z_0 * u_sq * u_sq;
                          m.vv += z_vv;
                          m.uuvv += z_vv * u_sq;
                          m.vvvv += z_vvvv;
                        });
}

static void gather_squares(const Prepared& g, const uint32_t* tiles, int n, int tiles_x, const float* squares,
                           Curvature* out) {
  const Vec zero = splat(0.0f);
  LaneCurvature m = {zero, {zero, zero, zero}, zero, zero, zero, zero, zero, zero};
  if (g.direct != 0.0f)
    gather_squares_from<true>(g, tiles, n, tiles_x, squares, m);
  else
    gather_squares_from<false>(g, tiles, n, tiles_x, squares, m);
  // u and v were scaled for exp2.
  const float a = g.amplitude * g.amplitude, s = 1.0f / (LOG2_SCALE * LOG2_SCALE);
  *out = {a * sum(m.area),         {a * sum(m.pull[0]), a * sum(m.pull[1]), a * sum(m.pull[2])},
          a * sum(m.weight),       a * s * sum(m.uu),
          a * s * sum(m.vv),       a * s * s * sum(m.uuuu),
          a * s * s * sum(m.uuvv), a * s * s * sum(m.vvvv)};
}

// What the sums at LANES pixels are to be multiplied by to be the picture's: one over the sum of weights, which
// cancellation may have left just below zero.
template <typename Blend>
GS_INLINE Vec share_of(const float* acc) {
  if (!Blend::NORMALISED) return splat(1.0f);
  return splat(1.0f) / (larger(load(acc + Blend::COLORS * TILE_PIXELS), splat(0.0f)) + splat(GROUND));
}

template <typename Blend>
static double residual(const float* acc, const TileTarget& target, float* e, double* roi) {
  Vec loss = splat(0.0f), inside = splat(0.0f);
  for (int i = 0; i < TILE_PIXELS; i += LANES) {
    const Vec w = load(target.weight + i), share = share_of<Blend>(acc + i);
    Vec sq = splat(0.0f), pull = splat(0.0f);
    for (int k = 0; k < N_COLORS; ++k) {
      Vec picture = load(acc + k * TILE_PIXELS + i);
      if (Blend::NORMALISED) picture *= share;
      const Vec d = picture - load(target.picture + k * TILE_PIXELS + i);
      const Vec slope = Blend::NORMALISED ? w * d * share : w * d;
      store(e + k * TILE_PIXELS + i, slope);
      if (Blend::NORMALISED) pull += slope * picture;
      sq += d * d;
    }
    if (Blend::MATTED) {
      const Vec wanted = load(target.matte + i), person = load(acc + N_COLORS * TILE_PIXELS + i) * share;
      const Vec d = wanted < splat(0.0f) ? splat(0.0f) : person - wanted;
      const Vec slope = splat(target.matte_weight) * d * share;
      store(e + N_COLORS * TILE_PIXELS + i, slope);
      pull += slope * person;
      loss += splat(target.matte_weight) * d * d;
    }
    if (Blend::NORMALISED) store(e + Blend::COLORS * TILE_PIXELS + i, pull);
    loss += w * sq;
    inside += w > splat(0.5f) ? sq : splat(0.0f);
  }
  *roi += double(sum(inside));
  return double(sum(loss));
}

template <typename Blend>
static void show(const float* acc, float* picture) {
  for (int i = 0; i < TILE_PIXELS; i += LANES) {
    const Vec share = share_of<Blend>(acc + i);
    for (int k = 0; k < N_COLORS; ++k) store(picture + k * TILE_PIXELS + i, load(acc + k * TILE_PIXELS + i) * share);
  }
}

template <typename Blend>
static void squares(const float* acc, const float* weight, float* out) {
  for (int i = 0; i < TILE_PIXELS; i += LANES) {
    const Vec share = share_of<Blend>(acc + i);
    const Vec m = load(weight + i) * share * share;
    Vec norm = splat(0.0f);
    for (int k = 0; k < N_COLORS; ++k) {
      // What a Gaussian's colour takes the place of: the picture, or nothing under the sum.
      const Vec picture = Blend::NORMALISED ? load(acc + k * TILE_PIXELS + i) * share : splat(0.0f);
      store(out + (1 + k) * TILE_PIXELS + i, m * picture);
      norm += picture * picture;
    }
    store(out + i, m);
    store(out + (1 + N_COLORS) * TILE_PIXELS + i, m * norm);
  }
}

// The loop over lanes at the end writes four bytes for every three: in order, so each overwrites the last's
// spill, and the tile's buffer is one byte longer than its pixels.
static void to_rgb8(const float* picture, const float* matrix, const float* alpha, const float* background,
                    uint8_t* rgb) {
  for (int i = 0; i < TILE_PIXELS; i += LANES) {
    const Vec a = load(picture + i), b = load(picture + TILE_PIXELS + i), c = load(picture + 2 * TILE_PIXELS + i);
    IntVec packed = {};
    for (int k = 0; k < N_COLORS; ++k) {
      Vec v = a * splat(255.0f * matrix[3 * k]) + b * splat(255.0f * matrix[3 * k + 1]) +
              c * splat(255.0f * matrix[3 * k + 2]);
      if (alpha) v += (splat(1.0f) - load(alpha + i)) * splat(255.0f * background[k]);
      v = v < splat(0.0f) ? splat(0.0f) : v;
      v = v > splat(255.0f) ? splat(255.0f) : v;
      packed |= __builtin_convertvector(v + splat(0.5f), IntVec) << (8 * k);
    }
    for (int lane = 0; lane < LANES; ++lane) {
      const int32_t pixel = packed[lane];
      __builtin_memcpy(rgb + 3 * (i + lane), &pixel, 4);
    }
  }
}

template <typename Blend>
constexpr BlendKernels BLEND = {
    Blend::CHANNELS, accumulate<Blend>, gather<Blend>,  gather_color<Blend>,
    residual<Blend>, show<Blend>,       squares<Blend>,
};

extern const Kernels kernels = {
    GSCODEC_STRING(GSCODEC_ISA), BLEND<Sum>, BLEND<Normalised>, BLEND<Matted>, gather_squares, to_rgb8,
};

}  // namespace GSCODEC_ISA
}  // namespace gscodec
