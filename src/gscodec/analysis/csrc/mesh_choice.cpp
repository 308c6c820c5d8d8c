// Rounds the real-valued motion mesh to the integer mesh of least D + λR.
//
// mesh_motion.cpp finds displacements as real numbers; a P-frame codes integers, each as its difference from what the
// points to the left and above predict. Rounding each to the nearest integer is a poor bargain where the picture is
// flat: there any displacement looks the same, and only bits differ. So, with δ = mesh - wanted,
//   D = δᵀHδ, where H sums the picture's gradients under the mesh's bilinear weights, the Gauss-Newton Hessian;
//   R = a table of bits over the distance from the prediction, for a value and for those predicted from it.
// The minimum is approached one value at a time (coordinate descent; iterated conditional modes, Besag 1986), each
// trying the values that may pay: one less, one more, the prediction, zero. Invariant: a value is changed only where
// D + λR falls, with both of its neighbours' predictions counted, and points that no Gaussian uses stay 0.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "mesh_motion.h"
#include "splat/csrc/gaussian.h"

namespace gscodec {

namespace {

constexpr int CHOICE_LEVEL = 1;  // of the pyramid: finer texture than there a picture of Gaussians has not
constexpr int SWEEPS = 3;        // over all points; few change after the first
// A grey code value as luma of a sum whose colours are in [0, 1], squared.
constexpr float LUMA_SQ = WHITE_LUMA_SQ / (255.0f * 255.0f);

// Bits of a value that lies so far from what its neighbours suggest, roughly.
struct BitsTable {
  float of[64];
  BitsTable() {
    of[0] = 0.7f;
    for (int i = 1; i < 64; ++i) of[i] = 3.0f + 2.0f * std::log2(float(i));
  }
};

float bits(int distance) {
  static const BitsTable table;
  return table.of[std::min(std::abs(distance), 63)];
}

class Choice {
 public:
  Choice(const MeshGrid& grid, const float* wanted, const uint8_t* used, float lambda, int* mesh)
      : grid_(grid),
        wanted_(wanted),
        used_(used),
        lambda_(lambda),
        mesh_(mesh),
        stiffness_(std::size_t(grid.rows) * grid.columns * 9 * 3) {}

  // Adds what the pixels of a plane lose by a deviation: (gradient·deviation)², for each pair of points around them.
  void gather(const Plane& plane, const MeshGrid& at, const std::vector<float>& weight, int block_log2, int blocks) {
    for (int y = 1; y + 1 < plane.height; ++y) {
      const float v = std::min((float(y) + 0.5f) / at.spacing_y, float(at.rows) - 1.001f);
      const float* weights = weight.data() + std::size_t(y >> block_log2) * blocks;
      int column = 0;
      RowSums sums{};
      for (int x = 1; x + 1 < plane.width; ++x) {
        const float w = weights[x >> block_log2];
        if (w == 0) continue;
        const float u = std::min((float(x) + 0.5f) / at.spacing_x, float(at.columns) - 1.001f);
        if (int(u) != column) {
          add(sums, int(v), v - float(int(v)), column);
          sums = {}, column = int(u);
        }
        const float* p = plane.data() + std::size_t(y) * plane.width + x;
        const float gx = 0.5f * (p[1] - p[-1]), gy = 0.5f * (p[plane.width] - p[-plane.width]), f = u - float(column);
        const float energy[3] = {w * gx * gx, w * gx * gy, w * gy * gy};
        for (int k = 0; k < 3; ++k) {
          sums.of[0][k] += energy[k];
          sums.of[1][k] += f * energy[k];
          sums.of[2][k] += f * f * energy[k];
        }
      }
      add(sums, int(v), v - float(int(v)), column);
    }
  }

  // Goes over the points until none is better changed.
  void run() {
    for (int i = 0; i < grid_.rows * grid_.columns; ++i)
      for (int k = 0; k < 2; ++k) mesh_[2 * i + k] = used_[i] ? int(std::lrint(wanted_[2 * i + k])) : 0;
    for (int sweep = 0; sweep < SWEEPS; ++sweep) {
      bool changed = false;
      for (int row = 0; row < grid_.rows; ++row)
        for (int column = 0; column < grid_.columns; ++column)
          if (used_[index(row, column)])
            for (int k = 0; k < 2; ++k) changed |= improve(row, column, k);
      if (!changed) break;
    }
  }

 private:
  int index(int row, int column) const { return row * grid_.columns + column; }
  bool is_used(int row, int column) const {
    return row >= 0 && column >= 0 && row < grid_.rows && column < grid_.columns && used_[index(row, column)];
  }
  float* pair(int row, int column, int dy, int dx) {
    return &stiffness_[(std::size_t(index(row, column)) * 9 + (dy + 1) * 3 + dx + 1) * 3];
  }

