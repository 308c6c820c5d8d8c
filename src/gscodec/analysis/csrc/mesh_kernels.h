// The table of the motion search's hot loops, one per instruction set; mesh_kernels.cpp compiled several times fills
// it.
#pragma once

namespace gscodec {

// A row of pixels in the search for a mesh of displacements. Its kernels touch up to MESH_PAD
// floats past the ends of what they are given.
constexpr int MESH_PAD = 16;
struct MeshRow {
  const float* now;                     // [height, width]: the picture that is looked into
  const float *before, *above, *below;  // rows of the other
  const float* weight;                  // of each pixel
  const float* share;                   // how far each pixel is on the way to the right corner of its cell
  int width, height, y;
};
constexpr float ROBUST = 10.0f;  // code values of a residual that counts by half
constexpr int MESH_SUMS = 13;    // Σ w·(gx², gx·gy, gy²), the same times s and s², Σ w·r·(gx, gy), the same times s

struct MeshKernels {
  const char* name;
  // sums[MESH_SUMS] of a row's pixels begin … end - 1, all of one cell; corners: displacement at its left, at its
  // right.
  void (*mesh_run)(const MeshRow& row, const float* corners, int begin, int end, float* sums);
  // Cholesky factor, in place, of a positive definite band matrix of n (even) rows: column j holds its entries from
  // the diagonal down, `width` of them and MESH_PAD zeros.
  void (*band_factor)(float* a, int n, int width);
};

// The widest table this processor can run, or the one named by `name` ("" = widest); null if it can't.
const MeshKernels* find_mesh_kernels(const char* name);

}  // namespace gscodec
