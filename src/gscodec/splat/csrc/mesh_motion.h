// Motion between two pictures as a mesh of displacements: Gauss-Newton on the mesh itself, coarse to fine.
#pragma once

#include <cstdint>

namespace gscodec {

// Control points stand `spacing` pixels apart, the first at (0, 0); between them displacements are bilinear.
struct MeshGrid {
  int rows, columns;
  float spacing_x, spacing_y;
};

// Finds displacements, pixels [rows, columns, 2], such that now(x + d(x)) looks like before(x) around the points,
// float [n, 2]. Both pictures are grey, 8 bits, [height, width].
void fit_mesh(const uint8_t* before, const uint8_t* now, int width, int height, const float* points, int n,
              const MeshGrid& grid, float* mesh);

}  // namespace gscodec
