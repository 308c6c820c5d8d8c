// The hot loops of the matting network: sums of planes with weights, for many pixels and channels at once.
//
// Tensors are stored as planes, one per channel, so that a vector holds neighbouring pixels of one channel and a weight
// is the same for all of its lanes. A convolution is then always the same sum, of planes or of rows that are shifted
// against each other. A block of several channels and vectors stays in registers while its sources pass by: each vector
// that is loaded serves all channels of the block, each weight all its vectors.
#include "matting_kernels.h"

#include "csrc/vectors.h"

namespace gscodec {
namespace GSCODEC_ISA {

static_assert(LANES <= MATTING_PAD, "vectors reach past the ends");

// With 32 registers 8 channels of 3 vectors fit, with 16 of them 4.
#if defined(__AVX512F__)
constexpr int BLOCK = 8;
#else
constexpr int BLOCK = 4;
#endif
constexpr int VECTORS = 3;

GS_INLINE Vec activated(Vec x, Activation activation) {
  const Vec zero = splat(0.0f), one = splat(1.0f);
  switch (activation) {
    case Activation::RELU:
      return larger(x, zero);
    case Activation::HARD_SWISH:
      return x * smaller(larger(x * splat(1.0f / 6.0f) + splat(0.5f), zero), one);
    case Activation::LOGISTIC:
      return one / (one + exp2(x * splat(-1.44269504f)));
    default:
      return x;
  }
}

template <int C, int V>
GS_INLINE void block(const float* const* in, int n_in, const float* weights, int stride, const float* bias, int at,
                     Activation activation, const float* addend, float* out, std::size_t out_stride) {
  Vec sums[C][V];
  for (int c = 0; c < C; ++c)
    for (int v = 0; v < V; ++v) sums[c][v] = splat(bias[c]);
  for (int k = 0; k < n_in; ++k) {
    Vec x[V];
    for (int v = 0; v < V; ++v) x[v] = load_unaligned(in[k] + at + v * LANES);
    for (int c = 0; c < C; ++c) {
      const Vec w = splat(weights[std::size_t(k) * stride + c]);
      for (int v = 0; v < V; ++v) sums[c][v] += w * x[v];
    }
  }
  for (int c = 0; c < C; ++c)
    for (int v = 0; v < V; ++v) {
      const std::size_t to = c * out_stride + at + v * LANES;
      Vec y = activated(sums[c][v], activation);
      if (addend) y += load_unaligned(addend + to);
      store_unaligned(out + to, y);
    }
}

template <int V>
GS_INLINE void all_channels(const float* const* in, int n_in, const float* weights, const float* bias, int n_out,
                            int at, Activation activation, const float* addend, float* out, std::size_t stride) {
  int c = 0;
  for (; c + BLOCK <= n_out; c += BLOCK)
    block<BLOCK, V>(in, n_in, weights + c, n_out, bias + c, at, activation, addend ? addend + c * stride : nullptr,
                    out + c * stride, stride);
  for (; c + 4 <= n_out; c += 4)
    block<4, V>(in, n_in, weights + c, n_out, bias + c, at, activation, addend ? addend + c * stride : nullptr,
                out + c * stride, stride);
  for (; c < n_out; ++c)
    block<1, V>(in, n_in, weights + c, n_out, bias + c, at, activation, addend ? addend + c * stride : nullptr,
                out + c * stride, stride);
}

void combine(const float* const* in, int n_in, const float* weights, const float* bias, int n_out, int n,
             Activation activation, const float* addend, float* out, std::size_t out_stride) {
  int at = 0;
  for (; at + VECTORS * LANES <= n; at += VECTORS * LANES)
    all_channels<VECTORS>(in, n_in, weights, bias, n_out, at, activation, addend, out, out_stride);
  for (; at < n; at += LANES) all_channels<1>(in, n_in, weights, bias, n_out, at, activation, addend, out, out_stride);
}

// Vectors reach past the end of a row into the next one, which is written after it.
template <int V>
GS_INLINE void weigh_vectors(const float* const* in, const WeighedRows& rows, int y, int x, const float* weights,
                             int weight_stride, float bias, Activation activation, const float* addend, float* out) {
  Vec sums[V];
  for (int v = 0; v < V; ++v) sums[v] = splat(bias);
  const std::size_t from = std::size_t(y) * rows.step + x, to = std::size_t(y) * rows.width + x;
  for (int k = 0; k < rows.n_in; ++k) {
    const Vec w = splat(weights[std::size_t(k) * weight_stride]);
    for (int v = 0; v < V; ++v) sums[v] += w * load_unaligned(in[k] + from + v * LANES);
  }
  for (int v = 0; v < V; ++v) {
    Vec r = activated(sums[v], activation);
    if (addend) r += load_unaligned(addend + to + v * LANES);
    store_unaligned(out + to + v * LANES, r);
  }
}

void weigh(const float* const* in, const WeighedRows& rows, const float* weights, int weight_stride, float bias,
           Activation activation, const float* addend, float* out) {
  for (int y = 0; y < rows.height; ++y) {
    int x = 0;
    for (; x + 4 * LANES <= rows.width; x += 4 * LANES)
      weigh_vectors<4>(in, rows, y, x, weights, weight_stride, bias, activation, addend, out);
    for (; x < rows.width; x += LANES)
      weigh_vectors<1>(in, rows, y, x, weights, weight_stride, bias, activation, addend, out);
  }
}

void mix(const float* in, float gate, const float* addend, int n, float* out) {
  for (int i = 0; i < n; i += LANES)
    store_unaligned(out + i, load_unaligned(in + i) * splat(gate) + load_unaligned(addend + i));
}

float sum_of(const float* in, int n) {
  Vec total[4] = {};
  int i = 0;
  for (; i + 4 * LANES <= n; i += 4 * LANES)
    for (int v = 0; v < 4; ++v) total[v] += load_unaligned(in + i + v * LANES);
  for (; i + LANES <= n; i += LANES) total[0] += load_unaligned(in + i);
  float result = sum((total[0] + total[1]) + (total[2] + total[3]));
  for (; i < n; ++i) result += in[i];
  return result;
}

void part(const float* __restrict__ from, int n, float* __restrict__ even, float* __restrict__ odd) {
  for (int i = 0; i < n / 2; ++i) {
    even[i] = from[2 * i];
    odd[i] = from[2 * i + 1];
  }
  if (n & 1) even[n / 2] = from[n - 1];
}

void interleave(const float* __restrict__ even, const float* __restrict__ odd, int n, float* __restrict__ out) {
  for (int i = 0; i < n; ++i) {
    out[2 * i] = even[i];
    out[2 * i + 1] = odd[i];
  }
}

void upscale_row(const float* __restrict__ near, const float* __restrict__ far, int n, float* __restrict__ scratch,
                 float* __restrict__ out) {
  float* middle = scratch + 1;
  for (int i = 0; i < n; ++i) middle[i] = 0.75f * near[i] + 0.25f * far[i];
  middle[-1] = middle[0], middle[n] = middle[n - 1];
  for (int i = 0; i < n; ++i) {
    out[2 * i] = 0.75f * middle[i] + 0.25f * middle[i - 1];
    out[2 * i + 1] = 0.75f * middle[i] + 0.25f * middle[i + 1];
  }
}

// guided_kernels.cpp
void guided(const GuidedPicture& p, float* scratch, int32_t* at, float* row, float* out);

extern const MattingKernels matting_kernels = {
    GSCODEC_STRING(GSCODEC_ISA), combine, weigh, mix, sum_of, part, upscale_row, interleave, guided};

}  // namespace GSCODEC_ISA
}  // namespace gscodec
