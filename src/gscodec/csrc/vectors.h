// Vectors of LANES floats, as wide as the instruction set that a file is compiled for has them.
//
// Files that include this are linked several times, once per instruction set. They may call no library template: a
// shared inline function would leak one set's instructions into another.
#pragma once

#if defined(__SSE__)
#include <immintrin.h>
#endif

#include <cstddef>
#include <cstdint>

#include "splat/csrc/gaussian.h"

#ifndef GSCODEC_ISA
#error "GSCODEC_ISA names the namespace of this build"
#endif
#define GSCODEC_STRING_(x) #x
#define GSCODEC_STRING(x) GSCODEC_STRING_(x)

#if defined(__AVX512F__)
#define GSCODEC_LANES 16
#elif defined(__AVX__)
#define GSCODEC_LANES 8
#else
#define GSCODEC_LANES 4
#endif

namespace gscodec {
namespace GSCODEC_ISA {

constexpr int LANES = GSCODEC_LANES;
typedef float Vec __attribute__((vector_size(LANES * sizeof(float))));
typedef float Quad __attribute__((vector_size(16)));
typedef int32_t IntVec __attribute__((vector_size(LANES * sizeof(int32_t))));

// Subtracting zero folds away and leaves one broadcast; a loop over lanes would not.
GS_INLINE Vec splat(float x) { return x - Vec{}; }

GS_INLINE Vec load(const float* p) {
  Vec v;
  __builtin_memcpy(&v, __builtin_assume_aligned(p, sizeof(Vec)), sizeof(Vec));
  return v;
}

GS_INLINE Vec load_unaligned(const float* p) {
  Vec v;
  __builtin_memcpy(&v, p, sizeof(Vec));
  return v;
}

GS_INLINE void store(float* p, Vec v) { __builtin_memcpy(__builtin_assume_aligned(p, sizeof(Vec)), &v, sizeof(Vec)); }

GS_INLINE void store_unaligned(float* p, Vec v) { __builtin_memcpy(p, &v, sizeof(Vec)); }

GS_INLINE Vec iota() {
  Vec v;
  for (int i = 0; i < LANES; ++i) v[i] = float(i);
  return v;
}

// The larger and the smaller of each lane's two, b where either is a NaN: one instruction each, where compilers
// make two of a ?:.
#if defined(__AVX512F__)
GS_INLINE Vec larger(Vec a, Vec b) { return (Vec)_mm512_max_ps((__m512)a, (__m512)b); }
GS_INLINE Vec smaller(Vec a, Vec b) { return (Vec)_mm512_min_ps((__m512)a, (__m512)b); }
#elif defined(__AVX__)
GS_INLINE Vec larger(Vec a, Vec b) { return (Vec)_mm256_max_ps((__m256)a, (__m256)b); }
GS_INLINE Vec smaller(Vec a, Vec b) { return (Vec)_mm256_min_ps((__m256)a, (__m256)b); }
#elif defined(__SSE__)
GS_INLINE Vec larger(Vec a, Vec b) { return (Vec)_mm_max_ps((__m128)a, (__m128)b); }
GS_INLINE Vec smaller(Vec a, Vec b) { return (Vec)_mm_min_ps((__m128)a, (__m128)b); }
#else
GS_INLINE Vec larger(Vec a, Vec b) { return a > b ? a : b; }
GS_INLINE Vec smaller(Vec a, Vec b) { return a < b ? a : b; }
#endif

// Whether any bit of any lane is set.
#if defined(__AVX512F__)
GS_INLINE bool any(IntVec v) { return _mm512_test_epi32_mask((__m512i)v, (__m512i)v) != 0; }
#elif defined(__AVX__)
GS_INLINE bool any(IntVec v) { return !_mm256_testz_si256((__m256i)v, (__m256i)v); }
#else
GS_INLINE bool any(IntVec v) { return (v[0] | v[1] | v[2] | v[3]) != 0; }
#endif

// The values at indices `at` of p.
#if defined(__AVX512F__)
GS_INLINE Vec look_up(const float* p, IntVec at) { return (Vec)_mm512_i32gather_ps((__m512i)at, p, 4); }
#elif defined(__AVX2__)
GS_INLINE Vec look_up(const float* p, IntVec at) { return (Vec)_mm256_i32gather_ps(p, (__m256i)at, 4); }
#else
GS_INLINE Vec look_up(const float* p, IntVec at) {
  Vec v;
  for (int i = 0; i < LANES; ++i) v[i] = p[at[i]];
  return v;
}
#endif

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

GS_INLINE float sum(Vec v) {
  Quad q[LANES / 4];
  __builtin_memcpy(q, &v, sizeof(v));
  for (int i = 1; i < LANES / 4; ++i) q[0] += q[i];
  return (q[0][0] + q[0][1]) + (q[0][2] + q[0][3]);
}

}  // namespace GSCODEC_ISA
}  // namespace gscodec
