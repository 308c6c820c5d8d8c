// The colour guided filter (He, Sun and Tang, 2013): fits a rough matte to the edges of a picture.
//
// In every window of a small picture, the guide, the matte is approximated by a linear function of the colour; where
// windows overlap, their functions are averaged. The functions are then enlarged, and applied to the large picture (He
// and Sun, 2015). With means over a window written as <>, the slopes solve
//   (<I·Iᵀ> - <I>·<I>ᵀ + epsilon) · slopes = <I·p> - <I>·<p>,   constant = <p> - slopes·<I>.
//
// Windows are a few pixels wide, so their sums are added up afresh: cheaper sums, made of the neighbour's, collect
// rounding errors that the small covariances do not forgive. tests/analysis/guided_twin.py says the same with OpenCV.
#include "matting_kernels.h"
#include "csrc/vectors.h"

namespace gscodec {
namespace GSCODEC_ISA {

namespace {

constexpr int COLORS = 3;
enum Product { R, G, B, P, RP, GP, BP, RR, GG, BB, RG, GB, BR, PRODUCTS };
constexpr int LINEAR = COLORS + 1;  // slopes and the constant
static_assert(PRODUCTS <= GUIDED_PLANES && LINEAR * 2 <= GUIDED_PLANES, "scratch is made for them");

// Index of a row or column outside: the picture is mirrored at its first and last one, as in OpenCV.
int mirrored(int i, int n) {
  if (n == 1) return 0;
  while (i < 0 || i >= n) i = i < 0 ? -i : 2 * (n - 1) - i;
  return i;
}

// out[x] = mean over the window around (x, y) of a plane; `line` has room for the row with its margins.
void window_means(const float* plane, int w, int h, int y, int radius, float* line, float* out) {
  const int side = 2 * radius + 1;
  const float* from[2 * GUIDED_MOST_RADIUS + 1];
  for (int d = 0; d < side; ++d) from[d] = plane + std::size_t(mirrored(y + d - radius, h)) * w;
  float* middle = line + radius;
  for (int x = 0; x < w; x += LANES) {
    Vec total = load_unaligned(from[0] + x);
    for (int d = 1; d < side; ++d) total += load_unaligned(from[d] + x);
    store_unaligned(middle + x, total);
  }
  for (int d = 1; d <= radius; ++d) {
    middle[-d] = middle[mirrored(-d, w)];
    middle[w - 1 + d] = middle[mirrored(w - 1 + d, w)];
  }
  const Vec share = splat(1.0f / float(side * side));
  for (int x = 0; x < w; x += LANES) {
    Vec total = load_unaligned(line + x);
    for (int d = 1; d < side; ++d) total += load_unaligned(line + x + d);
    store_unaligned(out + x, total * share);
  }
}

// Linear functions of one row of windows, from their means: planes[LINEAR] a row of `stride` floats each.
void solve(const float* means, int stride, int w, float epsilon, float* const* planes, std::size_t at) {
  for (int x = 0; x < w; x += LANES) {
    Vec m[PRODUCTS];
    for (int k = 0; k < PRODUCTS; ++k) m[k] = load_unaligned(means + k * stride + x);
    const Vec e = splat(epsilon);
    const Vec rr = m[RR] - m[R] * m[R] + e, gg = m[GG] - m[G] * m[G] + e, bb = m[BB] - m[B] * m[B] + e;
    const Vec rg = m[RG] - m[R] * m[G], gb = m[GB] - m[G] * m[B], br = m[BR] - m[B] * m[R];
    const Vec rp = m[RP] - m[R] * m[P], gp = m[GP] - m[G] * m[P], bp = m[BP] - m[B] * m[P];
    // The inverse of a symmetric matrix, by cofactors.
    const Vec c00 = gg * bb - gb * gb, c01 = br * gb - rg * bb, c02 = rg * gb - br * gg;
    const Vec c11 = rr * bb - br * br, c12 = br * rg - rr * gb, c22 = rr * gg - rg * rg;
    const Vec inverse = splat(1.0f) / (rr * c00 + rg * c01 + br * c02);
    const Vec r = (c00 * rp + c01 * gp + c02 * bp) * inverse;
    const Vec g = (c01 * rp + c11 * gp + c12 * bp) * inverse;
    const Vec b = (c02 * rp + c12 * gp + c22 * bp) * inverse;
    store_unaligned(planes[0] + at + x, r);
    store_unaligned(planes[1] + at + x, g);
    store_unaligned(planes[2] + at + x, b);
    store_unaligned(planes[3] + at + x, m[P] - r * m[R] - g * m[G] - b * m[B]);
  }
}

// Where a large row or column lies among n small ones: between `at` and the next one, `share` of the way.
struct Place {
  int at, next;
  float share;
};
Place place_of(int i, int large, int n) {
  float x = (float(i) + 0.5f) * float(n) / float(large) - 0.5f;
  x = x < 0.0f ? 0.0f : x > float(n - 1) ? float(n - 1) : x;
  const int at = int(x);
  return {at, at + 1 < n ? at + 1 : at, x - float(at)};
}

void multiply_out(const GuidedPicture& p, float* const* product) {
  const int n = p.small_width * p.small_height;
  for (int i = 0; i < n; ++i)
    for (int k = 0; k < COLORS; ++k) product[R + k][i] = float(p.guide[COLORS * i + k]) * (1.0f / 255.0f);
  for (int i = 0; i < n; i += LANES) {
    const Vec r = load_unaligned(product[R] + i), g = load_unaligned(product[G] + i),
              b = load_unaligned(product[B] + i);
    const Vec m = load_unaligned(product[P] + i);
    const Vec made[PRODUCTS] = {r, g, b, m, r * m, g * m, b * m, r * r, g * g, b * b, r * g, g * b, b * r};
    for (int k = RP; k < PRODUCTS; ++k) store_unaligned(product[k] + i, made[k]);
  }
}

// One row of the large picture: its colours, then its matte from functions between two small rows.
void apply_row(const GuidedPicture& p, int y, float* const* planes, const int32_t* at, const float* share, float* rows,
               float* out) {
  const Place v = place_of(y, p.height, p.small_height);
  const int w = p.small_width, stride = guided_stride(p);
  for (int k = 0; k < LINEAR; ++k) {
    const float *a = planes[k] + std::size_t(v.at) * w, *b = planes[k] + std::size_t(v.next) * w;
    float* to = rows + k * stride;
    for (int x = 0; x < w; x += LANES) {
      const Vec near = load_unaligned(a + x);
      store_unaligned(to + x, near + splat(v.share) * (load_unaligned(b + x) - near));
    }
    to[w] = to[w - 1];
  }
  float* colors = rows + LINEAR * stride;
  const uint8_t* pixels = p.pixels + std::size_t(y) * p.width * COLORS;
  for (int x = 0; x < p.width; ++x)
    for (int k = 0; k < COLORS; ++k) colors[k * stride + x] = float(pixels[COLORS * x + k]) * (1.0f / 255.0f);
  for (int x = 0; x < p.width; x += LANES) {
    IntVec from;
    __builtin_memcpy(&from, at + x, sizeof(from));
    const Vec t = load_unaligned(share + x);
    Vec value = {};
    for (int k = 0; k < LINEAR; ++k) {
      const Vec a = look_up(rows + k * stride, from), b = look_up(rows + k * stride + 1, from);
      const Vec function = a + t * (b - a);
      value += k < COLORS ? function * load_unaligned(colors + k * stride + x) : function;
    }
    value = (value - splat(0.5f)) * splat(p.sharpen) + splat(0.5f);
    store_unaligned(out + x, smaller(larger(value, splat(0.0f)), splat(1.0f)));
  }
}

}  // namespace

void guided(const GuidedPicture& p, float* scratch, int32_t* at, float* matte_row, float* out) {
  const int w = p.small_width, h = p.small_height, stride = guided_stride(p);
  const std::size_t plane = guided_plane(p);
  float* planes[GUIDED_PLANES];
  for (int k = 0; k < GUIDED_PLANES; ++k) planes[k] = scratch + k * plane;
  float* functions[LINEAR];
  for (int k = 0; k < LINEAR; ++k) functions[k] = scratch + (GUIDED_PLANES + k) * plane;
  float* rows = scratch + (GUIDED_PLANES + LINEAR) * plane;
  float* line = rows + PRODUCTS * stride;
  __builtin_memcpy(planes[P], p.matte, std::size_t(w) * h * sizeof(float));
  multiply_out(p, planes);
  for (int y = 0; y < h; ++y) {
    for (int k = 0; k < PRODUCTS; ++k) window_means(planes[k], w, h, y, p.radius, line, rows + k * stride);
    solve(rows, stride, w, p.epsilon, functions, std::size_t(y) * w);
  }
  for (int k = 0; k < LINEAR; ++k)
    for (int y = 0; y < h; ++y) {
      window_means(functions[k], w, h, y, p.radius, line, rows);
      __builtin_memcpy(planes[k] + std::size_t(y) * w, rows, w * sizeof(float));
    }
  float* share = line;
  for (int x = 0; x < p.width + LANES; ++x) {
    const Place place = place_of(x, p.width, w);
    at[x] = place.at, share[x] = place.share;
  }
  for (int y = 0; y < p.height; ++y) {
    apply_row(p, y, planes, at, share, rows, matte_row);
    __builtin_memcpy(out + std::size_t(y) * p.width, matte_row, p.width * sizeof(float));
  }
}

}  // namespace GSCODEC_ISA
}  // namespace gscodec
