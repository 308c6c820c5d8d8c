// The hot loops of the search for a mesh of displacements (mesh_motion.cpp).
#include "mesh_kernels.h"

#include "csrc/vectors.h"

namespace gscodec {
namespace GSCODEC_ISA {

GS_INLINE Vec clamped(Vec x, float high) { return smaller(splat(high), larger(splat(0.0f), x)); }

void mesh_run(const MeshRow& row, const float* corners, int begin, int end, float* sums) {
  const int width = row.width;
  const Vec lanes = iota();
  const IntVec steps = __builtin_convertvector(lanes, IntVec);
  Vec m[MESH_SUMS] = {};
  for (int x0 = begin; x0 < end; x0 += LANES) {
    const Vec x = splat(float(x0)) + lanes;
    Vec w = load_unaligned(row.weight + x0);
    w = x < splat(float(end)) ? w : splat(0.0f);
    if (!any((IntVec)w)) continue;
    const Vec s = load_unaligned(row.share + x0);
    const Vec u = clamped(x + splat(corners[0]) + s * splat(corners[2] - corners[0]), float(width) - 1.001f);
    const Vec v =
        clamped(splat(float(row.y) + corners[1]) + s * splat(corners[3] - corners[1]), float(row.height) - 1.001f);
    const IntVec iu = __builtin_convertvector(u, IntVec), iv = __builtin_convertvector(v, IntVec);
    const Vec tu = u - __builtin_convertvector(iu, Vec), tv = v - __builtin_convertvector(iv, Vec);
    const IntVec at = iv * width + iu;
    const float* first = row.now + at[0];
    Vec a, b, c, d;
    if (any(at - at[0] - steps)) {
      a = look_up(row.now, at), b = look_up(row.now + 1, at);
      c = look_up(row.now + width, at), d = look_up(row.now + width + 1, at);
    } else {  // neighbours stay neighbours, as almost everywhere
      a = load_unaligned(first), b = load_unaligned(first + 1);
      c = load_unaligned(first + width), d = load_unaligned(first + width + 1);
    }
    const Vec top = a + tu * (b - a), bottom = c + tu * (d - c), here = load_unaligned(row.before + x0);
    const Vec r = top + tv * (bottom - top) - here;
    const Vec left = x <= splat(0.0f) ? here : load_unaligned(row.before + x0 - 1);
    const Vec right = x >= splat(float(width - 1)) ? here : load_unaligned(row.before + x0 + 1);
    // Of both pictures, which converges faster than either alone.
    const Vec gx = splat(0.5f) * ((b - a) + tv * (d - c - b + a)) + splat(0.25f) * (right - left);
    const Vec gy =
        splat(0.5f) * (bottom - top) + splat(0.25f) * (load_unaligned(row.below + x0) - load_unaligned(row.above + x0));
    w /= splat(1.0f) + r * r * splat(1.0f / (ROBUST * ROBUST));
    const Vec wx = w * gx, wy = w * gy;
    const Vec terms[5] = {wx * gx, wx * gy, wy * gy, wx * r, wy * r};
    for (int k = 0; k < 3; ++k) {
      const Vec once = s * terms[k];
      m[k] += terms[k], m[3 + k] += once, m[6 + k] += s * once;
    }
    for (int k = 0; k < 2; ++k) m[9 + k] += terms[3 + k], m[11 + k] += s * terms[3 + k];
  }
  for (int k = 0; k < MESH_SUMS; ++k) sums[k] = sum(m[k]);
}

// to -= f·from, n of them and the padding behind.
GS_INLINE void subtract(float* to, float f, const float* from, int n) {
  for (int i = 0; i < n; i += LANES)
    store_unaligned(to + i, load_unaligned(to + i) - splat(f) * load_unaligned(from + i));
}

GS_INLINE void divide_by_root(float* c, int n) {
  const float scale = 1.0f / __builtin_sqrtf(c[0] > 1e-12f ? c[0] : 1e-12f);
  for (int i = 0; i < n; i += LANES) store_unaligned(c + i, splat(scale) * load_unaligned(c + i));
}

// Two columns at a time, so that those behind are loaded and stored half as often.
void band_factor(float* a, int n, int width) {
  const int stride = width + MESH_PAD;
  for (int j = 0; j < n; j += 2) {
    float *c0 = a + std::size_t(j) * stride, *c1 = c0 + stride;
    divide_by_root(c0, width);
    subtract(c1, c0[1], c0 + 1, width - 1);
    divide_by_root(c1, width);
    for (int k = 2; k <= width && j + k < n; ++k) {
      float* to = c0 + std::size_t(k) * stride - k;
      const Vec f0 = splat(c0[k]), f1 = splat(c1[k - 1]);
      for (int i = k; i <= width; i += LANES)
        store_unaligned(to + i, load_unaligned(to + i) - f0 * load_unaligned(c0 + i) - f1 * load_unaligned(c1 + i - 1));
    }
  }
}

extern const MeshKernels mesh_kernels = {GSCODEC_STRING(GSCODEC_ISA), mesh_run, band_factor};

}  // namespace GSCODEC_ISA
}  // namespace gscodec
