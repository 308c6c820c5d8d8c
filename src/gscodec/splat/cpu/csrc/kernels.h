// The table of hot loops, one per instruction set; kernels.cpp compiled several times fills it.
//
// Pictures are stored as tiles of TILE_W x TILE_H pixels, [tile][colour][row][column], so that a
// tile is contiguous and stays in L1. Tile t covers column t % tiles_x, row t / tiles_x.
#pragma once

#include <cstdint>

#include "splat/csrc/gaussian.h"

namespace gscodec {

constexpr int TILE_W = 16;
constexpr int TILE_H = 8;
constexpr int TILE_PIXELS = TILE_W * TILE_H;
constexpr int TILE_FLOATS = N_COLORS * TILE_PIXELS;
constexpr int MAX_CHANNELS = N_COLORS + 2;  // of what is gathered of a picture: colours, matte, sum of weights
constexpr int N_SQUARES = N_COLORS + 2;     // of the field that gather_squares takes

// What the passes need of one Gaussian, ready to use; one cache line.
struct alignas(64) Prepared {
  float mean_x, mean_y;
  Inverse inverse;        // scaled by LOG2_SCALE
  float row_ratio;        // exp2(-2·inv_l3²): second ratio of weights from row to row
  float color[N_COLORS];  // times amplitude
  float person;           // amplitude of a Gaussian of the person, 0 of one of the room
  float amplitude;        // 2^b under the normalised blend, else 1
  float direct;           // non-zero: too thin for the row recurrence, evaluate every row
  float pad[4];
};

// Sums over a Gaussian's pixels, with m of BlendKernels::squares, w its weight, d = its colour - the picture (nothing
// under the sum), g = exp(-r²/2) where w is above 0, and (u, v) the pixel in the Gaussian's own frame. As they are
// derivatives of a picture by w, c and (u, v) squared, they make the blocks of JᵀJ.
struct Curvature {
  float area;            // Σ m·w²
  float pull[N_COLORS];  // Σ m·w²·picture
  float weight;          // Σ m·w²·|d|²
  float uu, vv;          // Σ m·g²·|d|²·u², the same with v²
  float uuuu, uuvv, vvvv;
};

// The passes of one blend. `acc` holds the sums of a tile: Σ weight·colour in three channels, then the sum over the
// person alone where the matte is fitted too, and last Σ weight where weights are normalised. `e` is what gradients are
// gathered from, in as many channels.
constexpr float OUTSIDE = -1.0f;  // of a matte where no pixel is
struct TileTarget {
  const float *picture, *weight, *matte;
  float matte_weight;
};

struct BlendKernels {
  int channels;
  // acc = sums over the list, for the tile whose first pixel is (x0, y0).
  void (*accumulate)(const Prepared* gaussians, const uint32_t* list, int n, int x0, int y0, float* acc);
  // Moments of one Gaussian against `e`, over its n tiles. `tiles` are tile numbers.
  void (*gather)(const Prepared& g, const uint32_t* tiles, int n, int tiles_x, const float* e, Moments* out);
  // The same for the colours alone: out[3] = Σ w·e.
  void (*gather_color)(const Prepared& g, const uint32_t* tiles, int n, int tiles_x, const float* e, float* out);
  // e = half the loss's derivative by acc, from weight·|picture - target|², and where there is a matte
  // matte_weight·(person's share - matte)². Returns the sum and, in *roi, Σ over weight > 0.5 of |picture - target|².
  double (*residual)(const float* acc, const TileTarget& target, float* e, double* roi);
  // picture[TILE_FLOATS] = what acc shows, counted from the ground colour.
  void (*show)(const float* acc, float* picture);
  // squares[N_SQUARES·TILE_PIXELS] = m, m·picture (3), m·|picture|², with m = weight over the sum of weights squared:
  // what the second derivatives of a Gaussian are gathered from. Under the sum m = weight, and picture counts as 0.
  void (*squares)(const float* acc, const float* weight, float* squares);
};

struct Kernels {
  const char* name;
  BlendKernels sum, normalised, matted;
  // What a Gaussian's second derivatives are made of, over its n tiles.
  void (*gather_squares)(const Prepared& g, const uint32_t* tiles, int n, int tiles_x, const float* squares,
                         Curvature* out);
  // rgb[3·TILE_PIXELS + 1] = 8-bit R'G'B' of matrix[3][3]·picture, over `background` [3] where `alpha` is given.
  void (*to_rgb8)(const float* picture, const float* matrix, const float* alpha, const float* background, uint8_t* rgb);
};

// The widest table this processor can run, or the one named by `name` ("" = widest); null if it can't.
const Kernels* find_kernels(const char* name);

}  // namespace gscodec
