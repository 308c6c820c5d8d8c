// Target and weights of a P-frame that also asks decoded pixels to stand still where the source does.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gscodec {

// Per pixel: s = stability·clip(2 - change/2, 0, 1), change = |luma now - before| in code values; the target moves
// by s/(1+s) towards the decoded pixel and its weight grows by 1+s. Pictures are [n, 3] opponent colours,
// `decoded` 8-bit R'G'B', `matrix` [3][3] from R'G'B' in [0, 1] to opponent colours. In place.
void steady(float* picture, float* weight, const float* before, const uint8_t* decoded, const float* matrix,
            float stability, std::size_t n);

}  // namespace gscodec
