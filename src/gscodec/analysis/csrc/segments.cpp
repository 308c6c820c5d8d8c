// Labels of pixels made exactly N connected segments, and the segments' Gaussians.
//
// Nearest-seed labels leave scraps: a label's pixels may lie in several places, some labels have none, and the number
// of Gaussians asked for must still come out exactly. Connected pieces are found by union-find over runs of equal
// pixels in rows, as in two-pass component labelling. Then a graph is worked on in which pieces are nodes: of each
// label only the largest piece stays, the others go to the neighbour with the longest common border; while there are
// too many the smallest is merged, while too few the largest is halved.
//
// Invariants, from split_into_pieces() on: every pixel of a region is in one piece, until islands beyond the count are
// dropped; a piece is connected and lies in one region. Merging across a border and growing two halves from two pixels
// both keep it so. Ties are broken by number, so that all machines give the same segments.
#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "splat/csrc/gaussian.h"
#include "superpixels.h"

namespace gscodec {
namespace {

// Pixels begin … end - 1 of one row, as indices of the picture; next: the piece's next run, -1 after the last.
struct Run {
  int begin, end, next;
};

struct Piece {
  int first, last;  // runs, -1: none, as it is dissolved
  int size, region, label;
  bool kept;
};

// Connected pieces of equal label in one region, and the graph surgery that makes them exactly N.
class Segments {
 public:
  Segments(const Regions& regions, int width, int height, int32_t* labels)
      : regions_(regions), width_(width), height_(height), labels_(labels) {}

