#include "fit.h"

#include "deadline.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

namespace gscodec {

Target::Target(const TiledRaster& raster, const float* picture_in, const float* weight_in, const float* matte_in,
               float matte_weight_in)
    : width(raster.width), height(raster.height), matte_weight(matte_weight_in) {
  if (matte_in) {
    raster.to_tiles(matte_in, 1, matte);
    for (int t = 0; t < raster.n_tiles; ++t)  // what lies beyond the picture has no weight there either
      for (int i = 0; i < TILE_PIXELS; ++i)
        if (t % raster.tiles_x * TILE_W + i % TILE_W >= width || t / raster.tiles_x * TILE_H + i / TILE_W >= height)
          matte.data()[std::size_t(t) * TILE_PIXELS + i] = OUTSIDE;
  }
  raster.to_tiles(picture_in, N_COLORS, picture);
  raster.to_tiles(weight_in, 1, weight);
  for (std::size_t i = 0; i < weight.size(); ++i) roi_pixels += weight.data()[i] > 0.5f;
}

namespace {}  // namespace

TileTarget Target::tile(int t) const {
  const std::size_t pixel = std::size_t(t) * TILE_PIXELS;
  return {picture.data() + std::size_t(t) * TILE_FLOATS, weight.data() + pixel,
          has_matte() ? matte.data() + pixel : nullptr, matte_weight};
}

namespace {

const float* target_of(const Target& target, int t) { return target.picture.data() + std::size_t(t) * TILE_FLOATS; }
const float* weight_of(const Target& target, int t) { return target.weight.data() + std::size_t(t) * TILE_PIXELS; }
float* tile_of(Tiles& tiles, int t, int floats) { return tiles.data() + std::size_t(t) * floats; }

// The active Gaussians copied together, and what the others add to every tile.
struct Subset {
  std::vector<uint32_t> index;
  std::vector<float> params;
  int stride;
  int floats;  // of a tile's sums
  std::unique_ptr<bool[]> is_room;
  Tiles others;  // empty when all are active

  Subset(TiledRaster& raster, const BlendKernels& passes, const float* all, const bool* rooms, int n,
         const uint32_t* active, int n_active)
      : stride(raster.n_params), floats(passes.channels * TILE_PIXELS) {
    if (active) {
      index.assign(active, active + n_active);
    } else {
      index.resize(n);
      std::iota(index.begin(), index.end(), 0u);
    }
    params.resize(index.size() * stride);
    for (std::size_t i = 0; i < index.size(); ++i)
      std::memcpy(&params[i * stride], all + std::size_t(index[i]) * stride, stride * sizeof(float));
    is_room.reset(new bool[index.size() + 1]{});
    for (std::size_t i = 0; rooms && i < index.size(); ++i) is_room[i] = rooms[index[i]];
    if (int(index.size()) < n) draw_others(raster, passes, all, rooms, n);
  }

  void draw_others(TiledRaster& raster, const BlendKernels& passes, const float* all, const bool* rooms, int n) {
    std::vector<char> is_active(n, 0);
    for (uint32_t i : index) is_active[i] = 1;
    std::vector<float> fixed;
    std::unique_ptr<bool[]> fixed_rooms(new bool[n + 1]{});
    int n_fixed = 0;
    for (int i = 0; i < n; ++i) {
      if (is_active[i]) continue;
      fixed.insert(fixed.end(), all + std::size_t(i) * stride, all + std::size_t(i + 1) * stride);
      fixed_rooms[n_fixed++] = rooms && rooms[i];
    }
    std::vector<Prepared> prepared;
    Coverage coverage;
    raster.prepare(fixed.data(), n_fixed, prepared, fixed_rooms.get());
    raster.cover(prepared, fixed.data(), coverage);
    others.resize(std::size_t(raster.n_tiles) * floats);
    raster.forward(passes, prepared, coverage,
                   [&](int t, const float* acc) { std::copy_n(acc, floats, tile_of(others, t, floats)); });
  }

  void add_others(int t, float* acc) const {
    if (!others.size()) return;
    const float* from = others.data() + std::size_t(t) * floats;
    for (int i = 0; i < floats; ++i) acc[i] += from[i];
  }

  void write_back(float* all) const {
    for (std::size_t i = 0; i < index.size(); ++i)
      std::memcpy(all + std::size_t(index[i]) * stride, &params[i * stride], stride * sizeof(float));
  }

