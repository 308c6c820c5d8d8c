// Symbols to values, by a table of steps: what coding/quantize.py does to whole states, without its temporaries.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "syntax.h"

namespace gscodec {

constexpr double MIN_SCALE = 0.3;          // pixels; the rasteriser's
constexpr double NO_WEIGHT_LOG2 = -126.0;  // of a Gaussian that is not there, octaves

// Steps of one Gaussian. `table` holds n_symbols of them for each pair of classes; colours count `color` of theirs.
inline void steps_of(const double* table, int n_symbols, int32_t size_class, int32_t energy_class, double color,
                     double step[MAX_SYMBOLS]) {
  const double* row = table + std::size_t(size_class * (MAX_CLASS_ENERGY + 1) + energy_class) * n_symbols;
  for (int j = 0; j < n_symbols; ++j) step[j] = j < 5 || j > 7 ? row[j] : row[j] * color;
}

// One rounding per value but for the means', whose steps and drifts are multiples of 1/256 pixel: the same on every
// machine.
inline void dequantize(const int32_t* symbols, const int32_t drift[2], const double* step, int n_symbols,
                       float* params) {
  for (int j = 0; j < n_symbols; ++j) {
    double value = double(symbols[j]) * step[j];
    if (j < 2) value = (double(symbols[j]) + 0.5) * step[j] - MARGIN + drift[j] / double(1 << DRIFT_LOG2);
    if (j == 2 || j == 4) value = std::max(value, MIN_SCALE);
    if (j == 8 && symbols[j] <= NO_WEIGHT) value = NO_WEIGHT_LOG2;
    params[j] = float(value);
  }
}

// What turns symbols into values, value = symbol·step + offset, and their lowest and highest.
inline void affine(const int32_t drift[2], const double* step, int n_symbols, int width, int height, double* offset,
                   int32_t* low, int32_t* high) {
  for (int j = 0; j < n_symbols; ++j) {
    offset[j] = j < 2 ? 0.5 * step[j] - MARGIN + drift[j] / double(1 << DRIFT_LOG2) : 0.0;
    low[j] = j < 2 ? 0 : j == 2 || j == 4 ? 1 : -MAX_SYMBOL;
    high[j] = j < 2 ? int32_t(std::ceil(((j ? height : width) + 2.0 * MARGIN) / step[j])) - 1 : MAX_SYMBOL;
    if (j == 8) low[j] = NO_WEIGHT, high[j] = HIGH_WEIGHT;
  }
}

}  // namespace gscodec
