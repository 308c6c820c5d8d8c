// The hot loops of the matting network (network.cpp) and of the guided filter, one table per instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gscodec {

// Kernels touch up to this many floats past the ends of what they are given.
constexpr int MATTING_PAD = 16;

enum class Activation : int32_t { NONE, RELU, HARD_SWISH, LOGISTIC, COUNT };

// Rows of sources for as many rows of `width`, which follow each other without a gap.
struct WeighedRows {
  int width, height;
  int step;  // from row to row of each source
  int n_in;
};

// A picture [height, width, 3] whose rough matte is to follow its edges; guide [small_height, small_width, 3] and matte
// are small. `epsilon` is how much contrast, squared, an edge needs; the result's slope at 0.5 is `sharpen`.
struct GuidedPicture {
  const uint8_t *pixels, *guide;
  const float* matte;
  int width, height, small_width, small_height;
  int radius;  // of the windows, pixels of the guide, up to GUIDED_MOST_RADIUS
  float epsilon, sharpen;
};
constexpr int GUIDED_MOST_RADIUS = 256;
constexpr int GUIDED_PLANES = 13;  // and four more, in a scratch of guided_scratch floats
static inline int guided_stride(const GuidedPicture& p) {
  return (p.width > p.small_width ? p.width : p.small_width) + 2 * p.radius + 2 * MATTING_PAD;
}
static inline std::size_t guided_plane(const GuidedPicture& p) {
  return std::size_t(p.small_width) * p.small_height + 2 * MATTING_PAD;
}
static inline std::size_t guided_scratch(const GuidedPicture& p) {
  return (GUIDED_PLANES + 4) * guided_plane(p) + std::size_t(GUIDED_PLANES + 1) * guided_stride(p);
}

struct MattingKernels {
  const char* name;
  // For each of n_out channels o and each of n pixels i
  //   out[o·out_stride + i] = activation(bias[o] + Σ_k weights[k·n_out + o] · in[k][i]) + addend[o·out_stride + i],
  // without the last term where addend is null.
  void (*combine)(const float* const* in, int n_in, const float* weights, const float* bias, int n_out, int n,
                  Activation activation, const float* addend, float* out, std::size_t out_stride);
  // The same for one channel and rows that lie apart, with weights[k·weight_stride].
  void (*weigh)(const float* const* in, const WeighedRows& rows, const float* weights, int weight_stride, float bias,
                Activation activation, const float* addend, float* out);
  // out[i] = in[i]·gate + addend[i].
  void (*mix)(const float* in, float gate, const float* addend, int n, float* out);
  float (*sum)(const float* in, int n);
  // Even and odd columns of a row of n.
  void (*part)(const float* from, int n, float* even, float* odd);
  // One row of an upscaling, 2·n floats: between rows `near` and `far`; `scratch` has n + 2.
  void (*upscale_row)(const float* near, const float* far, int n, float* scratch, float* out);
  // Two rows of floats become one, by turns.
  void (*interleave)(const float* even, const float* odd, int n, float* out);
  // out[height, width] = the matte at the picture's size; `at` and `row` have width + MATTING_PAD elements.
  void (*guided)(const GuidedPicture& p, float* scratch, int32_t* at, float* row, float* out);
};

// The widest table this processor can run, or the one named by `name` ("" = widest); null if it can't.
const MattingKernels* find_matting_kernels(const char* name);

}  // namespace gscodec
