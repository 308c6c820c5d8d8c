#include "fit.h"

#include "deadline.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

namespace gscodec {

Target::Target(const Canvas& canvas, const float* picture_in, const float* weight_in)
    : width(canvas.width), height(canvas.height) {
  canvas.to_tiles(picture_in, N_COLORS, picture);
  canvas.to_tiles(weight_in, 1, weight);
  for (std::size_t i = 0; i < weight.size(); ++i) roi_pixels += weight.data()[i] > 0.5f;
}

namespace {

float* tile_of(Tiles& tiles, int t) { return tiles.data() + std::size_t(t) * TILE_FLOATS; }
const float* tile_of(const Tiles& tiles, int t) { return tiles.data() + std::size_t(t) * TILE_FLOATS; }
const float* weight_of(const Target& target, int t) { return target.weight.data() + std::size_t(t) * TILE_PIXELS; }

// The active Gaussians copied together, and the target minus what the others draw.
struct Subset {
  std::vector<uint32_t> index;
  std::vector<float> params;
  Tiles rest;  // target - Σ inactive; unused when all are active
  const Tiles* target;

  Subset(Canvas& canvas, const Target& full, const float* all, int n, const uint32_t* active, int n_active) {
    if (active) {
      index.assign(active, active + n_active);
    } else {
      index.resize(n);
      std::iota(index.begin(), index.end(), 0u);
    }
    params.resize(index.size() * N_PARAMS);
    for (std::size_t i = 0; i < index.size(); ++i)
      std::memcpy(&params[i * N_PARAMS], all + std::size_t(index[i]) * N_PARAMS, N_PARAMS * sizeof(float));
    target = &full.picture;
    if (int(index.size()) < n) subtract_others(canvas, full, all, n);
  }

  void subtract_others(Canvas& canvas, const Target& full, const float* all, int n) {
    std::vector<char> is_active(n, 0);
    for (uint32_t i : index) is_active[i] = 1;
    std::vector<float> others;
    for (int i = 0; i < n; ++i)
      if (!is_active[i])
        others.insert(others.end(), all + std::size_t(i) * N_PARAMS, all + std::size_t(i + 1) * N_PARAMS);
    std::vector<Prepared> prepared;
    Coverage coverage;
    canvas.prepare(others.data(), int(others.size() / N_PARAMS), prepared);
    canvas.cover(prepared, others.data(), coverage);
    rest.resize(full.picture.size());
    canvas.forward(prepared, coverage, [&](int t, const float* acc) {
      const float* from = tile_of(full.picture, t);
      float* to = tile_of(rest, t);
      for (int i = 0; i < TILE_FLOATS; ++i) to[i] = from[i] - acc[i];
    });
    target = &rest;
  }

  void write_back(float* all) const {
    for (std::size_t i = 0; i < index.size(); ++i)
      std::memcpy(all + std::size_t(index[i]) * N_PARAMS, &params[i * N_PARAMS], N_PARAMS * sizeof(float));
  }

