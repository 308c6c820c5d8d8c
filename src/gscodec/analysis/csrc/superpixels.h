// Superpixels: exactly N connected segments inside any region, and their Gaussians.
#pragma once

#include <cstdint>

namespace gscodec {

// Parts of a picture that are segmented each by itself.
struct Regions {
  const uint8_t* of_pixel;  // [H, W]; n and more: in none
  const int* counts;        // [n]: segments of each; those of a region are numbered after those of the regions before
  int n;
};

// How many segments each pixel deserves, up to a factor [H, W]: its luma's gradient, and a quarter of the mean
// gradient, to the power of `detail`; 1 everywhere where that is 0.
void density_of(const float* picture, int width, int height, float detail, float* density);

// Labels [H, W]: the seed of a pixel's region that is nearest in colour and place, -1 where none is
// near. Seeds are denser where `density` [H, W] >= 0 is higher; from two `iterations` on they move to the middle of
// what is theirs, as in k-means.
void nearest_seeds(const float* picture, const Regions& regions, const float* density, int width, int height,
                   int iterations, int32_t* labels);

// Makes labels [H, W] in [-1, Σ counts), of whatever kind, those of exactly counts[r] connected segments of each
// region, numbered without gaps; found[r] of them. Fewer only where the region has fewer pixels; islands of it beyond
// counts[r] (more islands than segments) are labelled -1.
void connect(const Regions& regions, int width, int height, int32_t* labels, int* found);

// One Gaussian per segment: mean, Cholesky factor of the covariance times `widen`, matrix [3, 3] times the mean
// R'G'B' codes of `pixels` [H, W, 3]. [count, 8]
void gaussians_of_segments(const uint8_t* pixels, const int32_t* labels, int width, int height, int count, float widen,
                           const float* matrix, float* params);

}  // namespace gscodec
