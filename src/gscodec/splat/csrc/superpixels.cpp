#include "superpixels.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "gaussian.h"

namespace gscodec {
namespace {

constexpr int BLOCK = 4;  // seeds follow a Hilbert curve over blocks of BLOCK x BLOCK pixels

// Block coordinates of position d on the Hilbert curve over a side x side square.
void hilbert(uint32_t side, uint32_t d, int& x, int& y) {
  uint32_t px = 0, py = 0;
  for (uint32_t s = 1; s < side; s *= 2) {
    const uint32_t rx = 1 & (d / 2), ry = 1 & (d ^ rx);
    if (ry == 0) {
      if (rx == 1) px = s - 1 - px, py = s - 1 - py;
      std::swap(px, py);
    }
    px += s * rx;
    py += s * ry;
    d /= 4;
  }
  x = int(px);
  y = int(py);
}

struct Center {
  float x, y, color[N_COLORS];
  float spacing;  // pixels to the next centre, roughly
};

// Centres at equal steps of accumulated density along a Hilbert curve: close together where the
// density is high, evenly spread where it is flat, and never outside the mask.
std::vector<Center> seed(const float* picture, const uint8_t* mask, const float* density, int width, int height,
                         int count) {
  double total = 0;
  for (int i = 0; i < width * height; ++i)
    if (mask[i]) total += density[i];
  if (!(total > 0) || !std::isfinite(total)) return {};  // no density: the surgery on segments places all
  const double stride = total / count;
  std::vector<Center> centers;
  centers.reserve(count);
  uint32_t side = 1;
  while (int(side) * BLOCK < std::max(width, height)) side *= 2;
  double sum = 0, next = 0.5 * stride;
  for (uint32_t d = 0; d < side * side; ++d) {
    int bx, by;
    hilbert(side, d, bx, by);
    if (bx * BLOCK >= width || by * BLOCK >= height) continue;
    for (int y = by * BLOCK; y < std::min(height, by * BLOCK + BLOCK); ++y)
      for (int x = bx * BLOCK; x < std::min(width, bx * BLOCK + BLOCK); ++x) {
        const int i = y * width + x;
        if (!mask[i]) continue;
        sum += density[i];
        if (sum < next || int(centers.size()) == count) continue;
        Center c;
        c.x = float(x) + 0.5f;
        c.y = float(y) + 0.5f;
        for (int k = 0; k < N_COLORS; ++k) c.color[k] = picture[std::size_t(i) * N_COLORS + k];
        c.spacing = float(std::sqrt(stride / std::max(double(density[i]), 0.02 * stride)));
        centers.push_back(c);
        while (next <= sum) next += stride;
      }
  }
  return centers;
}

void assign(const float* const planes[N_COLORS], const uint8_t* mask, int width, int height,
            const std::vector<Center>& centers, float compactness, int row_step, float* distance, int32_t* labels) {
  for (int y = 0; y < height; y += row_step)
    for (int x = 0; x < width; ++x) distance[y * width + x] = std::numeric_limits<float>::max();
  const float color_scale = 1.0f / (compactness * compactness);
  for (std::size_t n = 0; n < centers.size(); ++n) {
    const Center& c = centers[n];
    const float reach = 1.6f * c.spacing + 1.0f, inv = 1.0f / (c.spacing * c.spacing);
    const int x0 = std::max(0, int(c.x - reach)), x1 = std::min(width, int(c.x + reach) + 1);
    int y0 = std::max(0, int(c.y - reach));
    y0 += (row_step - y0 % row_step) % row_step;
    const int y1 = std::min(height, int(c.y + reach) + 1);
    const float a = c.color[0], b = c.color[1], d = c.color[2];
    for (int y = y0; y < y1; y += row_step) {
      const float dy = float(y) + 0.5f - c.y;
      const int row = y * width;
      for (int x = x0; x < x1; ++x) {
        const float dx = float(x) + 0.5f - c.x;
        const float e0 = planes[0][row + x] - a, e1 = planes[1][row + x] - b, e2 = planes[2][row + x] - d;
        const float far = (e0 * e0 + e1 * e1 + e2 * e2) * color_scale + (dx * dx + dy * dy) * inv;
        const bool nearer = far < distance[row + x];
        distance[row + x] = nearer ? far : distance[row + x];
        labels[row + x] = nearer ? int32_t(n) : labels[row + x];
      }
    }
  }
  for (int y = 0; y < height; y += row_step)
    for (int x = 0; x < width; ++x) {
      const int i = y * width + x;
      if (!mask[i] || distance[i] == std::numeric_limits<float>::max()) labels[i] = -1;
    }
}

void recenter(const float* const planes[N_COLORS], const int32_t* labels, int width, int height, int row_step,
              std::vector<Center>& centers) {
  std::vector<double> sums(centers.size() * 6, 0.0);
  for (int y = 0; y < height; y += row_step)
    for (int x = 0; x < width; ++x) {
      const int i = y * width + x;
      if (labels[i] < 0) continue;
      double* s = &sums[std::size_t(labels[i]) * 6];
      s[0] += x + 0.5;
      s[1] += y + 0.5;
      for (int k = 0; k < N_COLORS; ++k) s[2 + k] += planes[k][i];
      s[5] += 1;
    }
  for (std::size_t n = 0; n < centers.size(); ++n) {
    const double* s = &sums[n * 6];
    if (s[5] == 0) continue;
    centers[n].x = float(s[0] / s[5]);
    centers[n].y = float(s[1] / s[5]);
    for (int k = 0; k < N_COLORS; ++k) centers[n].color[k] = float(s[2 + k] / s[5]);
  }
}

// Connected pieces of equal label inside the mask, and the graph surgery that makes them exactly N.
class Segments {
 public:
  Segments(const uint8_t* mask, int width, int height, int32_t* labels)
      : mask_(mask), width_(width), height_(height), labels_(labels) {}