  void enforce(int* found) {
    split_into_pieces();
    keep_largest_piece_of_each_label();
    for (int r = 0; r < regions_.n; ++r) {
      merge_down_to(regions_.counts[r], r);
      split_up_to(regions_.counts[r], r);
    }
    renumber(found);
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

  template <typename Visit>
  void for_pixels(const Piece& piece, const Visit& visit) const {
    for (int run = piece.first; run >= 0; run = runs_[run].next)
      for (int i = runs_[run].begin; i < runs_[run].end; ++i) visit(i);
  }

  void append(Piece& piece, int run) {
    (piece.first < 0 ? piece.first : runs_[piece.last].next) = run;
    piece.last = run;
    piece.size += runs_[run].end - runs_[run].begin;
  }

  bool alike(int i, int j) const { return labels_[i] == labels_[j] && regions_.of_pixel[i] == regions_.of_pixel[j]; }

  // Runs of like pixels, joined to like ones that they touch in the row above.
  void split_into_pieces() {
    std::vector<int> parent;
    const auto root = [&](int run) {
      while (parent[run] != run) run = parent[run] = parent[parent[run]];
      return run;
    };
    std::size_t above = 0;
    for (int y = 0; y < height_; ++y) {
      const std::size_t first = runs_.size();
      for (int i = y * width_, end = i + width_; i < end;) {
        int j = i + 1;
        while (j < end && alike(i, j)) ++j;
        if (regions_.of_pixel[i] < regions_.n) {
          parent.push_back(int(runs_.size()));
          runs_.push_back({i, j, -1});
        }
        i = j;
      }
      std::size_t a = above;
      for (std::size_t b = first; b < runs_.size(); ++b) {
        const int begin = runs_[b].begin - width_, end = runs_[b].end - width_;
        while (a < first && runs_[a].end <= begin) ++a;
        for (std::size_t other = a; other < first && runs_[other].begin < end; ++other)
          if (alike(runs_[other].begin, runs_[b].begin)) {
            const int one = root(int(other)), two = root(int(b));
            parent[std::max(one, two)] = std::min(one, two);
          }
      }
      above = first;
    }
    piece_.assign(std::size_t(width_) * height_, -1);
    std::vector<int> id_of(runs_.size());
    for (int run = 0; run < int(runs_.size()); ++run) {
      const int at = runs_[run].begin;
      if (parent[run] == run) {
        id_of[run] = int(pieces_.size());
        pieces_.push_back({-1, -1, 0, regions_.of_pixel[at], labels_[at], false});
      }
      const int id = id_of[root(run)];
      append(pieces_[id], run);
      std::fill(piece_.begin() + at, piece_.begin() + runs_[run].end, id);
    }
  }

  // Moves all pixels of a piece to the neighbouring piece with the longest common border; false without one.
  bool dissolve(int id) {
    Piece& piece = pieces_[id];
    auto& borders = borders_;
    borders.clear();
    for_pixels(piece, [&](int i) {
      neighbours(i, [&](int j) {
        const int other = piece_[j];
        if (other < 0 || other == id || pieces_[other].region != piece.region) return;
        for (auto& b : borders)
          if (b.first == other) {
            ++b.second;
            return;
          }
        borders.push_back({other, 1});
      });
    });
    if (borders.empty()) return false;
    const int into = std::max_element(borders.begin(), borders.end(), [](auto& a, auto& b) {
                       return a.second != b.second ? a.second < b.second : a.first > b.first;
                     })->first;
    for_pixels(piece, [&](int i) { piece_[i] = into; });
    Piece& to = pieces_[into];
    runs_[to.last].next = piece.first;
    to.last = piece.last;
    to.size += piece.size;
    empty(piece);
    return true;
  }

  static void empty(Piece& piece) {
    piece.first = piece.last = -1;
    piece.size = 0;
  }

  // Pieces that are left and that `wanted`, the smallest first.
  template <typename Wanted>
  std::vector<int> by_size(const Wanted& wanted) const {
    std::vector<int> order;
    for (int id = 0; id < int(pieces_.size()); ++id)
      if (pieces_[id].size && wanted(pieces_[id])) order.push_back(id);
    std::sort(order.begin(), order.end(), [&](int a, int b) {
      return pieces_[a].size != pieces_[b].size ? pieces_[a].size < pieces_[b].size : a < b;
    });
    return order;
  }

  void keep_largest_piece_of_each_label() {
    int count = 0;
    for (int r = 0; r < regions_.n; ++r) count += regions_.counts[r];
    std::vector<int> best(count, -1);
    for (int id = 0; id < int(pieces_.size()); ++id) {
      const int label = pieces_[id].label;
      if (label >= 0 && (best[label] < 0 || pieces_[best[label]].size < pieces_[id].size)) best[label] = id;
    }
    for (int id : best)
      if (id >= 0) pieces_[id].kept = true;
    for (int id : by_size([](const Piece& p) { return !p.kept; }))
      if (!dissolve(id)) pieces_[id].kept = true;  // an island of its own
  }

  void merge_down_to(int count, int region) {
    const std::vector<int> order = by_size([&](const Piece& p) { return p.region == region; });
    int live = int(order.size());
    for (std::size_t i = 0; i < order.size() && live > count; ++i)
      if (dissolve(order[i])) --live;
    for (std::size_t i = 0; i < order.size() && live > count; ++i) {  // only islands are left: drop the smallest
      Piece& piece = pieces_[order[i]];
      if (!piece.size) continue;
      for_pixels(piece, [&](int p) { piece_[p] = -1; });
      empty(piece);
      --live;
    }
  }

  void split_up_to(int count, int region) {
    std::vector<std::pair<int, int>> heap;
    for (int id = 0; id < int(pieces_.size()); ++id)
      if (pieces_[id].size && pieces_[id].region == region) heap.push_back({pieces_[id].size, id});
    int live = int(heap.size());
    std::make_heap(heap.begin(), heap.end());
    while (live < count && !heap.empty()) {
      std::pop_heap(heap.begin(), heap.end());
      const int id = heap.back().second;
      heap.pop_back();
      if (pieces_[id].size < 2) return;  // nothing can be split any more
      const int other = halve(id);
      ++live;
      for (int p : {id, other}) {
        heap.push_back({pieces_[p].size, p});
        std::push_heap(heap.begin(), heap.end());
      }
    }
  }

  // Grows two connected halves from two far ends of a piece, breadth first; returns the new piece.
  int halve(int id) {
    std::vector<int> pixels;
    pixels.reserve(pieces_[id].size);
    for_pixels(pieces_[id], [&](int i) { pixels.push_back(i); });
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
    // Two sweeps give two ends of the piece: the cut between them lies across its length.
    const int a = farthest(pixels[0]), b = farthest(a), region = pieces_[id].region;
    const int ids[2] = {id, int(pieces_.size())};
    pieces_.push_back({-1, -1, 0, region, -1, true});
    for (int i : pixels) piece_[i] = -2;  // in neither half yet
    std::vector<int> halves[2] = {{a}, {b}};
    piece_[a] = ids[0];
    piece_[b] = ids[1];
    std::size_t heads[2] = {0, 0};
    while (heads[0] < halves[0].size() || heads[1] < halves[1].size())
      for (int h = 0; h < 2; ++h)
        if (heads[h] < halves[h].size())
          neighbours(halves[h][heads[h]++], [&](int j) {
            if (piece_[j] != -2) return;
            piece_[j] = ids[h];
            halves[h].push_back(j);
          });
    for (int h = 0; h < 2; ++h) {
      empty(pieces_[ids[h]]);
      for (int i : halves[h]) {
        runs_.push_back({i, i + 1, -1});
        append(pieces_[ids[h]], int(runs_.size()) - 1);
      }
    }
    return ids[1];
  }

  void renumber(int* found) {
    std::fill(labels_, labels_ + std::size_t(width_) * height_, -1);
    int next = 0;
    for (int r = 0; r < regions_.n; ++r) {
      const int first = next;
      for (const Piece& piece : pieces_) {
        if (!piece.size || piece.region != r) continue;
        for_pixels(piece, [&](int i) { labels_[i] = next; });
        ++next;
      }
      found[r] = next - first;
    }
  }

  const Regions& regions_;
  const int width_, height_;
  int32_t* labels_;
  std::vector<Run> runs_;
  std::vector<Piece> pieces_;
  std::vector<int> piece_;                    // piece of each pixel, -1: none
  std::vector<std::pair<int, int>> borders_;  // of a piece that is dissolved: a neighbour, length
};

}  // namespace

void connect(const Regions& regions, int width, int height, int32_t* labels, int* found) {
  Segments(regions, width, height, labels).enforce(found);
}

void gaussians_of_segments(const uint8_t* pixels, const int32_t* labels, int width, int height, int count, float widen,
                           const float* matrix, float* params) {
  constexpr int N_SUMS = 9;  // pixels, x, y, x², xy, y², R', G', B'
  std::vector<double> sums(std::size_t(count) * N_SUMS, 0.0);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      const std::size_t i = std::size_t(y) * width + x;
      if (labels[i] < 0) continue;
      double* s = &sums[std::size_t(labels[i]) * N_SUMS];
      const double px = x + 0.5, py = y + 0.5;
      s[0] += 1;
      s[1] += px;
      s[2] += py;
      s[3] += px * px;
      s[4] += px * py;
      s[5] += py * py;
      for (int k = 0; k < N_COLORS; ++k) s[6 + k] += pixels[i * N_COLORS + k];
    }
  for (int n = 0; n < count; ++n) {
    const double* s = &sums[std::size_t(n) * N_SUMS];
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
    for (int k = 0; k < N_COLORS; ++k)
      p[5 + k] = float((matrix[3 * k] * s[6] + matrix[3 * k + 1] * s[7] + matrix[3 * k + 2] * s[8]) / s[0]);
  }
}

}  // namespace gscodec
