// Seeds by density, and the pixels nearest to each.
//
// An I-frame's fit needs N Gaussians to start from: many where the picture has detail, few where it is flat. Density
// is the local gradient to the power of `detail`. Seeds are put down by walking a Hilbert curve, which keeps
// neighbours in the plane near each other on the curve, and placing one each time the density passed so far grows by
// 1/N of the whole: an even share of detail to each seed without any iteration. Then each pixel goes to the seed that
// is nearest in colour and place, as in SLIC (Achanta et al., 2012), but with each seed's own spacing for the place,
// and if asked k-means rounds move the seeds.
//
// Invariants: a region has at most its number of seeds, fewer where one pixel passes several strides; no seed gets
// pixels of another region. A label's pixels need not be connected and may be none: segments.cpp mends both.
#include "superpixels.h"

#include "superpixel_constants.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "splat/csrc/gaussian.h"
#include "superpixel_constants.h"

namespace gscodec {
namespace {

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

struct Seed {
  float x, y, color[N_COLORS];
  float spacing;  // pixels to the next seed, roughly; 0: there is none of this number
  int region;
};

// A region's seeds on the way along the curve: one wherever the density so far passes an odd multiple of half a stride.
struct Walk {
  double total = 0, stride = 0, least = 0, sum = 0, next = 0;
  int pixels = 0, first = 0, passed = 0;
};

// Seeds at equal steps of accumulated density along a Hilbert curve: close together where the density is high,
// evenly spread where it is flat, and never outside their region.
std::vector<Seed> place_seeds(const float* picture, const Regions& regions, const float* density, int width,
                              int height) {
  const int columns = (width + BLOCK - 1) / BLOCK, rows = (height + BLOCK - 1) / BLOCK;
  std::vector<double> of_blocks(std::size_t(columns) * rows * regions.n);
  std::vector<Walk> walks(regions.n);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      const int i = y * width + x, r = regions.of_pixel[i];
      if (r >= regions.n) continue;
      of_blocks[(std::size_t(y / BLOCK) * columns + x / BLOCK) * regions.n + r] += density[i];
      ++walks[r].pixels;
    }
  for (std::size_t i = 0; i < of_blocks.size(); ++i) walks[i % regions.n].total += of_blocks[i];
  int count = 0;
  for (int r = 0; r < regions.n; ++r) {
    Walk& w = walks[r];
    w.first = count;
    count += regions.counts[r];
    w.next = std::numeric_limits<double>::infinity();
    if (!(w.total > 0) || !std::isfinite(w.total) || regions.counts[r] < 1) continue;  // connect() makes all of them
    w.stride = w.total / regions.counts[r];
    w.least = LEAST_DENSITY * w.total / w.pixels;
    w.next = 0.5 * w.stride;
  }
  std::vector<Seed> seeds(count, Seed{});
  const auto place_in_block = [&](int bx, int by, int r) {
    Walk& w = walks[r];
    double sum = w.sum;
    for (int y = by * BLOCK; y < std::min(height, by * BLOCK + BLOCK); ++y)
      for (int x = bx * BLOCK; x < std::min(width, bx * BLOCK + BLOCK); ++x) {
        const int i = y * width + x;
        if (regions.of_pixel[i] != r) continue;
        sum += density[i];
        if (sum < w.next) continue;
        while (w.next <= sum && w.passed < regions.counts[r]) w.next = (++w.passed + 0.5) * w.stride;
        if (w.passed == regions.counts[r]) w.next = std::numeric_limits<double>::infinity();
        const float* c = picture + std::size_t(i) * N_COLORS;
        const double spacing = std::sqrt(w.stride / std::max(double(density[i]), w.least));
        seeds[w.first + w.passed - 1] = {float(x) + 0.5f, float(y) + 0.5f, {c[0], c[1], c[2]}, float(spacing), r};
      }
  };
  uint32_t side = 1;
  while (int(side) * BLOCK < std::max(width, height)) side *= 2;
  for (uint32_t d = 0; d < side * side; ++d) {
    int bx, by;
    hilbert(side, d, bx, by);
    // Any aligned stretch of far² steps of the curve fills one far x far square: none of it is in the picture, if its
    // corner is not.
    constexpr uint32_t far = 16;  // blocks of a square that is left out as a whole
    if (d % (far * far) == 0 && (bx / int(far) * int(far) >= columns || by / int(far) * int(far) >= rows)) {
      d += far * far - 1;
      continue;
    }
    if (bx >= columns || by >= rows) continue;
    for (int r = 0; r < regions.n; ++r) {
      Walk& w = walks[r];
      const double after = w.sum + of_blocks[(std::size_t(by) * columns + bx) * regions.n + r];
      if (after >= w.next) place_in_block(bx, by, r);
      w.sum = after;
    }
  }
  return seeds;
}

void assign(const float* const planes[N_COLORS], const Regions& regions, int width, int height,
            const std::vector<Seed>& seeds, int row_step, float* distance, int32_t* labels) {
  for (int y = 0; y < height; y += row_step) {
    std::fill_n(distance + y * width, width, std::numeric_limits<float>::max());
    std::fill_n(labels + y * width, width, -1);
  }
  // Seeds ask for pixels, not pixels for seeds: each looks only REACH spacings around itself. Without branches, so
  // that it is compiled to vectors.
  const float color_scale = 1.0f / (COMPACTNESS * COMPACTNESS);
  for (std::size_t n = 0; n < seeds.size(); ++n) {
    const Seed& c = seeds[n];
    if (c.spacing == 0) continue;
    const float reach = REACH * c.spacing + 1.0f, inv = 1.0f / (c.spacing * c.spacing);
    const int x0 = std::max(0, int(c.x - reach)), x1 = int(std::min(float(width), c.x + reach + 1.0f));
    int y0 = std::max(0, int(c.y - reach));
    y0 += (row_step - y0 % row_step) % row_step;
    const int y1 = int(std::min(float(height), c.y + reach + 1.0f));
    const uint8_t region = uint8_t(c.region);
    for (int y = y0; y < y1; y += row_step) {
      const float dy = float(y) + 0.5f - c.y;
      const int row = y * width;
      for (int x = x0; x < x1; ++x) {
        const int i = row + x;
        const float dx = float(x) + 0.5f - c.x;
        const float e0 = planes[0][i] - c.color[0], e1 = planes[1][i] - c.color[1], e2 = planes[2][i] - c.color[2];
        const float far = (e0 * e0 + e1 * e1 + e2 * e2) * color_scale + (dx * dx + dy * dy) * inv;
        const bool nearer = (far < distance[i]) & (regions.of_pixel[i] == region);
        distance[i] = nearer ? far : distance[i];
        labels[i] = nearer ? int32_t(n) : labels[i];
      }
    }
  }
}

void recenter(const float* const planes[N_COLORS], const int32_t* labels, int width, int height, int row_step,
              std::vector<Seed>& seeds) {
  std::vector<double> sums(seeds.size() * 6, 0.0);
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
  for (std::size_t n = 0; n < seeds.size(); ++n) {
    const double* s = &sums[n * 6];
    if (s[5] == 0) continue;
    seeds[n].x = float(s[0] / s[5]);
    seeds[n].y = float(s[1] / s[5]);
    for (int k = 0; k < N_COLORS; ++k) seeds[n].color[k] = float(s[2 + k] / s[5]);
  }
}

// An index past an end counts backwards from it: the row before the first is the second.
int mirrored(int i, int n) { return i < 0 ? -i : i < n ? i : 2 * n - 2 - i; }

}  // namespace

