// The hot loops, written once over vectors of LANES floats and compiled for each instruction set.
//
// A Gaussian's weight at a column changes from row to row by a ratio that itself changes by a
// constant ratio, so inside a block of rows two multiplications replace an exponential. Only
// `exp2` at the top row is evaluated. Gaussians too thin for that (Prepared::direct) take the slow
// road.
#include "kernels.h"
#include "vectors.h"

namespace gscodec {
namespace GSCODEC_ISA {

constexpr int ROWS = LANES == 16 ? 8 : 4;  // rows whose sums stay in registers
constexpr int COLUMN_BLOCKS = TILE_W / LANES;
constexpr int ROW_BLOCKS = TILE_H / ROWS;
static_assert(TILE_W % LANES == 0 && TILE_H % ROWS == 0, "blocks must tile the tile");

// 2^x to 3e-7 relative for x in [-126, 126]; 0 below, 2^126 above.
GS_INLINE Vec exp2(Vec x) {
  const Vec low = splat(-126.0f), high = splat(126.0f);
  const Vec magic = splat(12582912.0f);               // 1.5·2^23: adding it rounds to the nearest integer
  const Vec clamped = larger(low, smaller(high, x));  // a NaN stays one
  const Vec rounded = clamped + magic;
  const Vec f = clamped - (rounded - magic);
  Vec p = splat(1.3333558e-3f);
  p = p * f + splat(9.6181291e-3f);
  p = p * f + splat(5.5504109e-2f);
  p = p * f + splat(2.4022651e-1f);
  p = p * f + splat(6.9314718e-1f);
  p = p * f + splat(1.0f);
  const IntVec exponent = (IntVec)rounded << 23;
  const Vec result = (Vec)((IntVec)p + exponent);
  return x < low ? splat(0.0f) : result;
}

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
        for (int k = 0; k < N_COLORS; ++k) {
          float* p = acc + k * TILE_PIXELS + r * TILE_W + cb * LANES;
          store(p, load(p) + w * splat(g.color[k]));
        }
      }
    }
  }
}

static void accumulate(const Prepared* gaussians, const uint32_t* list, int n, int x0, int y0, float* acc) {
  bool any_direct = false;
  for (int cb = 0; cb < COLUMN_BLOCKS; ++cb) {
    const Vec px = iota() + splat(float(x0 + cb * LANES) + 0.5f);
    for (int rb = 0; rb < ROW_BLOCKS; ++rb) {
      const float py = float(y0 + rb * ROWS) + 0.5f;
      Vec sums[ROWS][N_COLORS];
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; ++r)
        for (int k = 0; k < N_COLORS; ++k) sums[r][k] = splat(0.0f);
      for (int i = 0; i < n; ++i) {
        const Prepared& g = gaussians[list[i]];
        if (g.direct != 0.0f) {
          any_direct = true;
          continue;
        }
        Column column = start_column(g, px - splat(g.mean_x), py - g.mean_y);
        const Vec c0 = splat(g.color[0]), c1 = splat(g.color[1]), c2 = splat(g.color[2]);
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; ++r) {
          const Vec w = weight_from(next_row<false>(column));
          sums[r][0] += w * c0;
          sums[r][1] += w * c1;
          sums[r][2] += w * c2;
        }
      }
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; ++r)
        for (int k = 0; k < N_COLORS; ++k)
          store(acc + k * TILE_PIXELS + (rb * ROWS + r) * TILE_W + cb * LANES, sums[r][k]);
    }
  }
  if (any_direct) accumulate_direct(gaussians, list, n, x0, y0, acc);
}

// Running sums of one Gaussian over its tiles, kept in lanes until the end.
struct LaneMoments {
  Vec x, y, xx, xy, yy, color[N_COLORS];
};

template <bool DIRECT>
GS_INLINE void gather_block(const Prepared& g, const float* e, Vec dx, float dy, LaneMoments& m) {
  Column column = start_column(g, dx, dy);
  const Vec c0 = splat(g.color[0]), c1 = splat(g.color[1]), c2 = splat(g.color[2]);
  Vec b0 = splat(0.0f), b1 = b0, b2 = b0, t_0 = b0, t_y = b0, t_yy = b0;  // t_…: about the block's top row
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r) {
    const Vec gaussian = next_row<DIRECT>(column), w = weight_from(gaussian);
    const Vec e0 = load(e + r * TILE_W), e1 = load(e + TILE_PIXELS + r * TILE_W),
              e2 = load(e + 2 * TILE_PIXELS + r * TILE_W);
    b0 += w * e0;
    b1 += w * e1;
    b2 += w * e2;
    const Vec t = (w > splat(0.0f) ? gaussian : splat(0.0f)) * (e0 * c0 + e1 * c1 + e2 * c2);
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
}

