#include "hold.h"

#include <algorithm>

namespace gscodec {

namespace {

constexpr std::size_t RUN = 48;  // bytes: whole pixels and whole vectors

void hold_run(uint8_t* before, uint8_t* picture, const uint8_t* tolerance, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    const uint8_t s = picture[i], t = tolerance[i];
    const uint8_t low = uint8_t(std::max(s, t) - t), room = uint8_t(255 - s);
    const uint8_t high = uint8_t(s + std::min(t, room));
    before[i] = picture[i] = std::min(std::max(before[i], low), high);
  }
}

}  // namespace

void hold(uint8_t* before, uint8_t* picture, const uint8_t tolerance[3], std::size_t n) {
  uint8_t pattern[RUN];
  for (std::size_t i = 0; i < RUN; ++i) pattern[i] = tolerance[i % 3];
  std::size_t i = 0;
  for (; i + RUN <= 3 * n; i += RUN) hold_run(before + i, picture + i, pattern, RUN);
  hold_run(before + i, picture + i, pattern, 3 * n - i);
}

}  // namespace gscodec
