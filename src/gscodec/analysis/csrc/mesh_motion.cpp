// Gauss-Newton on a mesh of displacements: what moved from one source picture to the next.
//
// A P-frame can only say a coarse mesh of displacements, so the mesh itself is the unknown, instead of a dense flow
// that a mesh is fitted to later. Sought are the control points for which the new picture, warped back, looks like the
// old: Σ w·r², r = now(x + d(x)) - before(x), d bilinear between points. Each step linearises r (Lucas and Kanade,
// 1981; with a mesh: Szeliski and Coughlan, 1997) and solves the normal equations, which couple only neighbouring
// points: a banded, positive definite matrix, factored by Cholesky. Residuals count by 1/(1 + (r/ROBUST)²) (iteratively
// reweighted, Cauchy's estimator), so what is uncovered pulls little; neighbours are tied by springs, so flat areas
// follow textured ones. Large motions are found on small pictures first, and doubled from level to level.
//
// Invariant: a pixel's weight is above 0 only near Gaussians that will be moved, so all else costs and decides nothing.
#include "mesh_motion.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace gscodec {

namespace {

constexpr int BLOCK_LOG2 = 3;  // points count for blocks of 8x8 pixels, and half for those around
constexpr int N_LEVELS = 4;
constexpr int SMALLEST = 12;              // rows or columns of the coarsest level, at least
constexpr float SMOOTHNESS = 0.2f;        // of neighbouring points, against the mean of the data's own stiffness
constexpr int STEPS = 3, LAST_STEPS = 2;  // of a level; of the finest
constexpr int DRIFT_LEVEL = 2;            // of the pyramid, where a drift is looked for
constexpr float SETTLED = 0.1f;           // pixels of a level; a step that moves no point by more is the level's last

void halve(const Plane& p, Plane& q) {
  for (int y = 0; y < q.height; ++y) {
    const float* a = p.data() + std::size_t(2 * y) * p.width;
    const float* b = a + p.width;
    float* to = q.data() + std::size_t(y) * q.width;
    for (int x = 0; x < q.width; ++x) to[x] = 0.25f * (a[2 * x] + a[2 * x + 1] + b[2 * x] + b[2 * x + 1]);
  }
}

std::vector<Plane> empty_pyramid(int width, int height) {
  std::vector<Plane> levels{{width, height}};
  while (int(levels.size()) < N_LEVELS && std::min(levels.back().width, levels.back().height) >= 2 * SMALLEST)
    levels.emplace_back(levels.back().width / 2, levels.back().height / 2);
  return levels;
}

float trust(float residual) { return 1.0f / (1.0f + residual * residual * (1.0f / (ROBUST * ROBUST))); }

// How much each block counts.
struct Blocks {
  int columns, rows;
  std::vector<float> weight;
};

Blocks count_points(const float* points, int n, int width, int height) {
  Blocks b{((width - 1) >> BLOCK_LOG2) + 1, ((height - 1) >> BLOCK_LOG2) + 1, {}};
  std::vector<float> count(std::size_t(b.columns) * b.rows);
  for (int i = 0; i < n; ++i) {
    const int x = int(std::clamp(points[2 * i], 0.0f, float(width - 1)));
    const int y = int(std::clamp(points[2 * i + 1], 0.0f, float(height - 1)));
    count[std::size_t(y >> BLOCK_LOG2) * b.columns + (x >> BLOCK_LOG2)] += 1;
  }
  b.weight.assign(count.size(), 0.0f);
  for (int y = 0; y < b.rows; ++y)
    for (int x = 0; x < b.columns; ++x) {
      const float c = count[std::size_t(y) * b.columns + x];
      if (c == 0) continue;
      for (int v = std::max(0, y - 1); v <= std::min(b.rows - 1, y + 1); ++v)
        for (int u = std::max(0, x - 1); u <= std::min(b.columns - 1, x + 1); ++u)
          b.weight[std::size_t(v) * b.columns + u] += u == x && v == y ? c : 0.5f * c;
    }
  return b;
}

// Sums of one cell of the mesh. A pixel's displacement is a product of weights (1 - f, f) along y and along x, so
// products of two such weights are (1-f)², f(1-f), f² along each axis.
struct CellSums {
  float stiffness[3][3][3] = {};  // [along y][along x][gx², gx·gy, gy²]
  float force[2][2][2] = {};      // [corner along y][corner along x][x, y]
};

// Symmetric positive definite, banded: column j holds its entries from the diagonal down, and padding.
class Banded {
 public:
  Banded(int n, int band) : n_(n), width_(band + 1), a_(std::size_t(n) * (width_ + MESH_PAD)) {}
  float& at(int i, int j) { return i >= j ? column(j)[i - j] : column(i)[j - i]; }