  int enforce(int count) {
    split_into_pieces();
    keep_largest_piece_of_each_label(count);
    merge_down_to(count);
    split_up_to(count);
    return renumber();
  }

 private:
  template <typename Visit>
  void neighbours(int i, const Visit& visit) const {
    const int x = i % width_;
    if (x > 0) visit(i - 1);
    if (x + 1 < width_) visit(i + 1);
    if (i >= width_) visit(i - width_);
    if (i + width_ < width_ * height_) visit(i + width_);
  }

  void split_into_pieces() {
    piece_.assign(std::size_t(width_) * height_, -1);
    for (int start = 0; start < width_ * height_; ++start) {
      if (!mask_[start] || piece_[start] >= 0) continue;
      const int id = int(pieces_.size());
      pieces_.push_back({start});
      label_of_piece_.push_back(labels_[start]);
      piece_[start] = id;
      for (std::size_t head = 0; head < pieces_[id].size(); ++head)
        neighbours(pieces_[id][head], [&](int j) {
          if (mask_[j] && piece_[j] < 0 && labels_[j] == labels_[start]) {
            piece_[j] = id;
            pieces_[id].push_back(j);
          }
        });
    }
  }

  // Moves all pixels of a piece to the neighbouring piece with the longest common border; false without one.
  bool dissolve(int id) {
    std::vector<std::pair<int, int>> borders;  // piece, length
    for (int i : pieces_[id])
      neighbours(i, [&](int j) {
        const int other = mask_[j] ? piece_[j] : -1;
        if (other < 0 || other == id) return;
        for (auto& b : borders)
          if (b.first == other) {
            ++b.second;
            return;
          }
        borders.push_back({other, 1});
      });
    if (borders.empty()) return false;
    const int into = std::max_element(borders.begin(), borders.end(), [](auto& a, auto& b) {
                       return a.second != b.second ? a.second < b.second : a.first > b.first;
                     })->first;
    for (int i : pieces_[id]) piece_[i] = into;
    pieces_[into].insert(pieces_[into].end(), pieces_[id].begin(), pieces_[id].end());
    pieces_[id].clear();
    return true;
  }

  std::vector<int> by_size(bool only_kept) const {
    std::vector<int> order;
    for (int id = 0; id < int(pieces_.size()); ++id)
      if (!pieces_[id].empty() && (!only_kept || kept_[id])) order.push_back(id);
    std::sort(order.begin(), order.end(), [&](int a, int b) {
      return pieces_[a].size() != pieces_[b].size() ? pieces_[a].size() < pieces_[b].size() : a < b;
    });
    return order;
  }

  void keep_largest_piece_of_each_label(int count) {
    std::vector<int> best(count, -1);
    for (int id = 0; id < int(pieces_.size()); ++id) {
      const int label = label_of_piece_[id];
      if (label >= 0 && (best[label] < 0 || pieces_[best[label]].size() < pieces_[id].size())) best[label] = id;
    }
    kept_.assign(pieces_.size(), 0);
    for (int id : best)
      if (id >= 0) kept_[id] = 1;
    for (int id : by_size(false))
      if (!kept_[id] && !dissolve(id)) kept_[id] = 1;  // an island of its own
  }

  void merge_down_to(int count) {
    std::vector<int> order = by_size(true);
    int live = int(order.size());
    for (std::size_t i = 0; i < order.size() && live > count; ++i)
      if (dissolve(order[i])) --live;
    for (std::size_t i = 0; i < order.size() && live > count; ++i) {  // only islands are left: drop the smallest
      if (pieces_[order[i]].empty()) continue;
      for (int p : pieces_[order[i]]) piece_[p] = -1;
      pieces_[order[i]].clear();
      --live;
    }
  }

  void split_up_to(int count) {
    std::vector<std::pair<std::size_t, int>> heap;
    for (int id = 0; id < int(pieces_.size()); ++id)
      if (!pieces_[id].empty()) heap.push_back({pieces_[id].size(), id});
    int live = int(heap.size());
    std::make_heap(heap.begin(), heap.end());
    while (live < count && !heap.empty()) {
      std::pop_heap(heap.begin(), heap.end());
      const int id = heap.back().second;
      heap.pop_back();
      if (pieces_[id].size() < 2) return;  // nothing can be split any more
      const int other = halve(id);
      ++live;
      for (int p : {id, other}) {
        heap.push_back({pieces_[p].size(), p});
        std::push_heap(heap.begin(), heap.end());
      }
    }
  }