void density_of(const float* picture, int width, int height, float detail, float* density) {
  const std::size_t pixels = std::size_t(width) * height;
  std::fill_n(density, pixels, 1.0f);
  if (detail == 0.0f || width < 2 || height < 2) return;
  std::vector<float> padded(std::size_t(3) * (width + 2));  // luma of three rows, mirrored at both ends
  float* rows[3];
  const auto load = [&](float* row, int y) {
    const float* from = picture + std::size_t(mirrored(y, height)) * width * N_COLORS;
    for (int x = 0; x < width; ++x) row[x + 1] = from[x * N_COLORS];
    row[0] = row[2];
    row[width + 1] = row[width - 1];
  };
  for (int k = 0; k < 3; ++k) load(rows[k] = padded.data() + k * (width + 2), k - 1);
  double sum = 0;
  for (int y = 0; y < height; ++y) {
    const float *a = rows[0], *b = rows[1], *c = rows[2];
    float* out = density + std::size_t(y) * width;
    for (int x = 0; x < width; ++x) {
      const float dx = (a[x + 2] - a[x]) + 2.0f * (b[x + 2] - b[x]) + (c[x + 2] - c[x]);
      const float dy = (c[x] - a[x]) + 2.0f * (c[x + 1] - a[x + 1]) + (c[x + 2] - a[x + 2]);
      out[x] = std::sqrt(dx * dx + dy * dy);
    }
    for (int x = 0; x < width; ++x) sum += out[x];
    std::rotate(rows, rows + 1, rows + 3);
    if (y + 1 < height) load(rows[2], y + 2);
  }
  const float floor = FLAT_DETAIL * float(sum / double(pixels)) + 1e-6f;
  for (std::size_t i = 0; i < pixels; ++i) density[i] = std::pow(density[i] + floor, detail);
}

void nearest_seeds(const float* picture, const Regions& regions, const float* density, int width, int height,
                   int iterations, int32_t* labels) {
  const std::size_t pixels = std::size_t(width) * height;
  std::vector<Seed> seeds = place_seeds(picture, regions, density, width, height);
  std::vector<float> planes(pixels * N_COLORS), distance(pixels);
  const float* plane[N_COLORS];
  for (int k = 0; k < N_COLORS; ++k) plane[k] = planes.data() + std::size_t(k) * pixels;
  for (std::size_t i = 0; i < pixels; ++i)
    for (int k = 0; k < N_COLORS; ++k) planes[std::size_t(k) * pixels + i] = picture[i * N_COLORS + k];
  for (int it = 0; it < iterations; ++it) {
    const int row_step = it + 1 < iterations ? 2 : 1;  // early rounds look at every other row
    assign(plane, regions, width, height, seeds, row_step, distance.data(), labels);
    if (it + 1 < iterations) recenter(plane, labels, width, height, row_step, seeds);
  }
}

}  // namespace gscodec