  int size() const { return int(index.size()); }
};

// A Gaussian of NaN draws nothing, so the loss alone would not show it.
bool all_finite(const std::vector<float>& params) {
  return std::all_of(params.begin(), params.end(), [](float x) { return std::isfinite(x); });
}

// Adam's memory of one Gaussian.
struct Momentum {
  float m[MAX_PARAMS], v[MAX_PARAMS];
};

// The natural gradient of a Gaussian p as the one with respect to (mean, L).
void to_plain(const float* p, float* g) {
  const float inv_l1 = 1 / p[2], inv_l3 = 1 / p[4], l2 = p[3];
  g[1] *= inv_l3;
  g[0] = (g[0] - l2 * g[1]) * inv_l1;
  g[3] *= inv_l3;
  g[2] = (g[2] - l2 * g[3]) * inv_l1;
  g[4] *= inv_l3;
}

void step(float* p, int n_params, Momentum& a, const float* gradient, const FitOptions& o, float rate, float fix1,
          float fix2, float limit) {
  float d[MAX_PARAMS];
  for (int j = 0; j < n_params; ++j) {
    a.m[j] += (1 - o.beta1) * (gradient[j] - a.m[j]);
    a.v[j] += (1 - o.beta2) * (gradient[j] * gradient[j] - a.v[j]);
    const float scale = j < 2 ? o.rate_mean : j < 5 ? o.rate_shape : j < LOG_WEIGHT ? o.rate_color : o.rate_weight;
    d[j] = -rate * scale * (a.m[j] * fix1) / (std::sqrt(a.v[j] * fix2) + 1e-6f);
  }
  if (o.natural) {
    const float l1 = p[2], l2 = p[3], l3 = p[4];
    p[0] += l1 * d[0];
    p[1] += l2 * d[0] + l3 * d[1];
    const float grow1 = std::exp(d[2]), grow3 = std::exp(d[4]);
    p[2] = l1 * grow1;
    p[3] = l2 * grow1 + l3 * d[3];
    p[4] = l3 * grow3;
  } else {
    for (int j = 0; j < 5; ++j) p[j] += d[j];
  }
  p[2] = std::clamp(p[2], MIN_SCALE, limit);
  p[3] = std::clamp(p[3], -limit, limit);
  p[4] = std::clamp(p[4], MIN_SCALE, limit);
  for (int k = 0; k < N_COLORS; ++k) p[5 + k] += d[5 + k];
  if (n_params > LOG_WEIGHT) p[LOG_WEIGHT] = std::clamp(p[LOG_WEIGHT] + d[LOG_WEIGHT], -MAX_LOG_WEIGHT, MAX_LOG_WEIGHT);
}

}  // namespace

FitResult fit(TiledRaster& raster, const Target& target, float* params, int n, const bool* is_room,
              const uint32_t* active, int n_active, const FitOptions& o, const Project& project) {
  const BlendKernels& passes = passes_for(raster, target);
  Subset subset(raster, passes, params, is_room, n, active, n_active);
  const int count = subset.size(), stride = raster.n_params, floats = subset.floats;
  std::vector<Prepared> gaussians;
  Coverage coverage;
  std::vector<Momentum> momentum(count, Momentum{});
  Tiles e;
  e.resize(std::size_t(raster.n_tiles) * floats);
  std::vector<double> tile_loss(raster.n_tiles), tile_roi(raster.n_tiles);
  std::vector<char> drawn(raster.n_tiles, 1);  // tiles whose loss may have changed since last time
  const float limit = float(std::max(raster.width, raster.height));
  FitResult result;
  double loss_before = 0;
  const Deadline deadline(o.deadline_s);
  std::vector<float> projected(project ? subset.params.size() : 0), gradients(projected.size());

  for (int it = 0;; ++it) {
    if (project) project(subset.params.data(), gradients.data(), projected.data());
    const float* drawn_params = project ? projected.data() : subset.params.data();
    raster.prepare(drawn_params, count, gaussians, subset.is_room.get());
    raster.cover(gaussians, drawn_params, coverage);
    raster.pool.run(raster.n_tiles, 32, [&](int begin, int end) {
      alignas(64) float acc[MAX_CHANNELS * TILE_PIXELS];
      for (int t = begin; t < end; ++t) {
        const uint32_t first = coverage.tile_begin[t];
        const int length = int(coverage.tile_begin[t + 1] - first);
        if (!length && !drawn[t]) continue;
        drawn[t] = length != 0;
        passes.accumulate(gaussians.data(), coverage.tile_gaussians.data() + first, length, t % raster.tiles_x * TILE_W,
                          t / raster.tiles_x * TILE_H, acc);
        subset.add_others(t, acc);
        tile_roi[t] = 0;
        tile_loss[t] = passes.residual(acc, target.tile(t), tile_of(e, t, floats), &tile_roi[t]);
      }
    });
    result.iterations = it;
    result.loss = std::accumulate(tile_loss.begin(), tile_loss.end(), 0.0);
    result.roi_mse =
        std::accumulate(tile_roi.begin(), tile_roi.end(), 0.0) / std::max(1.0, target.roi_pixels * N_COLORS);
    if (!std::isfinite(result.loss) || !all_finite(subset.params)) {
      result.finite = false;
      return result;
    }
    if (it >= o.iterations || (o.target_mse > 0 && result.roi_mse <= o.target_mse) || deadline.passed()) break;
    if (o.plateau > 0 && it % 10 == 0) {
      if (it > 0 && loss_before - result.loss < o.plateau * loss_before) break;
      loss_before = result.loss;
    }
    const float phase = float(it) / float(std::max(1, o.iterations));
    const float rate = o.final_rate + (1 - o.final_rate) * 0.5f * (1 + std::cos(PI * phase));
    const float fix1 = 1 / (1 - std::pow(o.beta1, float(it + 1))), fix2 = 1 / (1 - std::pow(o.beta2, float(it + 1)));
    raster.pool.run(count, 16, [&](int begin, int end) {
      for (int i = begin; i < end; ++i) {
        const uint32_t first = coverage.gaussian_begin[i];
        Moments m;
        passes.gather(gaussians[i], coverage.gaussian_tiles.data() + first, int(coverage.gaussian_begin[i + 1] - first),
                      raster.tiles_x, e.data(), &m);
        const std::size_t row = std::size_t(i) * stride;
        const float* p = drawn_params + row;
        float gradient[MAX_PARAMS];
        natural_gradient(m, invert(p[2], p[3], p[4], 1.0f), stride, gradient);
        if (!o.natural) to_plain(p, gradient);
        step(&subset.params[row], stride, momentum[i], gradient, o, rate, fix1, fix2, limit);
        if (project) {
          if (o.natural) to_plain(p, gradient);
          std::copy_n(gradient, stride, &gradients[row]);
        }
      }
    });
  }
  subset.write_back(params);
  return result;
}

double loss(TiledRaster& raster, const Target& target, const float* params, int n) {
  std::vector<Prepared> gaussians;
  Coverage coverage;
  raster.prepare(params, n, gaussians);
  raster.cover(gaussians, params, coverage);
  std::vector<double> tile_loss(raster.n_tiles);
  raster.forward(gaussians, coverage, [&](int t, const float* acc) {
    alignas(64) float e[MAX_CHANNELS * TILE_PIXELS];
    double roi = 0;
    tile_loss[t] = raster.blend.residual(acc, target.tile(t), e, &roi);
  });
  return std::accumulate(tile_loss.begin(), tile_loss.end(), 0.0);
}

void residual(TiledRaster& raster, const Target& target, const float* params, int n, float* out) {
  std::vector<Prepared> gaussians;
  Coverage coverage;
  raster.prepare(params, n, gaussians);
  raster.cover(gaussians, params, coverage);
  raster.forward(gaussians, coverage, [&](int t, const float* acc) {
    const int x0 = t % raster.tiles_x * TILE_W, y0 = t / raster.tiles_x * TILE_H;
    const int columns = std::min(TILE_W, raster.width - x0), rows = std::min(TILE_H, raster.height - y0);
    const float *picture = target_of(target, t), *weight = weight_of(target, t);
    alignas(64) float shown[TILE_FLOATS];
    raster.blend.show(acc, shown);
    for (int r = 0; r < rows; ++r) {
      float* p = out + (std::size_t(y0 + r) * raster.width + x0) * 4;
      for (int c = 0, i = r * TILE_W; c < columns; ++c, ++i, p += 4) {
        for (int k = 0; k < N_COLORS; ++k) p[k] = picture[k * TILE_PIXELS + i] - shown[k * TILE_PIXELS + i];
        p[3] = weight[i];
      }
    }
  });
}

// The picture is linear in the colours whatever the blend: φ·c with φ = w, or w over the sum of all weights.
double solve_colors(TiledRaster& raster, const Target& target, float* params, int n, const uint32_t* active,
                    int n_active, int sweeps, float ridge) {
  Subset subset(raster, raster.blend, params, nullptr, n, active, n_active);
  const int count = subset.size(), stride = raster.n_params, floats = subset.floats;
  std::vector<Prepared> gaussians;
  Coverage coverage;
  raster.prepare(subset.params.data(), count, gaussians);
  raster.cover(gaussians, subset.params.data(), coverage);
  Tiles e, squares;
  e.resize(std::size_t(raster.n_tiles) * floats);
  squares.resize(std::size_t(raster.n_tiles) * N_SQUARES * TILE_PIXELS);
  const auto tiles_of = [&](int i) { return coverage.gaussian_tiles.data() + coverage.gaussian_begin[i]; };
  const auto n_tiles_of = [&](int i) { return int(coverage.gaussian_begin[i + 1] - coverage.gaussian_begin[i]); };
  const auto transpose = [&](std::vector<float>& out) {  // Bᵀ·e
    raster.pool.run(count, 16, [&](int begin, int end) {
      for (int i = begin; i < end; ++i)
        raster.blend.gather_color(gaussians[i], tiles_of(i), n_tiles_of(i), raster.tiles_x, e.data(),
                                  &out[std::size_t(i) * N_COLORS]);
    });
  };

  const std::size_t size = std::size_t(count) * N_COLORS;
  std::vector<float> r(size), p(size), q(size), diagonal(count);
  if (!raster.normalised) {  // half of Σ weight·w, which is the diagonal of BᵀWB for a Gaussian inside the picture
    for (int t = 0; t < raster.n_tiles; ++t) std::copy_n(weight_of(target, t), TILE_PIXELS, tile_of(e, t, floats));
    transpose(q);
    for (int i = 0; i < count; ++i) diagonal[i] = 0.5f * q[std::size_t(i) * N_COLORS] + 1e-3f;
  }

  double loss = 0;
  std::vector<double> tile_loss(raster.n_tiles);
  raster.forward(gaussians, coverage, [&](int t, const float* drawn) {
    alignas(64) float acc[MAX_CHANNELS * TILE_PIXELS];
    std::copy_n(drawn, floats, acc);
    subset.add_others(t, acc);
    double roi = 0;
    tile_loss[t] = raster.blend.residual(acc, target.tile(t), tile_of(e, t, floats), &roi);
    raster.blend.squares(acc, weight_of(target, t), tile_of(squares, t, N_SQUARES * TILE_PIXELS));
  });
  loss = std::accumulate(tile_loss.begin(), tile_loss.end(), 0.0);
  transpose(r);
  for (float& x : r) x = -x;
  raster.pool.run(raster.normalised ? count : 0, 16, [&](int begin, int end) {
    for (int i = begin; i < end; ++i) {
      Curvature sums;
      raster.kernels.gather_squares(gaussians[i], tiles_of(i), n_tiles_of(i), raster.tiles_x, squares.data(), &sums);
      diagonal[i] = sums.area + 1e-3f;
    }
  });

  double rho[N_COLORS] = {0, 0, 0};
  for (int s = 0; s < sweeps; ++s) {
    double rho_new[N_COLORS] = {0, 0, 0};
    for (std::size_t j = 0; j < size; ++j) rho_new[j % 3] += double(r[j]) * r[j] / diagonal[j / 3];
    float beta[N_COLORS];
    for (int k = 0; k < N_COLORS; ++k) beta[k] = s && rho[k] > 0 ? float(rho_new[k] / rho[k]) : 0.0f;
    for (std::size_t j = 0; j < size; ++j) p[j] = r[j] / diagonal[j / 3] + beta[j % 3] * p[j];
    std::copy(rho_new, rho_new + N_COLORS, rho);
    for (int i = 0; i < count; ++i)
      for (int k = 0; k < N_COLORS; ++k)
        gaussians[i].color[k] = p[std::size_t(i) * N_COLORS + k] * gaussians[i].amplitude;
    raster.forward(gaussians, coverage, [&](int t, const float* acc) {
      const float* m = tile_of(squares, t, N_SQUARES * TILE_PIXELS);  // weight over the sum of weights squared
      float* to = tile_of(e, t, floats);
      for (int k = 0; k < N_COLORS; ++k)
        for (int i = 0; i < TILE_PIXELS; ++i) to[k * TILE_PIXELS + i] = m[i] * acc[k * TILE_PIXELS + i];
    });
    transpose(q);
    double curvature[N_COLORS] = {0, 0, 0};
    for (std::size_t j = 0; j < size; ++j) {
      q[j] += ridge * diagonal[j / 3] * p[j];
      curvature[j % 3] += double(p[j]) * q[j];
    }
    float alpha[N_COLORS];
    for (int k = 0; k < N_COLORS; ++k) alpha[k] = curvature[k] > 0 ? float(rho[k] / curvature[k]) : 0.0f;
    for (std::size_t j = 0; j < size; ++j) {
      subset.params[j / 3 * stride + 5 + j % 3] += alpha[j % 3] * p[j];
      r[j] -= alpha[j % 3] * q[j];
    }
  }
  subset.write_back(params);
  return loss;
}

}  // namespace gscodec