  // Grows two connected halves from two far ends of a piece, breadth first; returns the new piece.
  int halve(int id) {
    const std::vector<int> pixels = pieces_[id];
    const auto farthest = [&](int from) {
      const int fx = from % width_, fy = from / width_;
      return *std::max_element(pixels.begin(), pixels.end(), [&](int a, int b) {
        const auto d = [&](int i) {
          const long dx = i % width_ - fx, dy = i / width_ - fy;
          return dx * dx + dy * dy;
        };
        return d(a) < d(b);
      });
    };
    const int a = farthest(pixels[0]), b = farthest(a);
    const int other = int(pieces_.size());
    for (int i : pixels) piece_[i] = -2;  // in neither half yet
    std::vector<int> halves[2] = {{a}, {b}};
    const int ids[2] = {id, other};
    piece_[a] = id;
    piece_[b] = other;
    std::size_t heads[2] = {0, 0};
    while (heads[0] < halves[0].size() || heads[1] < halves[1].size())
      for (int h = 0; h < 2; ++h)
        if (heads[h] < halves[h].size())
          neighbours(halves[h][heads[h]++], [&](int j) {
            if (piece_[j] != -2) return;
            piece_[j] = ids[h];
            halves[h].push_back(j);
          });
    pieces_[id] = std::move(halves[0]);
    pieces_.push_back(std::move(halves[1]));
    return other;
  }

  int renumber() {
    std::fill(labels_, labels_ + std::size_t(width_) * height_, -1);
    int next = 0;
    for (const auto& piece : pieces_) {
      if (piece.empty()) continue;
      for (int i : piece) labels_[i] = next;
      ++next;
    }
    return next;
  }

  const uint8_t* mask_;
  const int width_, height_;
  int32_t* labels_;
  std::vector<int> piece_;                // piece of each pixel, -1: none
  std::vector<std::vector<int>> pieces_;  // pixels of each piece; empty once dissolved
  std::vector<int> label_of_piece_;
  std::vector<char> kept_;
};

}  // namespace

int superpixels(const float* picture, const uint8_t* mask, const float* density, int width, int height,
                const SuperpixelOptions& o, int32_t* labels) {
  const std::size_t pixels = std::size_t(width) * height;
  std::vector<Center> centers = seed(picture, mask, density, width, height, o.count);
  std::vector<float> planes(pixels * N_COLORS), distance(pixels);
  const float* plane[N_COLORS];
  for (int k = 0; k < N_COLORS; ++k) plane[k] = planes.data() + std::size_t(k) * pixels;
  for (std::size_t i = 0; i < pixels; ++i)
    for (int k = 0; k < N_COLORS; ++k) planes[std::size_t(k) * pixels + i] = picture[i * N_COLORS + k];
  std::fill(labels, labels + pixels, -1);
  for (int it = 0; it < o.iterations; ++it) {
    const int row_step = it + 1 < o.iterations ? 2 : 1;  // early rounds look at every other row
    assign(plane, mask, width, height, centers, o.compactness, row_step, distance.data(), labels);
    if (it + 1 < o.iterations) recenter(plane, labels, width, height, row_step, centers);
  }
  return Segments(mask, width, height, labels).enforce(o.count);
}

void gaussians_of_segments(const float* picture, const int32_t* labels, int width, int height, int count, float widen,
                           float* params) {
  std::vector<double> sums(std::size_t(count) * 9, 0.0);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      const std::size_t i = std::size_t(y) * width + x;
      if (labels[i] < 0) continue;
      double* s = &sums[std::size_t(labels[i]) * 9];
      const double px = x + 0.5, py = y + 0.5;
      s[0] += 1;
      s[1] += px;
      s[2] += py;
      s[3] += px * px;
      s[4] += px * py;
      s[5] += py * py;
      for (int k = 0; k < N_COLORS; ++k) s[6 + k] += picture[i * N_COLORS + k];
    }
  for (int n = 0; n < count; ++n) {
    const double* s = &sums[std::size_t(n) * 9];
    float* p = params + std::size_t(n) * N_PARAMS;
    const double mx = s[1] / s[0], my = s[2] / s[0];
    const double own = 1.0 / 12;  // a pixel's own variance keeps single rows and columns regular
    const double xx = s[3] / s[0] - mx * mx + own, xy = s[4] / s[0] - mx * my, yy = s[5] / s[0] - my * my + own;
    const double l1 = std::sqrt(xx), l2 = xy / l1, l3 = std::sqrt(std::max(yy - l2 * l2, own));
    p[0] = float(mx);
    p[1] = float(my);
    p[2] = std::max(MIN_SCALE, float(widen * l1));
    p[3] = float(widen * l2);
    p[4] = std::max(MIN_SCALE, float(widen * l3));
    for (int k = 0; k < N_COLORS; ++k) p[5 + k] = float(s[6 + k] / s[0]);
  }
}

}  // namespace gscodec
