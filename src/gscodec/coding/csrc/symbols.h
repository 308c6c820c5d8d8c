// What the walks of syntax.cpp are made of: streams, integer helpers, places, a grid of neighbours.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "syntax.h"

namespace gscodec {

enum Stream {
  GAP,
  ROOM,
  SIZE,
  ENERGY,
  LUMA,
  LUMA_SIGN,
  CHROMA_U,
  CHROMA_V,
  SCALE_1,
  SCALE_3,
  SHEAR,  // I-frames
  CHANGED,
  GROUP_MEAN,
  GROUP_SHAPE,
  GROUP_LUMA,
  GROUP_CHROMA,  // P-frames
  DELTA_X,
  DELTA_Y,
  DELTA_L1,
  DELTA_L2,
  DELTA_L3,
  DELTA_0,
  DELTA_1,
  DELTA_2,
  MOTION,
  MOTION_X,
  MOTION_Y,
  BIRTHS,
  BIRTH_GAP,
  N_SUM_STREAMS,
  WEIGHT = N_SUM_STREAMS,  // of new Gaussians; these three under the normalised blend only
  GROUP_WEIGHT,
  DELTA_WEIGHT,
  N_STREAMS
};

enum Symbol { X, Y, L1, L2, L3, C0, C1, C2, B };
enum Group { G_MEAN = 1, G_SHAPE = 2, G_LUMA = 4, G_CHROMA = 8, G_WEIGHT = 16 };

inline int bound(int64_t v, int low, int high) { return int(v < low ? low : v > high ? high : v); }
inline int bit_length(int64_t v) {
  int n = 0;
  for (v = v < 0 ? -v : v; v; v >>= 1) ++n;
  return n;
}
inline int sign(int v) { return (v > 0) - (v < 0); }
// 0 for zero, then by bit length, negative numbers below: within 0 … 2·most.
inline int graded(int v, int most) { return most + sign(v) * std::min(bit_length(v), most); }

// x·2^(half_octaves/2), rounded towards zero, in integers.
inline int scale(int64_t x, int half_octaves) {
  half_octaves = bound(half_octaves, -40, 40);
  if (half_octaves & 1) {
    x = x * 92682 / 65536;
    --half_octaves;
  }
  x = half_octaves >= 0 ? x * (int64_t(1) << half_octaves / 2) : x / (int64_t(1) << -half_octaves / 2);
  return bound(x, -MAX_SYMBOL, MAX_SYMBOL);
}

inline int64_t root(int64_t x) {
  int64_t r = int64_t(std::sqrt(double(x)));
  while (r * r > x) --r;
  while ((r + 1) * (r + 1) <= x) ++r;
  return r;
}

// What l1 would be in steps if the Gaussian were round, squared: 25/36·2^e.
inline int64_t round_sq(int e) { return 25 * (int64_t(1) << e) / 36; }
inline int round_scale(int e) { return std::max(1, int(root(round_sq(e)))); }
// A common luma magnitude of energy class e.
inline int common_luma(int e) { return int(root((int64_t(4) << e) / 5)); }

inline uint32_t spread(uint32_t x) {
  x = (x | x << 8) & 0x00FF00FFu;
  x = (x | x << 4) & 0x0F0F0F0Fu;
  x = (x | x << 2) & 0x33333333u;
  return (x | x << 1) & 0x55555555u;
}
inline uint32_t gather(uint32_t x) {
  x &= 0x55555555u;
  x = (x | x >> 1) & 0x33333333u;
  x = (x | x >> 2) & 0x0F0F0F0Fu;
  x = (x | x >> 4) & 0x00FF00FFu;
  return (x | x >> 8) & 0x0000FFFFu;
}

inline int cell_shift(const Gaussian& g) { return CELL_LOG2 - mean_log2_step(g); }
inline int cell_x(const Gaussian& g) { return g.s[X] >> cell_shift(g); }
inline int cell_y(const Gaussian& g) { return g.s[Y] >> cell_shift(g); }
inline uint32_t morton_number(const Gaussian& g) { return spread(cell_x(g)) | spread(cell_y(g)) << 1; }

// Gaussians by cell; each cell knows its latest, each Gaussian the one before it in its cell.
class Grid {
 public:
  Grid(int width, int height)
      : columns_((width + 2 * MARGIN) / 8 + 2),
        rows_((height + 2 * MARGIN) / 8 + 2),
        last_(std::size_t(columns_) * rows_, -1) {}
  void add(int x, int y, int i) {
    if (inside(x, y)) {
      if (int(before_.size()) <= i) before_.resize(i + 1, -1);
      before_[i] = last_[at(x, y)];
      last_[at(x, y)] = i;
    }
  }
  // Up to `most` Gaussians around a cell, ring by ring; `skip` is left out.
  template <std::size_t MOST>
  int near(int x, int y, int skip, std::array<int32_t, MOST>& out) const {
    int found = 0;
    out.fill(-1);
    for (int ring = 0; ring <= 4 && found < int(MOST); ++ring)
      for (int dy = -ring; dy <= ring; ++dy)
        for (int dx = -ring; dx <= ring; dx += (std::abs(dy) == ring || ring == 0) ? 1 : 2 * ring) {
          if (!inside(x + dx, y + dy)) continue;
          for (int i = last_[at(x + dx, y + dy)]; i >= 0 && found < int(MOST); i = before_[i])
            if (i != skip) out[found++] = i;
        }
    return found;
  }

 private:
  bool inside(int x, int y) const { return x >= 0 && y >= 0 && x < columns_ && y < rows_; }
  std::size_t at(int x, int y) const { return std::size_t(y) * columns_ + x; }
  int columns_, rows_;
  std::vector<int32_t> last_, before_;
};

// Counts what each stream costs while it passes everything on.
template <typename Coder>
struct Counted {
  static constexpr bool DECODES = Coder::DECODES;
  Coder& coder;
  Model& model;
  std::vector<double>& bits;
  std::vector<uint32_t>& seen;  // empty, or zeros and ones of every counter

  int code(int bit, const Contexts& c, int node) {
    const int p = Decision(model, c, node).p;
    bit = coder.code(bit, c, node);
    bits[c.stream] -= std::log2((bit ? p : 65536 - p) / 65536.0);
    for (int i = 0; i < N_INPUTS && !seen.empty(); ++i)
      if (c.value[i] >= 0)
        ++seen[(((std::size_t(c.stream) * N_INPUTS + i) * N_CONTEXTS + c.value[i]) * N_NODES + node) * 2 + bit];
    return bit;
  }
  int code_plain(int bit) {
    ++bits[N_STREAMS];
    return coder.code_plain(bit);
  }
  bool failed() const { return coder.failed(); }
};

}  // namespace gscodec
