#include "stability.h"

#include <algorithm>
#include <cmath>

#include "splat/csrc/gaussian.h"

namespace gscodec {

void steady(float* picture, float* weight, const float* before, const uint8_t* decoded, const float* matrix,
            float stability, std::size_t n) {
  const float codes = 255.0f / WHITE_LUMA;  // of one unit of luma
  float m[9];
  for (int j = 0; j < 9; ++j) m[j] = matrix[j] / 255.0f;
  for (std::size_t i = 0; i < n; ++i) {
    float* p = picture + 3 * i;
    const uint8_t* d = decoded + 3 * i;
    const float change = std::fabs(p[0] - before[3 * i]) * codes;
    const float s = stability * std::clamp(2.0f - 0.5f * change, 0.0f, 1.0f);
    const float share = s / (1.0f + s);
    const float r = d[0], g = d[1], b = d[2];
    for (int k = 0; k < 3; ++k) p[k] += share * (m[3 * k] * r + m[3 * k + 1] * g + m[3 * k + 2] * b - p[k]);
    weight[i] *= 1.0f + s;
  }
}

}  // namespace gscodec
