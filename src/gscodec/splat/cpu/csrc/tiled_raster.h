// A picture in tiles, which Gaussians touch which tile, and the two passes over them.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels.h"
#include "pool.h"

namespace gscodec {

// Memory for float tiles, aligned for the widest vectors.
class Tiles {
 public:
  void resize(std::size_t floats);
  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }
  std::size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(float* p) const;
  };
  std::unique_ptr<float, Free> data_;
  std::size_t size_ = 0;
};

// Both directions of the relation "this Gaussian may touch this tile", as compressed rows.
struct Coverage {
  std::vector<uint32_t> gaussian_begin, gaussian_tiles;  // tiles of Gaussian i: [begin[i], begin[i+1])
  std::vector<uint32_t> tile_begin, tile_gaussians;      // Gaussians of tile t, ascending
};

class TiledRaster;

// Appends the tiles that the Gaussian with parameters p may touch, in ascending order.
void append_tiles(const TiledRaster& raster, const float* p, std::vector<uint32_t>& tiles);

class TiledRaster {
 public:
  TiledRaster(int width, int height, int threads, const Kernels* kernels, bool normalised);

  const int width, height, tiles_x, tiles_y, n_tiles;
  const bool normalised;  // the blend: a mean of colours in place of their sum
  const int n_params;     // of a Gaussian
  const Kernels& kernels;
  const BlendKernels& blend;
  Pool pool;

  // Between [H, W, channels] and tiles; pixels beyond the picture are zero in the tiles.
  void to_tiles(const float* picture, int channels, Tiles& out) const;
  void from_tiles(const Tiles& tiles, float* picture) const;

  void prepare_one(const float* p, Prepared& out, bool is_room = false) const;
  // `is_room`: [n], for passes that fit the matte; null where none does.
  void prepare(const float* params, int n, std::vector<Prepared>& out, const bool* is_room = nullptr) const;
  void cover(const std::vector<Prepared>& gaussians, const float* params, Coverage& out) const;
  // What is gathered of the picture, tile by tile; `sink(tile, acc)` gets each finished tile on some thread.
  template <typename Sink>
  void forward(const std::vector<Prepared>& gaussians, const Coverage& coverage, const Sink& sink) {
    forward(blend, gaussians, coverage, sink);
  }
  template <typename Sink>
  void forward(const BlendKernels& passes, const std::vector<Prepared>& gaussians, const Coverage& coverage,
               const Sink& sink) {
    pool.run(n_tiles, 32, [&](int begin, int end) {
      alignas(64) float acc[MAX_CHANNELS * TILE_PIXELS];
      for (int t = begin; t < end; ++t) {
        const uint32_t first = coverage.tile_begin[t];
        passes.accumulate(gaussians.data(), coverage.tile_gaussians.data() + first,
                          int(coverage.tile_begin[t + 1] - first), t % tiles_x * TILE_W, t / tiles_x * TILE_H, acc);
        sink(t, acc);
      }
    });
  }

  // Picture [H, W, 3], without clamping; under the normalised blend counted from the ground colour.
  void render(const float* params, int n, float* picture);
  // Picture as 8-bit R'G'B' [H, W, 3] after a linear map `matrix` [3][3] from colour space to R'G'B' in [0, 1].
  // `ground`: colour [3] that the Gaussians' are counted from.
  void render_rgb8(const float* params, int n, const float* matrix, const float* ground, uint8_t* rgb);
  // The Gaussians without `is_room` alone over `background` (R'G'B'), and 8-bit coverage [H, W]: under the sum that of
  // their weights, clamped; else their share of all weights, and their mean colour.
  void render_person(const float* params, const bool* is_room, int n, const float* matrix, const float* ground,
                     const float* background, uint8_t* rgb, uint8_t* alpha);
  // The sums of gaussian.h for ∂loss/∂picture = `residual` [H, W, 3], per Gaussian.
  void gradients(const float* params, int n, const float* residual, float* out);
  // Of each Gaussian what its second derivatives are made of; `weight` of pixels, in tiles.
  void curvatures(const float* params, int n, const float* weight, Curvature* out);
  // Sums of the weights, [H, W].
  void weights(const float* params, int n, float* out);

 private:
  void write_tile(int t, const float* picture, const float* matrix, const float* alpha, const float* background,
                  uint8_t* rgb) const;
};

}  // namespace gscodec
