// What the search for superpixels goes by, on the CPU (superpixels.cpp) and on the GPU (seeds.cu).
#pragma once

namespace gscodec {

constexpr int BLOCK = 4;                // seeds follow a Hilbert curve over blocks of BLOCK x BLOCK pixels
constexpr float COMPACTNESS = 0.06f;    // colour difference that weighs as much as one spacing between seeds
constexpr float REACH = 1.6f;           // spacings from a seed to the farthest pixel that asks for it
constexpr float FLAT_DETAIL = 0.25f;    // of the mean gradient: what a flat pixel counts
constexpr double LEAST_DENSITY = 0.05;  // of the region's mean: bounds a seed's reach

}  // namespace gscodec
