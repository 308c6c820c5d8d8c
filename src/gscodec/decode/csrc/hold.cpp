#include "hold.h"

#include <algorithm>

namespace gscodec {

namespace {

constexpr std::size_t RUN_PIXELS = 16;  // a run is whole pixels and whole vectors

void hold_run(uint8_t* before, uint8_t* picture, const uint8_t* tolerance, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    const uint8_t s = picture[i], t = tolerance[i];
    const uint8_t low = uint8_t(std::max(s, t) - t), room = uint8_t(255 - s);
    const uint8_t high = uint8_t(s + std::min(t, room));
    before[i] = picture[i] = std::min(std::max(before[i], low), high);
  }
}

}  // namespace

void hold(uint8_t* before, uint8_t* picture, const uint8_t* tolerance, std::size_t n_channels, std::size_t n) {
  uint8_t pattern[RUN_PIXELS * MAX_CHANNELS];
  const std::size_t run = RUN_PIXELS * n_channels, end = n * n_channels;
  for (std::size_t i = 0; i < run; ++i) pattern[i] = tolerance[i % n_channels];
  std::size_t i = 0;
  for (; i + run <= end; i += run) hold_run(before + i, picture + i, pattern, run);
  hold_run(before + i, picture + i, pattern, end - i);
}

}  // namespace gscodec
