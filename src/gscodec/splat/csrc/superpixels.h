// Masked k-means superpixels: exactly N connected segments inside any mask, and their Gaussians.
#pragma once

#include <cstdint>

namespace gscodec {

struct SuperpixelOptions {
  int count = 1000;
  int iterations = 4;
  float compactness = 0.12f;  // colour difference that weighs as much as one spacing between centres
};

// Labels [H, W] in [0, returned count), -1 outside the mask. `density` [H, W] >= 0 says how many
// segments a pixel deserves, up to a factor. Fewer than `count` only where the mask has fewer pixels;
// islands of the mask beyond `count` (more islands than segments) stay -1.
int superpixels(const float* picture, const uint8_t* mask, const float* density, int width, int height,
                const SuperpixelOptions& options, int32_t* labels);

// One Gaussian per segment: mean, Cholesky factor of the covariance times `widen`, mean colour. [count, 8]
void gaussians_of_segments(const float* picture, const int32_t* labels, int width, int height, int count, float widen,
                           float* params);

}  // namespace gscodec
