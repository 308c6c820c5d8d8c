// Symbols to values, by a table of steps: what coding/quantize.py does to whole states, without its temporaries.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "syntax.h"

namespace gscodec {

constexpr double MIN_SCALE = 0.3;  // pixels; the rasteriser's

// Steps of one Gaussian. `table` holds N_SYMBOLS of them for each pair of classes; colours count `color` of theirs.
inline void steps_of(const double* table, int32_t size_class, int32_t energy_class, double color,
                     double step[N_SYMBOLS]) {
  const double* row = table + std::size_t(size_class * (MAX_CLASS_ENERGY + 1) + energy_class) * N_SYMBOLS;
  for (int j = 0; j < N_SYMBOLS; ++j) step[j] = j < 5 ? row[j] : row[j] * color;
}

// One rounding per value but for the means', whose steps and drifts are multiples of 1/256 pixel: the same on every
// machine.
inline void dequantize(const int32_t symbols[N_SYMBOLS], const int32_t drift[2], const double step[N_SYMBOLS],
                       float params[N_SYMBOLS]) {
  for (int j = 0; j < N_SYMBOLS; ++j) {
    double value = double(symbols[j]) * step[j];
    if (j < 2) value = (double(symbols[j]) + 0.5) * step[j] - MARGIN + drift[j] / double(1 << DRIFT_LOG2);
    if (j == 2 || j == 4) value = std::max(value, MIN_SCALE);
    params[j] = float(value);
  }
}

// What turns symbols into values, value = symbol·step + offset, and their lowest and highest.
inline void affine(const int32_t drift[2], const double step[N_SYMBOLS], int width, int height,
                   double offset[N_SYMBOLS], int32_t low[N_SYMBOLS], int32_t high[N_SYMBOLS]) {
  for (int j = 0; j < N_SYMBOLS; ++j) {
    offset[j] = j < 2 ? 0.5 * step[j] - MARGIN + drift[j] / double(1 << DRIFT_LOG2) : 0.0;
    low[j] = j < 2 ? 0 : j == 2 || j == 4 ? 1 : -MAX_SYMBOL;
    high[j] = j < 2 ? int32_t(std::ceil(((j ? height : width) + 2.0 * MARGIN) / step[j])) - 1 : MAX_SYMBOL;
  }
}

}  // namespace gscodec
