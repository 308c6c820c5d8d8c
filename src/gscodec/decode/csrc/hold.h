// What a decoder shows: the sum, held at the picture before as long as that is near enough.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gscodec {

// Per pixel and channel of R'G'B' [n, 3]: picture = before = clamp(before, picture - tolerance, picture + tolerance).
void hold(uint8_t* before, uint8_t* picture, const uint8_t tolerance[3], std::size_t n);

}  // namespace gscodec