  // x = a⁻¹·x; a is overwritten.
  void solve(const MeshKernels& kernels, std::vector<float>& x) {
    kernels.band_factor(a_.data(), n_, width_);
    for (int j = 0; j < n_; ++j) {
      const float* c = column(j);
      x[j] /= c[0];
      for (int i = 1; i < std::min(width_, n_ - j); ++i) x[j + i] -= c[i] * x[j];
    }
    for (int j = n_ - 1; j >= 0; --j) {
      const float* c = column(j);
      for (int i = 1; i < std::min(width_, n_ - j); ++i) x[j] -= c[i] * x[j + i];
      x[j] /= c[0];
    }
  }

 private:
  float* column(int j) { return a_.data() + std::size_t(j) * (width_ + MESH_PAD); }
  int n_, width_;
  std::vector<float> a_;
};

// Neighbouring pixels of a row within one cell of the mesh.
struct Run {
  int begin, end, cell;
};

class Level {
 public:
  Level(const Plane& before, const Plane& now, const Blocks& blocks, int block_log2, const MeshGrid& grid,
        int pixels_per_step, const MeshKernels& kernels)
      : before_(before),
        now_(now),
        blocks_(blocks),
        block_log2_(block_log2),
        grid_(grid),
        cells_(std::size_t(grid.rows - 1) * (grid.columns - 1)),
        share_x_(before.width + MESH_PAD),
        weight_(before.width + MESH_PAD),
        kernels_(kernels) {
    for (int x = 0; x < before.width; ++x) {
      const float g = std::min((float(x) + 0.5f) / grid.spacing_x, float(grid.columns) - 1.001f);
      const int cell = int(g);
      share_x_[x] = g - float(cell);
      if (runs_.empty() || runs_.back().cell != cell) runs_.push_back({x, x, cell});
      runs_.back().end = x + 1;
    }
    const auto used = std::count_if(blocks.weight.begin(), blocks.weight.end(), [](float w) { return w > 0; });
    // A large area is looked at by every stride-th row, another set of rows in each step.
    while ((used << (2 * block_log2)) > int64_t(pixels_per_step) * stride_) stride_ *= 2;
  }

  // One Gauss-Newton step on the mesh, in pixels of this level; how far the point that moved most has moved.
  float step(float* mesh) {
    std::fill(cells_.begin(), cells_.end(), CellSums{});
    for (int y = n_steps_++ & (stride_ - 1); y < before_.height; y += stride_) gather_row(y, mesh);
    const int n = 2 * grid_.rows * grid_.columns, band = 2 * std::min(grid_.rows, grid_.columns) + 3;
    Banded matrix(n, band);
    std::vector<float> x(n);
    spread(matrix, x);
    smooth(matrix, x, mesh);
    matrix.solve(kernels_, x);
    float largest = 0;
    for (int i = 0; i < n; i += 2)
      for (int k = 0; k < 2; ++k) {
        const float moved = x[index(i / 2 / grid_.columns, i / 2 % grid_.columns) + k];
        mesh[i + k] += moved;
        largest = std::max(largest, std::fabs(moved));
      }
    return largest;
  }

 private:
  void gather_row(int y, const float* mesh) {
    const int width = before_.width, height = before_.height;
    const float g = std::min((float(y) + 0.5f) / grid_.spacing_y, float(grid_.rows) - 1.001f);
    const int cell_y = int(g);
    const float share = g - float(cell_y);
    line_.resize(2 * grid_.columns);
    for (int i = 0; i < 2 * grid_.columns; ++i) {
      const float* m = mesh + cell_y * 2 * grid_.columns + i;
      line_[i] = m[0] + share * (m[2 * grid_.columns] - m[0]);
    }
    weigh_row(std::min(y >> block_log2_, blocks_.rows - 1));
    MeshRow row = {now_.data(),
                   before_.data() + std::size_t(y) * width,
                   nullptr,
                   nullptr,
                   weight_.data(),
                   share_x_.data(),
                   width,
                   height,
                   y};
    row.above = y ? row.before - width : row.before;
    row.below = y + 1 < height ? row.before + width : row.before;
    for (const Run& run : runs_) {
      float m[MESH_SUMS];
      kernels_.mesh_run(row, line_.data() + 2 * run.cell, run.begin, run.end, m);
      CellSums& sums = cells_[std::size_t(cell_y) * (grid_.columns - 1) + run.cell];
      const float b = 1.0f - share, along_y[3] = {b * b, b * share, share * share};
      for (int k = 0; k < 3; ++k) {
        const float one = m[k], s = m[3 + k], s_sq = m[6 + k], along_x[3] = {one - 2.0f * s + s_sq, s - s_sq, s_sq};
        for (int j = 0; j < 3; ++j)
          for (int i = 0; i < 3; ++i) sums.stiffness[j][i][k] += along_y[j] * along_x[i];
      }
      for (int k = 0; k < 2; ++k) {
        const float left = m[9 + k] - m[11 + k], right = m[11 + k];
        sums.force[0][0][k] += b * left, sums.force[0][1][k] += b * right;
        sums.force[1][0][k] += share * left, sums.force[1][1][k] += share * right;
      }
    }
  }

