// Motion between two pictures as a mesh of displacements: Gauss-Newton on the mesh itself, coarse to fine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "mesh_kernels.h"

namespace gscodec {

// Control points stand `spacing` pixels apart, the first at (0, 0); between them displacements are bilinear.
struct MeshGrid {
  int rows, columns;
  float spacing_x, spacing_y;
};

// A grey picture, or one of the smaller ones made of it.
class Plane {
 public:
  Plane(int w, int h) : width(w), height(h), v_(std::size_t(w) * h + 2 * MESH_PAD) {}
  float* data() { return v_.data() + MESH_PAD; }
  const float* data() const { return v_.data() + MESH_PAD; }

  int width, height;

 private:
  std::vector<float> v_;
};

// Follows a clip of grey pictures, 8 bits [height, width].
class MeshSearch {
 public:
  // `pixels_per_step`: a larger area is looked at by every second, fourth … row in turn.
  MeshSearch(int width, int height, const MeshGrid& grid, int pixels_per_step, const MeshKernels& kernels);

  void look(const uint8_t* grey);  // the next picture

  // Finds displacements, pixels [rows, columns, 2], such that the last picture at x + d(x) looks like the one before
  // it at x, around the points, float [n, 2]. Without a picture before: none.
  void fit(const float* points, int n, float* mesh) const;

  // Which integer mesh to code for a wanted one, both in units of `unit` pixels [rows, columns, 2]: near it where the
  // last picture shows a deviation, cheap to code elsewhere.
  //   points, weights: what matters, float [n, 2], and how much a pixel there does, [n].
  //   used: points that are coded, [rows, columns]; others become 0. lambda: squared error that one bit must buy.
  void choose(const float* points, const float* weights, int n, const float* wanted, const uint8_t* used, float unit,
              float lambda, int32_t* mesh) const;

  // By how much the picture around the points moves as a whole, pixels: the most that any of its quarters does.
  float drift(const float* points, int n) const;

  // Both in one: meshes [2, rows, columns, 2] around the first points, and around all of them where the picture around
  // the room's drifts by more than `still`; else the second is 0.
  void follow(const std::vector<float>& own, const std::vector<float>& room, float still, float* meshes) const;

  const MeshGrid& grid() const { return grid_; }
  int width() const { return now_[0].width; }
  int height() const { return now_[0].height; }

 private:
  MeshGrid grid_;
  int pixels_per_step_;
  const MeshKernels& kernels_;
  int n_seen_ = 0;
  std::vector<Plane> before_, now_;  // from fine to coarse
};

}  // namespace gscodec
