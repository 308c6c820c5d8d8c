// What a decoder shows: the sum, held at the picture before as long as that is near enough.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gscodec {

constexpr std::size_t MAX_CHANNELS = 16;

// Per pixel and channel of [n, n_channels]: picture = before = clamp(before, picture - tolerance, picture + tolerance).
// There are up to MAX_CHANNELS channels.
void hold(uint8_t* before, uint8_t* picture, const uint8_t* tolerance, std::size_t n_channels, std::size_t n);

}  // namespace gscodec
