// One Gaussian at one pixel, and every constant that changes a decoded pixel.
//
// Shared by the CPU kernels (T = a SIMD vector) and the CUDA kernels (T = float). Normative text:
// docs/bitstream.md, section "Rendering". The slow twin is splat/drawing_torch.py.
#pragma once

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define GS_INLINE __host__ __device__ __forceinline__
#else
#define GS_INLINE inline __attribute__((always_inline))
#endif

namespace gscodec {

// A Gaussian's weight is exp(-r²/2) - exp(-RADIUS_SQ/2) where r² < RADIUS_SQ and 0 from there on: without a step,
// so that rounding at the edge moves no pixel. As the exponential falls, it is max(exp(-r²/2) - EDGE, 0) anywhere.
constexpr float RADIUS_SQ = 9.0f;
// Smallest l1 and l3, pixels. Below it a Gaussian falls between pixel centres.
constexpr float MIN_SCALE = 0.3f;
// sqrt(log2(e)/2): with u, v scaled by it, exp(-r²/2) is exp2(-(u² + v²)).
constexpr float LOG2_SCALE = 0.84932180028801904f;
// exp(-RADIUS_SQ/2), which is subtracted.
constexpr float EDGE = 1.1108996538242306e-2f;
// Σ w² of a Gaussian over π·l1·l3; of an exponential that is never cut it would be 1.
constexpr float WEIGHT_ENERGY = 0.95704f;

constexpr int N_PARAMS = 8;  // mean x, mean y, l1, l2, l3, three colours
constexpr int N_COLORS = 3;
// The normalised blend gives a Gaussian one number more, its log-weight b in octaves: its weight is multiplied by 2^b,
// and a pixel is (Σ weight·colour) / (GROUND + Σ weight). Colours are counted from the ground colour, which shows
// where nothing else does. docs/bitstream.md, "Rendering".
constexpr int LOG_WEIGHT = 8;
constexpr int MAX_PARAMS = 9;
constexpr float GROUND = 1e-4f;
// Of b: beyond it one Gaussian covers another altogether.
constexpr float MAX_LOG_WEIGHT = 8.0f;
// b of a Gaussian that is not there: 2^b is the smallest weight that a float can still hold to full precision.
constexpr float ABSENT_LOG_WEIGHT = -126.0f;
// Luma of white in the opponent colours, (R + G + B)/√3 with each in [0, 1], and its square.
constexpr float WHITE_LUMA = 1.7320508075688772f;
constexpr float WHITE_LUMA_SQ = 3.0f;
constexpr float LN2 = 0.69314718055994531f;
constexpr float PI = 3.14159265f;

// Inverse of the Cholesky factor: u = dx·inv_l1, v = dy·inv_l3 + shear·dx.
struct Inverse {
  float inv_l1, inv_l3, shear;
};

GS_INLINE Inverse invert(float l1, float l2, float l3, float scale) {
  const float inv_l1 = scale / l1;
  const float inv_l3 = scale / l3;
  return {inv_l1, inv_l3, -l2 / (l1 * l3) * scale};
}

template <typename T>
GS_INLINE T local_u(const Inverse& g, T dx) {
  return dx * g.inv_l1;
}

template <typename T>
GS_INLINE T local_v(const Inverse& g, T dx, T dy) {
  return dy * g.inv_l3 + dx * g.shear;
}

// Raw moments of t = s·(e·c) about the mean, and Σ w·e per colour: what one backward pass gathers. s is
// exp(-r²/2) where the weight w is above 0: that is what w changes by. Under the normalised blend e·c - e·picture
// stands for e·c, with e divided by the sum of the weights.
struct Moments {
  float x, y, xx, xy, yy;  // Σ t·dx, Σ t·dy, Σ t·dx², Σ t·dx·dy, Σ t·dy², pixels and pixels²
  float color[N_COLORS];
  float log_weight;  // derivative by b; normalised blend only
};

// The sums of docs/fitting.md: (Su, Sv, Suu, Suv, Svv, Sc), and under the normalised blend that of b. They are the
// gradient in the Gaussian's own frame: μ += L·(A,B), L <- L·[[e^C,0],[D,e^E]].
GS_INLINE void natural_gradient(const Moments& m, const Inverse& g, int n_params, float* out) {
  out[0] = m.x * g.inv_l1;
  out[1] = m.y * g.inv_l3 + m.x * g.shear;
  out[2] = m.xx * g.inv_l1 * g.inv_l1;
  out[3] = g.inv_l1 * (m.xy * g.inv_l3 + m.xx * g.shear);
  out[4] = m.yy * g.inv_l3 * g.inv_l3 + 2.0f * m.xy * g.inv_l3 * g.shear + m.xx * g.shear * g.shear;
  for (int k = 0; k < N_COLORS; ++k) out[5 + k] = m.color[k];
  if (n_params > LOG_WEIGHT) out[LOG_WEIGHT] = m.log_weight;
}

}  // namespace gscodec