  int size() const { return int(index.size()); }
};

// A Gaussian of NaN draws nothing, so the loss alone would not show it.
bool all_finite(const std::vector<float>& params) {
  return std::all_of(params.begin(), params.end(), [](float x) { return std::isfinite(x); });
}

// Adam's memory of one Gaussian.
struct Momentum {
  float m[N_PARAMS], v[N_PARAMS];
};

// The natural gradient of a Gaussian p as the one with respect to (mean, L).
void to_plain(const float* p, float g[N_PARAMS]) {
  const float inv_l1 = 1 / p[2], inv_l3 = 1 / p[4], l2 = p[3];
  g[1] *= inv_l3;
  g[0] = (g[0] - l2 * g[1]) * inv_l1;
  g[3] *= inv_l3;
  g[2] = (g[2] - l2 * g[3]) * inv_l1;
  g[4] *= inv_l3;
}

void step(float* p, Momentum& a, const float* gradient, const FitOptions& o, float rate, float fix1, float fix2,
          float limit) {
  float d[N_PARAMS];
  for (int j = 0; j < N_PARAMS; ++j) {
    a.m[j] += (1 - o.beta1) * (gradient[j] - a.m[j]);
    a.v[j] += (1 - o.beta2) * (gradient[j] * gradient[j] - a.v[j]);
    const float scale = j < 2 ? o.rate_mean : j < 5 ? o.rate_shape : o.rate_color;
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
}

}  // namespace

FitResult fit(Canvas& canvas, const Target& target, float* params, int n, const uint32_t* active, int n_active,
              const FitOptions& o, const Project& project) {
  Subset subset(canvas, target, params, n, active, n_active);
  const int count = subset.size();
  std::vector<Prepared> gaussians;
  Coverage coverage;
  std::vector<Momentum> momentum(count, Momentum{});
  Tiles e;
  e.resize(target.picture.size());
  std::vector<double> tile_loss(canvas.n_tiles), tile_roi(canvas.n_tiles);
  std::vector<char> drawn(canvas.n_tiles, 1);  // tiles whose loss may have changed since last time
  const float limit = float(std::max(canvas.width, canvas.height));
  FitResult result;
  double loss_before = 0;
  const Deadline deadline(o.deadline_s);
  std::vector<float> projected(project ? subset.params.size() : 0), gradients(projected.size());

  for (int it = 0;; ++it) {
    if (project) project(subset.params.data(), gradients.data(), projected.data());
    const float* drawn_params = project ? projected.data() : subset.params.data();
    canvas.prepare(drawn_params, count, gaussians);
    canvas.cover(gaussians, drawn_params, coverage);
    canvas.pool.run(canvas.n_tiles, 32, [&](int begin, int end) {
      alignas(64) float acc[TILE_FLOATS];
      for (int t = begin; t < end; ++t) {
        const uint32_t first = coverage.tile_begin[t];
        const int length = int(coverage.tile_begin[t + 1] - first);
        if (!length && !drawn[t]) continue;
        drawn[t] = length != 0;
        canvas.kernels.accumulate(gaussians.data(), coverage.tile_gaussians.data() + first, length,
                                  t % canvas.tiles_x * TILE_W, t / canvas.tiles_x * TILE_H, acc);
        tile_roi[t] = 0;
        tile_loss[t] =
            canvas.kernels.residual(acc, tile_of(*subset.target, t), weight_of(target, t), tile_of(e, t), &tile_roi[t]);
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
    const float rate = o.final_rate + (1 - o.final_rate) * 0.5f * (1 + std::cos(3.14159265f * phase));
    const float fix1 = 1 / (1 - std::pow(o.beta1, float(it + 1))), fix2 = 1 / (1 - std::pow(o.beta2, float(it + 1)));
    canvas.pool.run(count, 16, [&](int begin, int end) {
      for (int i = begin; i < end; ++i) {
        const uint32_t first = coverage.gaussian_begin[i];
        Moments m;
        canvas.kernels.gather(gaussians[i], coverage.gaussian_tiles.data() + first,
                              int(coverage.gaussian_begin[i + 1] - first), canvas.tiles_x, e.data(), &m);
        const float* p = drawn_params + std::size_t(i) * N_PARAMS;
        float gradient[N_PARAMS];
        natural_gradient(m, invert(p[2], p[3], p[4], 1.0f), gradient);
        if (!o.natural) to_plain(p, gradient);
        step(&subset.params[std::size_t(i) * N_PARAMS], momentum[i], gradient, o, rate, fix1, fix2, limit);
        if (project) {
          if (o.natural) to_plain(p, gradient);
          std::copy_n(gradient, N_PARAMS, &gradients[std::size_t(i) * N_PARAMS]);
        }
      }
    });
  }
  subset.write_back(params);
  return result;
}

double loss(Canvas& canvas, const Target& target, const float* params, int n) {
  std::vector<Prepared> gaussians;
  Coverage coverage;
  canvas.prepare(params, n, gaussians);
  canvas.cover(gaussians, params, coverage);
  std::vector<double> tile_loss(canvas.n_tiles);
  canvas.forward(gaussians, coverage, [&](int t, const float* acc) {
    alignas(64) float e[TILE_FLOATS];
    double roi = 0;
    tile_loss[t] = canvas.kernels.residual(acc, tile_of(target.picture, t), weight_of(target, t), e, &roi);
  });
  return std::accumulate(tile_loss.begin(), tile_loss.end(), 0.0);
}

void rest(Canvas& canvas, const Target& target, const float* params, int n, float* out) {
  std::vector<Prepared> gaussians;
  Coverage coverage;
  canvas.prepare(params, n, gaussians);
  canvas.cover(gaussians, params, coverage);
  canvas.forward(gaussians, coverage, [&](int t, const float* acc) {
    const int x0 = t % canvas.tiles_x * TILE_W, y0 = t / canvas.tiles_x * TILE_H;
    const int columns = std::min(TILE_W, canvas.width - x0), rows = std::min(TILE_H, canvas.height - y0);
    const float *picture = tile_of(target.picture, t), *weight = weight_of(target, t);
    for (int r = 0; r < rows; ++r) {
      float* p = out + (std::size_t(y0 + r) * canvas.width + x0) * 4;
      for (int c = 0, i = r * TILE_W; c < columns; ++c, ++i, p += 4) {
        for (int k = 0; k < N_COLORS; ++k) p[k] = picture[k * TILE_PIXELS + i] - acc[k * TILE_PIXELS + i];
        p[3] = weight[i];
      }
    }
  });
}

double solve_colors(Canvas& canvas, const Target& target, float* params, int n, const uint32_t* active, int n_active,
                    int sweeps, float ridge) {
  Subset subset(canvas, target, params, n, active, n_active);
  const int count = subset.size();
  std::vector<Prepared> gaussians;
  Coverage coverage;
  canvas.prepare(subset.params.data(), count, gaussians);
  canvas.cover(gaussians, subset.params.data(), coverage);
  Tiles e;
  e.resize(target.picture.size());
  const auto transpose = [&](std::vector<float>& out) {  // Bᵀ·e
    canvas.pool.run(count, 16, [&](int begin, int end) {
      for (int i = begin; i < end; ++i) {
        const uint32_t first = coverage.gaussian_begin[i];
        canvas.kernels.gather_color(gaussians[i], coverage.gaussian_tiles.data() + first,
                                    int(coverage.gaussian_begin[i + 1] - first), canvas.tiles_x, e.data(),
                                    &out[std::size_t(i) * N_COLORS]);
      }
    });
  };

  // Σ weight·w_n: twice the diagonal of BᵀWB for a Gaussian inside the picture.
  for (int t = 0; t < canvas.n_tiles; ++t)
    std::memcpy(tile_of(e, t), weight_of(target, t), TILE_PIXELS * sizeof(float));
  const std::size_t size = std::size_t(count) * N_COLORS;
  std::vector<float> r(size), p(size), q(size);
  transpose(q);
  std::vector<float> diagonal(count);
  for (int i = 0; i < count; ++i) diagonal[i] = 0.5f * q[std::size_t(i) * N_COLORS] + 1e-3f;

  double loss = 0;
  std::vector<double> tile_loss(canvas.n_tiles);
  canvas.forward(gaussians, coverage, [&](int t, const float* acc) {
    double roi = 0;
    tile_loss[t] = canvas.kernels.residual(acc, tile_of(*subset.target, t), weight_of(target, t), tile_of(e, t), &roi);
  });
  loss = std::accumulate(tile_loss.begin(), tile_loss.end(), 0.0);
  transpose(r);
  for (float& x : r) x = -x;

  double rho[N_COLORS] = {0, 0, 0};
  for (int s = 0; s < sweeps; ++s) {
    double rho_new[N_COLORS] = {0, 0, 0};
    for (std::size_t j = 0; j < size; ++j) rho_new[j % 3] += double(r[j]) * r[j] / diagonal[j / 3];
    float beta[N_COLORS];
    for (int k = 0; k < N_COLORS; ++k) beta[k] = s && rho[k] > 0 ? float(rho_new[k] / rho[k]) : 0.0f;
    for (std::size_t j = 0; j < size; ++j) p[j] = r[j] / diagonal[j / 3] + beta[j % 3] * p[j];
    std::copy(rho_new, rho_new + N_COLORS, rho);
    for (int i = 0; i < count; ++i)
      std::memcpy(gaussians[i].color, &p[std::size_t(i) * N_COLORS], sizeof gaussians[i].color);
    canvas.forward(gaussians, coverage, [&](int t, const float* acc) {
      const float* w = weight_of(target, t);
      float* to = tile_of(e, t);
      for (int k = 0; k < N_COLORS; ++k)
        for (int i = 0; i < TILE_PIXELS; ++i) to[k * TILE_PIXELS + i] = w[i] * acc[k * TILE_PIXELS + i];
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
      subset.params[j / 3 * N_PARAMS + 5 + j % 3] += alpha[j % 3] * p[j];
      r[j] -= alpha[j % 3] * q[j];
    }
  }
  subset.write_back(params);
  return loss;
}

}  // namespace gscodec