template <bool DIRECT>
GS_INLINE void gather_tiles(const Prepared& g, const uint32_t* tiles, int n, int tiles_x, const float* e,
                            LaneMoments& m) {
  for (int i = 0; i < n; ++i) {
    const uint32_t t = tiles[i];
    const float dx0 = float(int(t % tiles_x) * TILE_W) + 0.5f - g.mean_x;
    const float dy0 = float(int(t / tiles_x) * TILE_H) + 0.5f - g.mean_y;
    const float* tile = e + std::size_t(t) * TILE_FLOATS;
    for (int cb = 0; cb < COLUMN_BLOCKS; ++cb) {
      const Vec dx = iota() + splat(dx0 + float(cb * LANES));
      for (int rb = 0; rb < ROW_BLOCKS; ++rb)
        gather_block<DIRECT>(g, tile + rb * ROWS * TILE_W + cb * LANES, dx, dy0 + float(rb * ROWS), m);
    }
  }
}

static void gather(const Prepared& g, const uint32_t* tiles, int n, int tiles_x, const float* e, Moments* out) {
  const Vec zero = splat(0.0f);
  LaneMoments m = {zero, zero, zero, zero, zero, {zero, zero, zero}};
  if (g.direct != 0.0f)
    gather_tiles<true>(g, tiles, n, tiles_x, e, m);
  else
    gather_tiles<false>(g, tiles, n, tiles_x, e, m);
  *out = {sum(m.x), sum(m.y), sum(m.xx), sum(m.xy), sum(m.yy), {sum(m.color[0]), sum(m.color[1]), sum(m.color[2])}};
}

template <bool DIRECT>
GS_INLINE void gather_color_tiles(const Prepared& g, const uint32_t* tiles, int n, int tiles_x, const float* e,
                                  Vec b[N_COLORS]) {
  for (int i = 0; i < n; ++i) {
    const uint32_t t = tiles[i];
    const float dx0 = float(int(t % tiles_x) * TILE_W) + 0.5f - g.mean_x;
    const float dy0 = float(int(t / tiles_x) * TILE_H) + 0.5f - g.mean_y;
    for (int cb = 0; cb < COLUMN_BLOCKS; ++cb) {
      const Vec dx = iota() + splat(dx0 + float(cb * LANES));
      for (int rb = 0; rb < ROW_BLOCKS; ++rb) {
        const float* p = e + std::size_t(t) * TILE_FLOATS + rb * ROWS * TILE_W + cb * LANES;
        Column column = start_column(g, dx, dy0 + float(rb * ROWS));
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; ++r) {
          const Vec w = weight_from(next_row<DIRECT>(column));
          for (int k = 0; k < N_COLORS; ++k) b[k] += w * load(p + k * TILE_PIXELS + r * TILE_W);
        }
      }
    }
  }
}

static void gather_color(const Prepared& g, const uint32_t* tiles, int n, int tiles_x, const float* e, float* out) {
  Vec b[N_COLORS] = {splat(0.0f), splat(0.0f), splat(0.0f)};
  if (g.direct != 0.0f)
    gather_color_tiles<true>(g, tiles, n, tiles_x, e, b);
  else
    gather_color_tiles<false>(g, tiles, n, tiles_x, e, b);
  for (int k = 0; k < N_COLORS; ++k) out[k] = sum(b[k]);
}

static double residual(const float* acc, const float* target, const float* weight, float* e, double* roi) {
  Vec loss = splat(0.0f), inside = splat(0.0f);
  for (int i = 0; i < TILE_PIXELS; i += LANES) {
    const Vec w = load(weight + i);
    Vec sq = splat(0.0f);
    for (int k = 0; k < N_COLORS; ++k) {
      const Vec d = load(acc + k * TILE_PIXELS + i) - load(target + k * TILE_PIXELS + i);
      store(e + k * TILE_PIXELS + i, w * d);
      sq += d * d;
    }
    loss += w * sq;
    inside += w > splat(0.5f) ? sq : splat(0.0f);
  }
  *roi += double(sum(inside));
  return double(sum(loss));
}

// The loop over lanes at the end writes four bytes for every three: in order, so each overwrites the last's
// spill, and the tile's buffer is one byte longer than its pixels.
static void to_rgb8(const float* acc, const float* matrix, const float* alpha, const float* background, uint8_t* rgb) {
  for (int i = 0; i < TILE_PIXELS; i += LANES) {
    const Vec a = load(acc + i), b = load(acc + TILE_PIXELS + i), c = load(acc + 2 * TILE_PIXELS + i);
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

// mesh_kernels.cpp
void mesh_run(const MeshRow& row, const float* corners, int begin, int end, float* sums);
void band_factor(float* a, int n, int width);

#define GSCODEC_STRING_(x) #x
#define GSCODEC_STRING(x) GSCODEC_STRING_(x)
extern const Kernels kernels = {
    GSCODEC_STRING(GSCODEC_ISA), accumulate, gather, gather_color, residual, to_rgb8, mesh_run, band_factor,
};

}  // namespace GSCODEC_ISA
}  // namespace gscodec