  // Spells out what the pixels of a row of blocks count.
  void weigh_row(int row) {
    if (row == weighed_) return;
    weighed_ = row;
    const float* weights = blocks_.weight.data() + std::size_t(row) * blocks_.columns;
    for (int x = 0; x < before_.width; ++x) weight_[x] = weights[std::min(x >> block_log2_, blocks_.columns - 1)];
  }

  // Of a point among the unknowns, which are counted along the shorter side: the band is narrower so.
  int index(int row, int column) const {
    return 2 * (grid_.rows < grid_.columns ? column * grid_.rows + row : row * grid_.columns + column);
  }

  // The cells' sums into the matrix of all points.
  void spread(Banded& matrix, std::vector<float>& x) const {
    for (int row = 0; row + 1 < grid_.rows; ++row)
      for (int column = 0; column + 1 < grid_.columns; ++column) {
        const CellSums& sums = cells_[std::size_t(row) * (grid_.columns - 1) + column];
        for (int p = 0; p < 4; ++p) {
          const int a = index(row + p / 2, column + p % 2);
          for (int k = 0; k < 2; ++k) x[a + k] -= sums.force[p / 2][p % 2][k];
          for (int q = 0; q <= p; ++q) {
            const int b = index(row + q / 2, column + q % 2);
            const float* g = sums.stiffness[p / 2 + q / 2][p % 2 + q % 2];
            matrix.at(a, b) += g[0];
            matrix.at(a + 1, b + 1) += g[2];
            matrix.at(a + 1, b) += g[1];
            if (a != b) matrix.at(a, b + 1) += g[1];
          }
        }
      }
  }

  // Neighbouring points want to move alike, and a point that nothing holds stays.
  void smooth(Banded& matrix, std::vector<float>& x, const float* mesh) const {
    const int points = grid_.rows * grid_.columns;
    float stiffness = 0;
    for (int i = 0; i < 2 * points; ++i) stiffness += matrix.at(i, i);
    // In proportion to the data's own stiffness, so that contrast does not change how smooth a mesh is.
    const float s = SMOOTHNESS * stiffness / (2 * points) + 1e-3f;
    const auto tie = [&](int row_a, int column_a, int row_b, int column_b) {
      const int a = index(row_a, column_a), b = index(row_b, column_b);
      for (int k = 0; k < 2; ++k) {
        const float apart =
            s * (mesh[2 * (row_a * grid_.columns + column_a) + k] - mesh[2 * (row_b * grid_.columns + column_b) + k]);
        matrix.at(a + k, a + k) += s, matrix.at(b + k, b + k) += s;
        matrix.at(a + k, b + k) -= s;
        x[a + k] -= apart, x[b + k] += apart;
      }
    };
    for (int row = 0; row < grid_.rows; ++row)
      for (int column = 0; column < grid_.columns; ++column) {
        if (column) tie(row, column, row, column - 1);
        if (row) tie(row, column, row - 1, column);
        for (int k = 0; k < 2; ++k) matrix.at(index(row, column) + k, index(row, column) + k) += 1e-3f * s;
      }
  }

  int n_steps_ = 0, stride_ = 1;
  const Plane& before_;
  const Plane& now_;
  const Blocks& blocks_;
  int block_log2_;
  MeshGrid grid_;
  std::vector<CellSums> cells_;
  std::vector<Run> runs_;                       // of every row
  std::vector<float> share_x_, weight_, line_;  // of a row: its pixels' shares and weights, its points' displacements
  int weighed_ = -1;                            // row of blocks that weight_ is of
  const MeshKernels& kernels_;
};

}  // namespace

