#include "tiled_raster.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>

namespace gscodec {

void Tiles::resize(std::size_t floats) {
  if (floats == size_) return;
  const std::size_t bytes = std::max<std::size_t>(1, (floats * sizeof(float) + 63) / 64) * 64;
  data_.reset(static_cast<float*>(std::aligned_alloc(64, bytes)));
  if (!data_) throw std::bad_alloc();
  std::memset(data_.get(), 0, bytes);
  size_ = floats;
}

void Tiles::Free::operator()(float* p) const { std::free(p); }

TiledRaster::TiledRaster(int w, int h, int threads, const Kernels* k, bool is_normalised)
    : width(w),
      height(h),
      tiles_x((w + TILE_W - 1) / TILE_W),
      tiles_y((h + TILE_H - 1) / TILE_H),
      n_tiles(tiles_x * tiles_y),
      normalised(is_normalised),
      n_params(is_normalised ? MAX_PARAMS : N_PARAMS),
      kernels(*k),
      blend(is_normalised ? k->normalised : k->sum),
      pool(threads) {}

void TiledRaster::to_tiles(const float* picture, int channels, Tiles& out) const {
  out.resize(std::size_t(n_tiles) * channels * TILE_PIXELS);
  for (int t = 0; t < n_tiles; ++t) {
    const int x0 = t % tiles_x * TILE_W, y0 = t / tiles_x * TILE_H;
    const int columns = std::min(TILE_W, width - x0), rows = std::min(TILE_H, height - y0);
    float* tile = out.data() + std::size_t(t) * channels * TILE_PIXELS;
    for (int r = 0; r < rows; ++r) {
      const float* p = picture + (std::size_t(y0 + r) * width + x0) * channels;
      for (int c = 0; c < columns; ++c)
        for (int k = 0; k < channels; ++k) tile[k * TILE_PIXELS + r * TILE_W + c] = p[c * channels + k];
    }
  }
}

void TiledRaster::from_tiles(const Tiles& tiles, float* picture) const {
  for (int t = 0; t < n_tiles; ++t) {
    const int x0 = t % tiles_x * TILE_W, y0 = t / tiles_x * TILE_H;
    const int columns = std::min(TILE_W, width - x0), rows = std::min(TILE_H, height - y0);
    const float* tile = tiles.data() + std::size_t(t) * TILE_FLOATS;
    for (int r = 0; r < rows; ++r) {
      float* p = picture + (std::size_t(y0 + r) * width + x0) * N_COLORS;
      for (int c = 0; c < columns; ++c)
        for (int k = 0; k < N_COLORS; ++k) p[c * N_COLORS + k] = tile[k * TILE_PIXELS + r * TILE_W + c];
    }
  }
}

void TiledRaster::prepare_one(const float* p, Prepared& g, bool is_room) const {
  // Over a tile's rows the recurrence must not underflow where the weight comes back: gaussian.h's
  // cut-off plus the tile's height in units of l3 has to stay inside float's range of exponents.
  const float thinnest = float(TILE_H - 1) / (std::sqrt(126.0f) / LOG2_SCALE - std::sqrt(RADIUS_SQ)) * 1.02f;
  g.mean_x = p[0];
  g.mean_y = p[1];
  g.inverse = invert(p[2], p[3], p[4], LOG2_SCALE);
  g.row_ratio = std::exp2(-2.0f * g.inverse.inv_l3 * g.inverse.inv_l3);
  g.amplitude = normalised ? std::exp2(p[LOG_WEIGHT]) : 1.0f;
  for (int k = 0; k < N_COLORS; ++k) g.color[k] = p[5 + k] * g.amplitude;
  g.person = is_room ? 0.0f : g.amplitude;
  g.direct = p[4] < thinnest ? 1.0f : 0.0f;
}

void TiledRaster::prepare(const float* params, int n, std::vector<Prepared>& out, const bool* is_room) const {
  out.resize(n);
  for (int i = 0; i < n; ++i) prepare_one(params + std::size_t(i) * n_params, out[i], is_room && is_room[i]);
}

namespace {

// Clamps before converting: means may lie anywhere, and an overflow's NaN must not become an index.
int tile_of(float pixel, int size, int limit) {
  const float t = std::floor(pixel / float(size));
  return !(t > 0) ? 0 : t > float(limit) ? limit : int(t);
}

}  // namespace

// Tiles whose pixel centres an ellipse can reach, appended row of tiles by row of tiles. Within a
// row the extent in x is that of the ellipse cut to the row's centres, so a tilted needle touches few.
void append_tiles(const TiledRaster& raster, const float* p, std::vector<uint32_t>& tiles) {
  const float radius = std::sqrt(RADIUS_SQ);
  const float mx = p[0], my = p[1], l1 = p[2], l2 = p[3], l3 = p[4];
  const float var_y = l2 * l2 + l3 * l3, half_y = radius * std::sqrt(var_y), half_x = radius * l1;
  if (!(mx + half_x >= 0 && mx - half_x <= raster.width && my + half_y >= 0 && my - half_y <= raster.height)) return;
  const int row_begin = tile_of(my - half_y - 0.5f, TILE_H, raster.tiles_y - 1);
  const int row_end = tile_of(my + half_y - 0.5f, TILE_H, raster.tiles_y - 1);
  const float slope = l1 * l2 / var_y, spread = l1 * l3 / var_y, reach = RADIUS_SQ * var_y;
  const float top_of_right = radius * l2;  // dy at which the ellipse is furthest right
  for (int row = row_begin; row <= row_end; ++row) {
    const float low = std::max(float(row * TILE_H) + 0.5f - my, -half_y);
    const float high = std::min(float(row * TILE_H + TILE_H) - 0.5f - my, half_y);
    if (low > high) continue;
    const float right_dy = std::clamp(top_of_right, low, high), left_dy = std::clamp(-top_of_right, low, high);
    const float right = slope * right_dy + spread * std::sqrt(std::max(0.0f, reach - right_dy * right_dy));
    const float left = slope * left_dy - spread * std::sqrt(std::max(0.0f, reach - left_dy * left_dy));
    // Half a hundredth of a pixel covers the rounding of these few operations.
    if (mx + right < 0.495f || mx + left > float(raster.width) - 0.495f) continue;
    const int begin = tile_of(mx + left - 0.505f, TILE_W, raster.tiles_x - 1);
    const int end = tile_of(mx + right - 0.495f, TILE_W, raster.tiles_x - 1);
    for (int column = begin; column <= end; ++column) tiles.push_back(uint32_t(row * raster.tiles_x + column));
  }
}

void TiledRaster::cover(const std::vector<Prepared>& gaussians, const float* params, Coverage& out) const {
  const int n = int(gaussians.size());
  out.gaussian_begin.resize(n + 1);
  out.gaussian_tiles.clear();
  for (int i = 0; i < n; ++i) {
    out.gaussian_begin[i] = uint32_t(out.gaussian_tiles.size());
    append_tiles(*this, params + std::size_t(i) * n_params, out.gaussian_tiles);
  }
  out.gaussian_begin[n] = uint32_t(out.gaussian_tiles.size());

  out.tile_begin.assign(n_tiles + 1, 0);
  for (uint32_t t : out.gaussian_tiles) ++out.tile_begin[t + 1];
  for (int t = 0; t < n_tiles; ++t) out.tile_begin[t + 1] += out.tile_begin[t];
  out.tile_gaussians.resize(out.gaussian_tiles.size());
  for (int i = 0; i < n; ++i)
    for (uint32_t j = out.gaussian_begin[i]; j < out.gaussian_begin[i + 1]; ++j)
      out.tile_gaussians[out.tile_begin[out.gaussian_tiles[j]]++] = uint32_t(i);
  // Filling moved every begin to its end, which is the next one's begin.
  for (int t = n_tiles; t > 0; --t) out.tile_begin[t] = out.tile_begin[t - 1];
  out.tile_begin[0] = 0;
}

void TiledRaster::render(const float* params, int n, float* picture) {
  std::vector<Prepared> gaussians;
  Coverage coverage;
  Tiles tiles;
  prepare(params, n, gaussians);
  cover(gaussians, params, coverage);
  tiles.resize(std::size_t(n_tiles) * TILE_FLOATS);
  forward(gaussians, coverage,
          [&](int t, const float* acc) { blend.show(acc, tiles.data() + std::size_t(t) * TILE_FLOATS); });
  from_tiles(tiles, picture);
}

namespace {

void add_ground(float* picture, const float* ground) {
  for (int k = 0; k < N_COLORS; ++k)
    for (int i = 0; i < TILE_PIXELS; ++i) picture[k * TILE_PIXELS + i] += ground[k];
}

}  // namespace

void TiledRaster::write_tile(int t, const float* picture, const float* matrix, const float* alpha,
                             const float* background, uint8_t* rgb) const {
  const int x0 = t % tiles_x * TILE_W, y0 = t / tiles_x * TILE_H;
  const int columns = std::min(TILE_W, width - x0), rows = std::min(TILE_H, height - y0);
  alignas(64) uint8_t packed[TILE_PIXELS * N_COLORS + 1];
  kernels.to_rgb8(picture, matrix, alpha, background, packed);
  for (int r = 0; r < rows; ++r)
    std::memcpy(rgb + (std::size_t(y0 + r) * width + x0) * N_COLORS, packed + r * TILE_W * N_COLORS,
                std::size_t(columns) * N_COLORS);
}

void TiledRaster::render_rgb8(const float* params, int n, const float* matrix, const float* ground, uint8_t* rgb) {
  std::vector<Prepared> gaussians;
  Coverage coverage;
  prepare(params, n, gaussians);
  cover(gaussians, params, coverage);
  forward(gaussians, coverage, [&](int t, const float* acc) {
    alignas(64) float picture[TILE_FLOATS];
    blend.show(acc, picture);
    if (normalised) add_ground(picture, ground);
    write_tile(t, picture, matrix, nullptr, nullptr, rgb);
  });
}

void TiledRaster::render_person(const float* params, const bool* is_room, int n, const float* matrix,
                                const float* ground, const float* background, uint8_t* rgb, uint8_t* alpha) {
  std::vector<float> own;
  for (int i = 0; i < n; ++i)
    if (!is_room[i]) own.insert(own.end(), params + std::size_t(i) * n_params, params + std::size_t(i + 1) * n_params);
  std::vector<Prepared> person, everyone;
  Coverage coverage, all;
  prepare(own.data(), int(own.size()) / n_params, person);
  cover(person, own.data(), coverage);
  if (normalised) {
    prepare(params, n, everyone);
    cover(everyone, params, all);
  }
  std::vector<Prepared> masks;
  if (!normalised) {
    masks = person;
    for (Prepared& g : masks) g.color[0] = 1.0f, g.color[1] = g.color[2] = 0.0f;
  }
  forward(person, coverage, [&](int t, const float* acc) {
    const int x0 = t % tiles_x * TILE_W, y0 = t / tiles_x * TILE_H;
    const int columns = std::min(TILE_W, width - x0), rows = std::min(TILE_H, height - y0);
    alignas(64) float picture[TILE_FLOATS], weights[MAX_CHANNELS * TILE_PIXELS], share[TILE_PIXELS];
    const auto& list = normalised ? all : coverage;
    const uint32_t first = list.tile_begin[t];
    blend.accumulate((normalised ? everyone : masks).data(), list.tile_gaussians.data() + first,
                     int(list.tile_begin[t + 1] - first), x0, y0, weights);
    blend.show(acc, picture);
    if (normalised) {
      add_ground(picture, ground);
      for (int i = 0; i < TILE_PIXELS; ++i) {
        const int at = N_COLORS * TILE_PIXELS + i;  // Σ weight
        share[i] = std::clamp(acc[at] / (std::max(weights[at], 0.0f) + GROUND), 0.0f, 1.0f);
        for (int k = 0; k < N_COLORS; ++k) picture[k * TILE_PIXELS + i] *= share[i];
      }
    } else {
      for (int i = 0; i < TILE_PIXELS; ++i) share[i] = std::min(1.0f, weights[i]);
    }
    write_tile(t, picture, matrix, share, background, rgb);
    for (int r = 0; r < rows; ++r)
      for (int c = 0; c < columns; ++c)
        alpha[std::size_t(y0 + r) * width + x0 + c] = uint8_t(255.0f * share[r * TILE_W + c] + 0.5f);
  });
}

void TiledRaster::curvatures(const float* params, int n, const float* weight, Curvature* out) {
  std::vector<Prepared> gaussians;
  Coverage coverage;
  Tiles fields;
  prepare(params, n, gaussians);
  cover(gaussians, params, coverage);
  fields.resize(std::size_t(n_tiles) * N_SQUARES * TILE_PIXELS);
  forward(gaussians, coverage, [&](int t, const float* acc) {
    blend.squares(acc, weight + std::size_t(t) * TILE_PIXELS, fields.data() + std::size_t(t) * N_SQUARES * TILE_PIXELS);
  });
  pool.run(n, 16, [&](int begin, int end) {
    for (int i = begin; i < end; ++i) {
      const uint32_t first = coverage.gaussian_begin[i];
      kernels.gather_squares(gaussians[i], coverage.gaussian_tiles.data() + first,
                             int(coverage.gaussian_begin[i + 1] - first), tiles_x, fields.data(), out + i);
    }
  });
}

void TiledRaster::weights(const float* params, int n, float* out) {
  std::vector<Prepared> gaussians;
  Coverage coverage;
  prepare(params, n, gaussians);
  cover(gaussians, params, coverage);
  for (Prepared& g : gaussians) g.color[0] = g.amplitude;
  forward(gaussians, coverage, [&](int t, const float* acc) {
    const int x0 = t % tiles_x * TILE_W, y0 = t / tiles_x * TILE_H;
    const int columns = std::min(TILE_W, width - x0), rows = std::min(TILE_H, height - y0);
    for (int r = 0; r < rows; ++r) std::copy_n(acc + r * TILE_W, columns, out + std::size_t(y0 + r) * width + x0);
  });
}

void TiledRaster::gradients(const float* params, int n, const float* residual, float* out) {
  std::vector<Prepared> gaussians;
  Coverage coverage;
  Tiles slope, e;
  prepare(params, n, gaussians);
  cover(gaussians, params, coverage);
  to_tiles(residual, N_COLORS, slope);
  if (normalised) {  // by what was gathered, from by the picture: the residual of a picture that is off by that much
    e.resize(std::size_t(n_tiles) * blend.channels * TILE_PIXELS);
    forward(gaussians, coverage, [&](int t, const float* acc) {
      alignas(64) float target[TILE_FLOATS], ones[TILE_PIXELS];
      const float* p = slope.data() + std::size_t(t) * TILE_FLOATS;
      blend.show(acc, target);
      for (int i = 0; i < TILE_FLOATS; ++i) target[i] -= p[i];
      std::fill(ones, ones + TILE_PIXELS, 1.0f);
      double roi = 0;
      blend.residual(acc, {target, ones, nullptr, 0}, e.data() + std::size_t(t) * blend.channels * TILE_PIXELS, &roi);
    });
  }
  const float* from = normalised ? e.data() : slope.data();
  pool.run(n, 16, [&](int begin, int end) {
    for (int i = begin; i < end; ++i) {
      const uint32_t first = coverage.gaussian_begin[i];
      Moments m;
      blend.gather(gaussians[i], coverage.gaussian_tiles.data() + first, int(coverage.gaussian_begin[i + 1] - first),
                   tiles_x, from, &m);
      const float* p = params + std::size_t(i) * n_params;
      natural_gradient(m, invert(p[2], p[3], p[4], 1.0f), n_params, out + std::size_t(i) * n_params);
    }
  });
}

}  // namespace gscodec
