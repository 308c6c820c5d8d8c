// Fitting Gaussians to a picture: Adam in each Gaussian's own frame, and colours by least squares.
#pragma once

#include <functional>

#include "tiled_raster.h"

namespace gscodec {

struct FitOptions {
  int iterations = 100;
  float rate_mean = 0.2f, rate_shape = 0.1f, rate_color = 0.03f;  // steps in units of the Gaussian's own frame
  float rate_weight = 0.1f;                                       // of log-weights, octaves
  float final_rate = 0.1f;  // the rates fall along a cosine to this share of themselves
  float beta1 = 0.8f, beta2 = 0.9f;
  double target_mse = 0;  // stop at this mean squared error over the ROI; 0: never
  double deadline_s = 0;  // stop after that many seconds; 0: never
  float plateau = 0;      // stop when ten iterations gain less than this share of the loss; 0: never
  bool natural = true;    // false: plain Adam on (mean, L, colour), rates in pixels and colour units
};

// What is drawn instead of the active Gaussians' parameters: (parameters, gradients of the iteration before
// with respect to what was drawn, in plain coordinates and zero at first, drawn), each [n_active, n_params].
// Gradients pass straight through, so a quantiser can be fitted with the Gaussians.
using Project = std::function<void(const float*, const float*, float*)>;

struct FitResult {
  int iterations = 0;  // steps taken
  double loss = 0;     // Σ weight·d² at the last evaluation
  double roi_mse = 0;  // mean of d² over pixels of weight > 0.5 and the three colours
  bool finite = true;
};

// What a picture must look like, in tiles; made once per frame.
class Target {
 public:
  // `matte`: the person's share of each pixel [H, W], in [0, 1], or null; `matte_weight` of its error.
  Target(const TiledRaster& raster, const float* picture, const float* weight, const float* matte, float matte_weight);
  const int width, height;
  Tiles picture, weight, matte;
  const float matte_weight;
  bool has_matte() const { return matte.size() != 0; }
  TileTarget tile(int t) const;
  double roi_pixels = 0;
};

// Moves the `n_active` Gaussians listed in `active` (null: all) towards the target; the others stand still.
// `is_room` [n]: needed where the target has a matte.
FitResult fit(TiledRaster& raster, const Target& target, float* params, int n, const bool* is_room,
              const uint32_t* active, int n_active, const FitOptions& options, const Project& project = {});

// The passes that fit a target.
inline const BlendKernels& passes_for(const TiledRaster& raster, const Target& target) {
  return target.has_matte() ? raster.kernels.matted : raster.blend;
}

// Σ weight·d² of a set of Gaussians, without the matte's.
double loss(TiledRaster& raster, const Target& target, const float* params, int n);
// What a set of Gaussians leaves of the target: target minus picture in three colours, and weight, [H, W, 4].
void residual(TiledRaster& raster, const Target& target, const float* params, int n, float* out);

// Sets the colours of the active Gaussians to the weighted least-squares ones, by `sweeps` of
// conjugate gradients from the present colours. `ridge` (a share of the diagonal) bounds them.
// Returns Σ weight·d² before the first sweep.
double solve_colors(TiledRaster& raster, const Target& target, float* params, int n, const uint32_t* active,
                    int n_active, int sweeps, float ridge);

}  // namespace gscodec