MeshSearch::MeshSearch(int width, int height, const MeshGrid& grid, int pixels_per_step, const MeshKernels& kernels)
    : grid_(grid),
      pixels_per_step_(pixels_per_step),
      kernels_(kernels),
      before_(empty_pyramid(width, height)),
      now_(before_) {}

void MeshSearch::look(const uint8_t* grey) {
  std::swap(before_, now_);
  std::copy_n(grey, std::size_t(width()) * height(), now_[0].data());
  for (std::size_t level = 1; level < now_.size(); ++level) halve(now_[level - 1], now_[level]);
  n_seen_ = std::min(n_seen_ + 1, 2);
}

void MeshSearch::fit(const float* points, int n, float* mesh) const {
  const int size = 2 * grid_.rows * grid_.columns;
  std::fill(mesh, mesh + size, 0.0f);
  if (n == 0 || n_seen_ < 2 || width() < 2 || height() < 2) return;
  const Blocks blocks = count_points(points, n, width(), height());
  for (int level = int(now_.size()) - 1; level >= 0; --level) {
    const float scale = 1.0f / float(1 << level);
    Level at(before_[level], now_[level], blocks, BLOCK_LOG2 - level,
             {grid_.rows, grid_.columns, grid_.spacing_x * scale, grid_.spacing_y * scale}, pixels_per_step_, kernels_);
    for (int i = 0; i < (level ? STEPS : LAST_STEPS); ++i)
      if (at.step(mesh) < SETTLED) break;
    if (level)  // the next level's pixels are half as large
      for (int i = 0; i < size; ++i) mesh[i] *= 2;
  }
}

float MeshSearch::drift(const float* points, int n) const {
  const int level = std::min(DRIFT_LEVEL, int(now_.size()) - 1);
  const Plane &a = before_[level], &b = now_[level];
  if (n == 0 || n_seen_ < 2 || a.width < 4 || a.height < 4) return 0.0f;
  const Blocks blocks = count_points(points, n, width(), height());
  float sums[4][5] = {};  // per quarter: gx², gx·gy, gy², gx·r, gy·r
  for (int y = 1; y + 1 < a.height; ++y)
    for (int x = 1; x + 1 < a.width; ++x) {
      const int block_x = std::min(x >> (BLOCK_LOG2 - level), blocks.columns - 1);
      const int block_y = std::min(y >> (BLOCK_LOG2 - level), blocks.rows - 1);
      const float weight = blocks.weight[std::size_t(block_y) * blocks.columns + block_x];
      if (weight == 0) continue;
      const std::size_t i = std::size_t(y) * a.width + x;
      const auto both = [&](std::size_t j) { return a.data()[j] + b.data()[j]; };
      const float gx = 0.25f * (both(i + 1) - both(i - 1)), gy = 0.25f * (both(i + a.width) - both(i - a.width));
      const float r = b.data()[i] - a.data()[i], w = weight * trust(r);
      float* s = sums[2 * (2 * y >= a.height) + (2 * x >= a.width)];
      s[0] += w * gx * gx, s[1] += w * gx * gy, s[2] += w * gy * gy, s[3] += w * gx * r, s[4] += w * gy * r;
    }
  float largest = 0;
  for (const float* s : sums) {
    // One displacement for a quarter, by one Lucas-Kanade step. The ridge keeps stripes and flat quarters from running.
    const float ridge = 1e-3f * (s[0] + s[2]) + 1e-6f, xx = s[0] + ridge, yy = s[2] + ridge,
                det = xx * yy - s[1] * s[1];
    largest = std::max({largest, std::fabs(yy * s[3] - s[1] * s[4]) / det, std::fabs(xx * s[4] - s[1] * s[3]) / det});
  }
  return largest * float(1 << level);
}

void MeshSearch::follow(const std::vector<float>& own, const std::vector<float>& room, float still,
                        float* meshes) const {
  const int size = 2 * grid_.rows * grid_.columns;
  fit(own.data(), int(own.size() / 2), meshes);
  std::fill(meshes + size, meshes + 2 * size, 0.0f);
  if (room.empty() || !(drift(room.data(), int(room.size() / 2)) > still)) return;
  std::vector<float> all = own;
  all.insert(all.end(), room.begin(), room.end());
  fit(all.data(), int(all.size() / 2), meshes + size);
}

}  // namespace gscodec