  // Of a row's pixels in one cell: energy times 1, f and f², f being how far to the right of the cell they are.
  struct RowSums {
    float of[3][3];
  };

  // Spreads them over the pairs of the cell's corners; `share` is how far down in the cell the row is.
  void add(const RowSums& sums, int row, float share, int column) {
    const float down[2] = {1 - share, share};
    for (int k = 0; k < 3; ++k) {
      const float one = sums.of[0][k], f = sums.of[1][k], f_sq = sums.of[2][k];
      const float across[3] = {one - 2 * f + f_sq, f - f_sq, f_sq};  // left twice, left and right, right twice
      for (int a = 0; a < 4; ++a)
        for (int b = 0; b < 4; ++b)
          pair(row + a / 2, column + a % 2, b / 2 - a / 2, b % 2 - a % 2)[k] +=
              down[a / 2] * down[b / 2] * across[a % 2 + b % 2];
    }
  }

  // What the points to the left and above predict. Must stay what FrameCoder::walk_motion does, or bits_around lies.
  int guess(int row, int column, int k) const {
    const bool left = is_used(row, column - 1), up = is_used(row - 1, column);
    const int a = left ? mesh_[2 * index(row, column - 1) + k] : 0;
    const int b = up ? mesh_[2 * index(row - 1, column) + k] : 0;
    return left && up ? (a + b) / 2 : a + b;
  }

  // Bits of a point's value and of those that are guessed from it.
  float bits_around(int row, int column, int k) const {
    float sum = bits(mesh_[2 * index(row, column) + k] - guess(row, column, k));
    for (const auto& [r, c] : {std::pair{row, column + 1}, std::pair{row + 1, column}})
      if (is_used(r, c)) sum += bits(mesh_[2 * index(r, c) + k] - guess(r, c, k));
    return sum;
  }

  bool improve(int row, int column, int k) {
    float force = 0;  // (Hδ) of this value: half the slope of D, all other values held
    for (int dy = -1; dy <= 1; ++dy)
      for (int dx = -1; dx <= 1; ++dx) {
        if (row + dy < 0 || column + dx < 0 || row + dy >= grid_.rows || column + dx >= grid_.columns) continue;
        const int i = 2 * index(row + dy, column + dx);
        const float* s = pair(row, column, dy, dx);
        for (int j = 0; j < 2; ++j) force += s[k + j] * (float(mesh_[i + j]) - wanted_[i + j]);
      }
    const float own = pair(row, column, 0, 0)[2 * k];
    int& value = mesh_[2 * index(row, column) + k];
    const int now = value;
    int best = now;
    float least = lambda_ * bits_around(row, column, k);
    for (const int to : {now - 1, now + 1, guess(row, column, k), 0}) {
      if (to == now) continue;
      const float by = float(to - now);
      value = to;
      // D is a parabola in one value: its change by a step is exact, and the rest of the picture need not be looked at.
      const float cost = by * (2 * force + by * own) + lambda_ * bits_around(row, column, k);
      if (cost < least) least = cost, best = to;
    }
    value = best;
    return best != now;
  }

  const MeshGrid& grid_;
  const float* wanted_;
  const uint8_t* used_;
  const float lambda_;
  int* mesh_;
  std::vector<float> stiffness_;  // [rows, columns, 3, 3, 3]: of a point and one around it, xx, xy, yy
};

}  // namespace

void MeshSearch::choose(const float* points, const float* weights, int n, const float* wanted, const uint8_t* used,
                        float unit, float lambda, int32_t* mesh) const {
  const int level = std::min(CHOICE_LEVEL, int(now_.size()) - 1), block_log2 = 3;
  const Plane& plane = now_[level];
  const int columns = ((plane.width - 1) >> block_log2) + 1, rows = ((plane.height - 1) >> block_log2) + 1;
  // A block counts like the point in it that matters most.
  std::vector<float> weight(std::size_t(columns) * rows);
  const float scale = 1.0f / float(1 << level);
  for (int i = 0; i < n; ++i) {
    const int x = int(std::clamp(points[2 * i] * scale, 0.0f, float(plane.width - 1))) >> block_log2;
    const int y = int(std::clamp(points[2 * i + 1] * scale, 0.0f, float(plane.height - 1))) >> block_log2;
    float& w = weight[std::size_t(y) * columns + x];
    w = std::max(w, weights[i] * LUMA_SQ * unit * unit);
  }
  Choice choice(grid_, wanted, used, lambda, mesh);
  choice.gather(plane, {grid_.rows, grid_.columns, grid_.spacing_x * scale, grid_.spacing_y * scale}, weight,
                block_log2, columns);
  choice.run();
}

}  // namespace gscodec
