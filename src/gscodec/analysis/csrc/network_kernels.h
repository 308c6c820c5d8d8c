// The hot loops of the matting network (network.cpp), one table per instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gscodec {

// Kernels touch up to this many floats past the ends of what they are given.
constexpr int NETWORK_PAD = 16;

enum class Activation : int32_t { NONE, RELU, HARD_SWISH, LOGISTIC, COUNT };

// Rows of sources for as many rows of `width`, which follow each other without a gap.
struct WeighedRows {
  int width, height;
  int step;  // from row to row of each source
  int n_in;
};

struct NetworkKernels {
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
};

}  // namespace gscodec
