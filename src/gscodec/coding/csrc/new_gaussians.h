// What a Gaussian says that is new: all of an I-frame's, and those born in P-frames. A part of syntax.cpp.
#pragma once

#include "symbols.h"

namespace gscodec {

// What is predicted of a new Gaussian, from the two nearest that are coded already: a log-weight, a colour, and its
// shape, as the neighbours' in proportion.
inline int weight_guess(const Gaussian& a, const Gaussian& b) { return (a.s[B] + b.s[B]) / 2; }
inline int64_t l1_like(const Gaussian& q, int r) {
  return q.s[L1] ? int64_t(q.s[L1]) * r / round_scale(q.energy_class) : int64_t(r);
}
inline int l1_guess(const Gaussian& a, const Gaussian& b, int r) {
  return bound((l1_like(a, r) + l1_like(b, r) + 2 * int64_t(r)) / 4, 1, MAX_SYMBOL);
}
inline int l3_guess(const Gaussian& g) { return bound(round_sq(g.energy_class) / g.s[L1], 1, MAX_SYMBOL); }
inline int64_t shear_like(const Gaussian& q, int r) {
  return q.s[L1] ? int64_t(q.s[L2]) * r / round_scale(q.energy_class) : int64_t(0);
}
inline int shear_guess(const Gaussian& a, const Gaussian& b, int r) {
  return bound((shear_like(a, r) + shear_like(b, r)) / 4, -MAX_SYMBOL, MAX_SYMBOL);
}
// A neighbour's colour in a Gaussian's own steps.
inline int color_like(const Gaussian& q, const Gaussian& g, int c) {
  return scale(q.s[c], g.size_class - q.size_class);
}
inline int color_guess(const Gaussian& a, const Gaussian& b, const Gaussian& g, int c) {
  return (color_like(a, g, c) + color_like(b, g, c)) / 2;
}

// Colours that are added up. Luma around what the energy class suggests; chroma in proportion to the neighbours'.
template <typename Coder>
void FrameCoder::walk_colors(Coder& coder, Gaussian& g, const Neighbourhood& near) {
  constexpr bool D = Coder::DECODES;
  const Gaussian &a = near.a, &b = near.b;
  const int found = near.found, e0 = near.e0, room = g.is_room, e = g.energy_class, half = e / 2;
  int magnitude = std::abs(g.s[C0]);
  const int off_a = a.s[C0] ? graded(std::abs(a.s[C0]) - common_luma(a.energy_class), 3) : 7;
  magnitude = common_luma(e) + code_signed(coder, magnitude - common_luma(e),
                                           {LUMA, {half, off_a, bound(e - e0 + 3, 0, 6) + 7 * room, -1}});
  if (D && (magnitude < 0 || magnitude > MAX_SYMBOL)) throw std::runtime_error("a luma leaves its range");
  int negative = g.s[C0] < 0;
  if (magnitude)
    negative =
        code_flag(coder, negative,
                  {LUMA_SIGN, {(sign(a.s[C0]) + 1) * 3 + sign(b.s[C0]) + 1, half, bound(g.size_class, 0, 31), -1}});
  g.s[C0] = negative ? -magnitude : magnitude;
  for (int c : {C1, C2}) {
    const auto proportion = [&](const Gaussian& q) {
      return q.s[C0] ? int64_t(q.s[c]) * g.s[C0] / q.s[C0] : int64_t(0);
    };
    const int64_t pa = proportion(a), pb = proportion(b);
    const int guess = found ? bound((pa + pb) / 2, -2 * magnitude, 2 * magnitude) : 0;
    const int doubt = std::min(bit_length(pa - pb), 5);
    const int same = c == C2 ? graded(g.s[C1], 3) : 7;
    g.s[c] =
        guess +
        code_signed(coder, g.s[c] - guess,
                    {c == C1 ? CHROMA_U : CHROMA_V,
                     {half, doubt * 2 + room, graded(guess, 4), same * 3 + std::min(bit_length(magnitude), 5) / 2}});
  }
}

// Colours that are averaged: each is near those of its neighbours, in its own steps.
template <typename Coder>
void FrameCoder::walk_predicted_colors(Coder& coder, Gaussian& g, const Neighbourhood& near) {
  const Gaussian &a = near.a, &b = near.b;
  const int room = g.is_room, half = g.energy_class / 2;
  int off[3] = {};
  for (int c : {C0, C1, C2}) {
    const int guess = color_guess(a, b, g, c);
    const int doubt = std::min(bit_length(color_like(a, g, c) - color_like(b, g, c)), 8);
    const int before = c == C0 ? 0 : graded(off[c - C0 - 1], 2), first = c == C2 ? graded(off[0], 2) : 2;
    off[c - C0] = code_signed(coder, g.s[c] - guess,
                              {c == C0   ? LUMA
                               : c == C1 ? CHROMA_U
                                         : CHROMA_V,
                               {half * 2 + room, doubt * 3 + std::min(near.found, 2), before * 5 + first,
                                bound(g.energy_class - near.e0 + 4, 0, 8) * 3 + std::min(doubt / 2, 2)}});
    g.s[c] = guess + off[c - C0];
    if (Coder::DECODES && std::abs(g.s[c]) > MAX_SYMBOL) throw std::runtime_error("a colour leaves its range");
  }
}

// Codes the Gaussians from index `first` on; those before are there already. `born`: in a P-frame.
template <typename Coder>
void FrameCoder::walk_new(Coder& coder, int first, bool born) {
  constexpr bool D = Coder::DECODES;
  const int n = int(gaussians_.size());
  Grid grid(width_, height_);
  for (int i = 0; i < first; ++i) grid.add(cell_x(gaussians_[i]), cell_y(gaussians_[i]), i);
  const uint32_t end = spread((width_ + 2 * MARGIN) / 8) | spread((height_ + 2 * MARGIN) / 8) << 1;
  uint32_t morton = 0;
  int gaps[3] = {3, 3, 3};
  for (int i = first; i < n; ++i) {
    const Bill bill(*this);
    Gaussian& g = gaussians_[i];
    // Place: how many cells further along the Morton curve.
    const int mean_gap = bit_length(gaps[0] + gaps[1] + gaps[2]);
    int gap = D ? 0 : int(morton_number(g) - morton);
    if (born) {  // few and anywhere: as if the rest were spread evenly
      const int usual = bit_length((end - std::min(morton, end)) / uint32_t(n - i + 1));
      gap = code_unsigned(coder, gap, {BIRTH_GAP, {std::min(usual, 31), -1, -1, -1}});
    } else {
      gap = code_unsigned(coder, gap,
                          {GAP,
                           {std::min(mean_gap, 31),
                            std::min(bit_length(gaps[0]), 5) * 5 + std::min(bit_length(gaps[1]), 4), i == 0, -1}});
    }
    gaps[2] = gaps[1], gaps[1] = gaps[0], gaps[0] = gap;
    morton += uint32_t(gap);
    const int cx = int(gather(morton)), cy = int(gather(morton >> 1));
    if (D && (cx > (width_ + 2 * MARGIN) / 8 || cy > (height_ + 2 * MARGIN) / 8))
      throw std::runtime_error("a mean lies outside the picture");
    std::array<int32_t, 3> near;
    const int found = grid.near(cx, cy, -1, near);
    const Gaussian none{};
    const Gaussian& a = found > 0 ? gaussians_[near[0]] : none;
    const Gaussian& b = found > 1 ? gaussians_[near[1]] : a;

    g.is_room = uint8_t(code_flag(coder, g.is_room,
                                  {ROOM,
                                   {a.is_room + 2 * b.is_room + 4 * std::min(found, 2),
                                    (i ? gaussians_[i - 1].is_room : 0) + 2 * a.is_room, -1, -1}}));
    const int room = g.is_room;

    // Classes: the size from the neighbours' size, the energy from how bright they are (energy - size).
    const int k0 = found ? (a.size_class + b.size_class + 1) / 2 : 10;
    const int spread_k = std::min(std::abs(a.size_class - b.size_class), 3);
    g.size_class = k0 + code_signed(coder, g.size_class - k0,
                                    {SIZE,
                                     {room * 4 + spread_k, bound(k0, 0, 31), bound(a.size_class, 0, 15) + 16 * room,
                                      mean_gap > 31 ? 31 : mean_gap}});
    if (D && (g.size_class < 0 || g.size_class > MAX_CLASS_SIZE))
      throw std::runtime_error("a size class leaves its range");
    const int bright = found ? (a.energy_class - a.size_class + b.energy_class - b.size_class) / 2 : 0;
    const int e0 = bound(g.size_class + bright, 0, MAX_CLASS_ENERGY);
    const int spread_e = std::min(std::abs(a.energy_class - a.size_class - b.energy_class + b.size_class), 5);
    g.energy_class = e0 + code_signed(coder, g.energy_class - e0,
                                      {ENERGY,
                                       {room * 6 + spread_e, bound(e0, 0, 31), bound(g.size_class, 0, 31),
                                        bound(g.size_class - k0 + 4, 0, 8)}});
    if (D && (g.energy_class < 0 || g.energy_class > MAX_CLASS_ENERGY))
      throw std::runtime_error("an energy class leaves its range");
    const int e = g.energy_class, half = e / 2;

    const Neighbourhood around{a, b, found, e0};
    if (normalised_) {
      const int guess = weight_guess(a, b);
      g.s[B] = guess + code_signed(coder, g.s[B] - guess,
                                   {WEIGHT,
                                    {half * 2 + room, bound(g.size_class - k0 + 4, 0, 8) * 3 + std::min(spread_k, 2),
                                     std::min(bit_length(a.s[B] - b.s[B]), 4) * 3 + bound(e - e0 + 1, 0, 2),
                                     bound(guess + 16, 0, 31)}});
      if (D && (g.s[B] < NO_WEIGHT || g.s[B] > HIGH_WEIGHT)) throw std::runtime_error("a log-weight leaves its range");
      walk_predicted_colors(coder, g, around);
    } else {
      walk_colors(coder, g, around);
    }

    // Shape: l1 as the neighbours' in proportion, l3 from the size class, the shear as the neighbours'.
    const int r = round_scale(e);
    const int64_t la = l1_like(a, r), lb = l1_like(b, r);
    const int l1 = l1_guess(a, b, r);
    g.s[L1] = l1 + code_signed(coder, g.s[L1] - l1,
                               {SCALE_1,
                                {e, graded(bound((la - r) * 8 / r, -100, 100), 4) + 9 * room,
                                 std::min(bit_length(la - lb), 6) * 4 + std::min(half, 12) / 4, -1}});
    if (D && (g.s[L1] < 1 || g.s[L1] > MAX_SYMBOL)) throw std::runtime_error("a scale leaves its range");
    const int l3 = l3_guess(g);
    g.s[L3] =
        l3 + code_signed(
                 coder, g.s[L3] - l3,
                 {SCALE_3,
                  {e, std::min(bit_length(l3), 9) * 2 + room, graded(bound((g.s[L1] - r) * 8 / r, -100, 100), 4), -1}});
    if (D && (g.s[L3] < 1 || g.s[L3] > MAX_SYMBOL)) throw std::runtime_error("a scale leaves its range");
    const int64_t sa = shear_like(a, r), sb = shear_like(b, r);
    const int shear = shear_guess(a, b, r);
    g.s[L2] = shear + code_signed(coder, g.s[L2] - shear,
                                  {SHEAR,
                                   {e, graded(shear, 5) + 11 * room,
                                    graded(bound((int64_t(g.s[L1]) - g.s[L3]) * 8 / (g.s[L1] + g.s[L3]), -100, 100), 4),
                                    std::min(bit_length(sa - sb), 6)}});

    // The place inside the cell has no structure: plain bits.
    const int width = cell_shift(g);
    for (int c : {X, Y}) {
      int inside = g.s[c] & ((1 << width) - 1), read = 0;
      for (int bit = width - 1; bit >= 0; --bit) read = read << 1 | coder.code_plain(inside >> bit & 1);
      g.s[c] = (c == X ? cx : cy) << width | read;
    }
    if (D) check(g);
    if (coder.failed()) throw std::runtime_error("the coded symbols end too early");
    grid.add(cx, cy, i);
  }
}

}  // namespace gscodec
