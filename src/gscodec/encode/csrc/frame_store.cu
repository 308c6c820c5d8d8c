// What an encoder does with whole frames on the GPU: targets from source frames, scores.
//
// Around the fit an encoder passes over whole frames: colours into their opponent space and weights from the matte
// (look), what a decoder will show (hold), how good that is (score). Each is one pass without neighbours, a
// thread a pixel, bound by memory alone; what matters is that no picture crosses the bus for it.
//
// Invariant: `shown` is what a decoder that draws with these kernels shows, code value for code value.
// A frame's source and the picture that a decoder shows stay on the card from one frame to the next. The slow
// twin of each kernel is what frame_store.CpuFrameStore calls.
#include "splat/cuda/csrc/raster.cuh"

namespace gscodec {

// A matte [H, W] in [0, 1], or in 255ths; the other is null.
struct Matte {
  const float* values;
  const unsigned char* codes;
};

struct LookParams {
  const unsigned char* rgb;  // [H, W, 3]: the source
  Matte matte;
  const float* luma_before;    // [H, W]: luma of the frame before, in opponent colours
  const unsigned char* shown;  // [H, W, 3]: what a decoder showed then
  float4* target;              // [H, W]: Y, U, V, weight
  float* matte_out;            // [H, W]: the matte in [0, 1], or null
  float* luma;                 // [H, W], or null
  unsigned* roi_pixels;        // zero at the launch: pixels whose weight is above a half
  int pixels;
  int mask;  // 1 makes what is not the person's black; -1 what is the ground's colour
  float background_weight, stability;
  float ground[3];  // what the target's colours are counted from, in its space
  float matrix[9];  // the target's colours from R'G'B' codes, row by row
};

struct HoldParams {
  unsigned char* shown;          // [H, W, 3]: what a decoder shows
  const unsigned char* before;   // [H, W, 3]: what it showed of the frame before
  const unsigned char* picture;  // [H, W, 3]: as it is drawn
  int pixels, restart;           // restart: not 0 shows the picture as it is
  int tolerance[3];
};

struct BetweenParams {
  const unsigned char *before, *after;  // [H, W, 3]: what a decoder shows of a B-frame's neighbours
  unsigned char* picture;               // [H, W, 3]: the B-frame as it is drawn, and then as it is shown
  int pixels;
};

struct ScoreParams {
  const unsigned char *shown, *rgb;  // [H, W, 3]
  Matte matte;
  unsigned long long* sums;  // [3], zero at the launch: squared error inside the ROI, its pixels, over all
  int pixels;
};

GS_DEVICE float clamp01(float x) { return fminf(fmaxf(x, 0.0f), 1.0f); }

GS_DEVICE float matte_at(const Matte& m, int i) { return m.codes ? float(m.codes[i]) / 255.0f : m.values[i]; }

GS_DEVICE void to_opponent(const float m[9], const unsigned char* rgb, float out[3]) {
  const float r = rgb[0], g = rgb[1], b = rgb[2];
  for (int k = 0; k < 3; ++k) out[k] = r * m[3 * k] + g * m[3 * k + 1] + b * m[3 * k + 2];
}

// Grid (any): encoder.look_at and stability.cpp in one.
extern "C" __global__ void __launch_bounds__(THREADS) look(const LookParams p) {
  constexpr float codes = 255.0f / WHITE_LUMA;  // of one unit of luma
  int inside = 0;
  for (int i = int(blockIdx.x) * THREADS + int(threadIdx.x); i < p.pixels; i += int(gridDim.x) * THREADS) {
    float c[3];
    to_opponent(p.matrix, p.rgb + 3ll * i, c);
    const float m = matte_at(p.matte, i);
    const float person = fminf(1.0f, 2.0f * m), kept = p.mask > 0 ? person : 1.0f;
    for (int k = 0; k < 3; ++k) c[k] *= kept;
    float weight = p.background_weight + (1.0f - p.background_weight) * clamp01(2.0f * m - 0.5f);
    const float luma = c[0];
    if (p.stability > 0.0f) {
      const float s = p.stability * clamp01(2.0f - 0.5f * fabsf(luma - p.luma_before[i]) * codes);
      float d[3];
      to_opponent(p.matrix, p.shown + 3ll * i, d);
      for (int k = 0; k < 3; ++k) c[k] += s / (1.0f + s) * (d[k] - c[k]);
      weight *= 1.0f + s;
    }
    const float room = p.mask < 0 ? 1.0f - person : 1.0f;
    p.target[i] = {room * (c[0] - p.ground[0]), room * (c[1] - p.ground[1]), room * (c[2] - p.ground[2]), weight};
    if (p.matte_out) p.matte_out[i] = m;
    if (p.luma) p.luma[i] = luma;
    inside += weight > 0.5f;
  }
  for (int bit = 16; bit >= 1; bit /= 2) inside += __shfl_xor_sync(ALL, inside, bit);
  if (lane_id() == 0 && inside) atomicAdd(p.roi_pixels, unsigned(inside));
}

// Grid (any): hold.cpp.
extern "C" __global__ void __launch_bounds__(THREADS) hold(const HoldParams p) {
  for (int i = int(blockIdx.x) * THREADS + int(threadIdx.x); i < p.pixels; i += int(gridDim.x) * THREADS)
    for (int k = 0; k < 3; ++k) {
      const long long at = 3ll * i + k;
      const int s = p.picture[at], t = p.tolerance[k], low = s - t, high = s + t;
      int shown = p.restart ? s : int(p.before[at]);
      shown = shown < low ? low : shown > high ? high : shown;
      p.shown[at] = (unsigned char)shown;
    }
}

// Grid (any): show.Holder.show_between.
extern "C" __global__ void __launch_bounds__(THREADS) between(const BetweenParams p) {
  for (int i = int(blockIdx.x) * THREADS + int(threadIdx.x); i < p.pixels; i += int(gridDim.x) * THREADS)
    for (int k = 0; k < 3; ++k) {
      const long long at = 3ll * i + k;
      const int a = p.before[at], b = p.after[at], low = a < b ? a : b, high = a < b ? b : a, s = p.picture[at];
      p.picture[at] = (unsigned char)(s < low ? low : s > high ? high : s);
    }
}

// Grid (any): squared_errors of the native core.
extern "C" __global__ void __launch_bounds__(THREADS) score(const ScoreParams p) {
  unsigned sums[3] = {0, 0, 0};  // a thread's pixels: 65 536 of them still fit, and a grid has as many threads
  for (int i = int(blockIdx.x) * THREADS + int(threadIdx.x); i < p.pixels; i += int(gridDim.x) * THREADS) {
    unsigned sum = 0;
    for (int k = 0; k < 3; ++k) {
      const int d = int(p.shown[3ll * i + k]) - int(p.rgb[3ll * i + k]);
      sum += unsigned(d * d);
    }
    const bool inside = matte_at(p.matte, i) >= 0.5f;
    sums[0] += inside ? sum : 0u;
    sums[1] += inside;
    sums[2] += sum;
  }
  for (int k = 0; k < 3; ++k) {
    unsigned long long sum = sums[k];
    for (int bit = 16; bit >= 1; bit /= 2) sum += __shfl_xor_sync(ALL, sum, bit);
    if (lane_id() == 0 && sum) atomicAdd(p.sums + k, sum);
  }
}

}  // namespace gscodec
