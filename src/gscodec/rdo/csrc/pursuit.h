// Greedy integer updates: change the symbols that buy the most distortion per bit.
//
// Works on a state's integers (coding/quantize.py), so what it ends with is what the decoder draws.
// For every Gaussian: the gradient of the loss and a gathered block of JᵀJ give the step of a few groups
// of attributes; rounded to symbols it is valued as gain - lambda·bits. The best candidate is drawn (one
// Gaussian taken out of a few tiles and put back changed), kept if D + lambda·R really fell, and what it
// touched is valued anew when its turn comes.
#pragma once

#include "splat/cpu/csrc/fit.h"

namespace gscodec {

constexpr int RATE_ENTRIES = 32;
constexpr int N_GROUPS = 5;
constexpr int GROUP_OF[MAX_PARAMS] = {0, 0, 1, 1, 1, 2, 3, 3, 4};

// Bits of one Gaussian as a function of its symbols' distance from `base`. Attributes come in groups (mean,
// shape, luma, chroma, log-weight); a group that stands at its base costs group_off, one that does not group_on and its
// attributes' costs. A Gaussian that stands at its base altogether costs nothing.
struct RateModel {
  const float* first;  // [n] of saying that a Gaussian changes; null: all Gaussians are coded anyway
  float group_on[N_GROUPS], group_off[N_GROUPS];
  float cost[MAX_PARAMS][RATE_ENTRIES];  // per attribute and distance; linear beyond the last entry
};

struct PursuitOptions {
  int passes = 3;  // times that every Gaussian touched since may be valued anew
  int max_trials = 1 << 30;
  double deadline_s = 0;   // stop after that many seconds; 0: never
  float lambda = 0.01f;    // loss per bit
  float stiffness = 1.3f;  // on the gathered block, for overlapping neighbours
};

struct PursuitResult {
  double loss_before = 0, loss = 0;  // Σ weight·d²
  double bits = 0;                   // by the rate model
  int tried = 0, kept = 0, passes = 0;
};

// Value of symbol s is s·step + offset; all arrays [n, n_params]. `low` and `high` bound the symbols. A Gaussian is
// invisible without a colour; under the normalised blend, where its log-weight is the lowest.
struct SymbolArrays {
  int32_t* symbols;
  const int32_t* base;
  const double *step, *offset;
  const int32_t *low, *high;
};

// More Gaussians, which are drawn and stay as they are.
struct OtherGaussians {
  const float* params;
  const bool* is_room;
  int n;
};

// `is_room` [n]: needed where the target has a matte.
PursuitResult pursue(TiledRaster& raster, const Target& target, const SymbolArrays& arrays, const bool* is_room, int n,
                     const OtherGaussians& others, const RateModel& rate, const PursuitOptions& options);

}  // namespace gscodec
