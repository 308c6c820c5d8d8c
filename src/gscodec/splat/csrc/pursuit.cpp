#include "pursuit.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

namespace gscodec {
namespace {

constexpr double PI = 3.14159265358979;

// Natural coordinates A, B, C, D, E and the three colours; which of them a candidate moves.
enum : unsigned { MU = 0b11, SHAPE = 0b11100, LUMA = 0b100000, COLORS = 0b11100000 };
constexpr unsigned GROUPS[] = {LUMA, COLORS, MU, MU | LUMA, SHAPE, MU | SHAPE, MU | SHAPE | COLORS};

struct Candidate {
  int32_t delta[N_PARAMS];
  float gain = 0;  // expected fall of D + lambda·R
};

// Closed-form block of JᵀJ of one Gaussian in natural coordinates, without mask (DESIGN: π·l1·l3 × …).
void fill_block(const float* p, double scale, double h[N_PARAMS][N_PARAMS]) {
  std::memset(h, 0, sizeof(double) * N_PARAMS * N_PARAMS);
  const double s = PI * p[2] * p[4] * scale;
  const double c2 = double(p[5]) * p[5] + double(p[6]) * p[6] + double(p[7]) * p[7];
  h[0][0] = h[1][1] = 0.5 * c2 * s;
  h[2][2] = h[4][4] = 0.75 * c2 * s;
  h[2][4] = h[4][2] = 0.25 * c2 * s;
  h[3][3] = 0.25 * c2 * s;
  for (int k = 0; k < N_COLORS; ++k) {
    h[5 + k][5 + k] = s;
    h[2][5 + k] = h[5 + k][2] = h[4][5 + k] = h[5 + k][4] = 0.5 * p[5 + k] * s;
  }
}

// Solves the rows and columns of `group` of (h + a little on the diagonal)·x = -g; others are 0.
void solve_group(const double h[N_PARAMS][N_PARAMS], const float* g, unsigned group, double x[N_PARAMS]) {
  int index[N_PARAMS], m = 0;
  for (int j = 0; j < N_PARAMS; ++j) {
    x[j] = 0;
    if (group >> j & 1) index[m++] = j;
  }
  double a[N_PARAMS][N_PARAMS], b[N_PARAMS];
  for (int i = 0; i < m; ++i) {
    b[i] = -g[index[i]];
    for (int j = 0; j < m; ++j) a[i][j] = h[index[i]][index[j]];
    a[i][i] = a[i][i] * 1.02 + 1e-9;
  }
  for (int i = 0; i < m; ++i)  // Gaussian elimination: positive definite, so no pivoting
    for (int r = i + 1; r < m; ++r) {
      const double f = a[r][i] / a[i][i];
      for (int j = i; j < m; ++j) a[r][j] -= f * a[i][j];
      b[r] -= f * b[i];
    }
  for (int i = m - 1; i >= 0; --i) {
    for (int j = i + 1; j < m; ++j) b[i] -= a[i][j] * b[j];
    b[i] /= a[i][i];
    x[index[i]] = b[i];
  }
}

class Pursuit {
 public:
  Pursuit(Canvas& canvas, const Target& target, const SymbolArrays& arrays, int n, const RateModel& rate,
          const PursuitOptions& options)
      : canvas_(canvas), target_(target), a_(arrays), n_(n), rate_(rate), o_(options) {
    params_.resize(std::size_t(n) * N_PARAMS);
    for (int i = 0; i < n; ++i) dequantize(i);
    stiffness_.assign(n, o_.stiffness);
    stale_.assign(n, 1);
    gradient_.resize(std::size_t(n) * N_PARAMS);
    candidates_.resize(n);
    weight_.resize(n);
    e_.resize(target.picture.size());
    trial_e_.resize(target.picture.size());
    loss_.assign(canvas.n_tiles, 0);
    trial_loss_.assign(canvas.n_tiles, 0);
    taken_.assign(canvas.n_tiles, 0);
  }

  PursuitResult run() {
    PursuitResult result;
    cover();
    measure_weights();
    std::vector<uint32_t> all(canvas_.n_tiles);
    std::iota(all.begin(), all.end(), 0u);
    draw(all, e_, loss_);
    result.loss_before = total_loss();
    for (int round = 0; round < o_.rounds; ++round) {
      refresh();
      const std::vector<int> chosen = choose();
      if (chosen.empty()) break;
      result.rounds = round + 1;
      result.tried += int(chosen.size());
      result.kept += attempt(chosen);
    }
    result.loss = total_loss();
    for (int i = 0; i < n_; ++i) result.bits += bits(i, a_.symbols + std::size_t(i) * N_PARAMS);
    return result;
  }

 private:
  float* param(int i) { return &params_[std::size_t(i) * N_PARAMS]; }
  int32_t* symbol(int i) { return a_.symbols + std::size_t(i) * N_PARAMS; }
  float* tile(Tiles& tiles, uint32_t t) { return tiles.data() + std::size_t(t) * TILE_FLOATS; }
  double total_loss() const { return std::accumulate(loss_.begin(), loss_.end(), 0.0); }

  void dequantize(int i) {
    const std::size_t row = std::size_t(i) * N_PARAMS;
    for (int j = 0; j < N_PARAMS; ++j)
      params_[row + j] = float(a_.symbols[row + j] * a_.step[row + j] + a_.offset[row + j]);
    params_[row + 2] = std::max(params_[row + 2], MIN_SCALE);
    params_[row + 4] = std::max(params_[row + 4], MIN_SCALE);
  }

  float cost(int j, int distance) const {
    distance = std::abs(distance);
    if (distance < RATE_ENTRIES) return rate_.cost[j][distance];
    const float last = rate_.cost[j][RATE_ENTRIES - 1];
    return last + float(distance - RATE_ENTRIES + 1) * (last - rate_.cost[j][RATE_ENTRIES - 2]);
  }

  float bits(int i, const int32_t* s) const {
    const int32_t* base = a_.base + std::size_t(i) * N_PARAMS;
    float group[N_GROUPS] = {};
    bool moved[N_GROUPS] = {};
    for (int j = 0; j < N_PARAMS; ++j) {
      group[GROUP_OF[j]] += cost(j, s[j] - base[j]);
      moved[GROUP_OF[j]] |= s[j] != base[j];
    }
    float sum = rate_.first ? rate_.first[i] : 0.0f;
    bool any = !rate_.first;
    for (int k = 0; k < N_GROUPS; ++k) {
      any |= moved[k];
      sum += moved[k] || !rate_.first ? rate_.group_on[k] + group[k] : rate_.group_off[k];
    }
    return any ? sum : 0.0f;
  }

  void cover() {
    canvas_.prepare(params_.data(), n_, prepared_);
    canvas_.cover(prepared_, params_.data(), coverage_);
  }

  // Mean loss weight under each Gaussian: scales its block where the loss cares little.
  void measure_weights() {
    for (int t = 0; t < canvas_.n_tiles; ++t) {
      float* p = tile(e_, uint32_t(t));
      std::memcpy(p, target_.weight.data() + std::size_t(t) * TILE_PIXELS, TILE_PIXELS * sizeof(float));
      std::fill(p + TILE_PIXELS, p + 2 * TILE_PIXELS, 1.0f);
    }
    canvas_.pool.run(n_, 16, [&](int begin, int end) {
      for (int i = begin; i < end; ++i) {
        float sums[N_COLORS];
        const uint32_t first = coverage_.gaussian_begin[i];
        canvas_.kernels.gather_color(prepared_[i], coverage_.gaussian_tiles.data() + first,
                                     int(coverage_.gaussian_begin[i + 1] - first), canvas_.tiles_x, e_.data(), sums);
        weight_[i] = sums[1] > 0 ? std::max(sums[0] / sums[1], 1e-3f) : 0.0f;
      }
    });
  }

  void draw(const std::vector<uint32_t>& tiles, Tiles& e, std::vector<double>& loss) {
    canvas_.pool.run(int(tiles.size()), 16, [&](int begin, int end) {
      alignas(64) float acc[TILE_FLOATS];
      for (int k = begin; k < end; ++k) {
        const uint32_t t = tiles[k], first = coverage_.tile_begin[t];
        canvas_.kernels.accumulate(prepared_.data(), coverage_.tile_gaussians.data() + first,
                                   int(coverage_.tile_begin[t + 1] - first), int(t) % canvas_.tiles_x * TILE_W,
                                   int(t) / canvas_.tiles_x * TILE_H, acc);
        double roi = 0;
        loss[t] = canvas_.kernels.residual(acc, target_.picture.data() + std::size_t(t) * TILE_FLOATS,
                                           target_.weight.data() + std::size_t(t) * TILE_PIXELS, tile(e, t), &roi);
      }
    });
  }

  // New gradients and candidates where the picture below a Gaussian changed.
  void refresh() {
    canvas_.pool.run(n_, 16, [&](int begin, int end) {
      for (int i = begin; i < end; ++i) {
        if (!stale_[i]) continue;
        stale_[i] = 0;
        const uint32_t first = coverage_.gaussian_begin[i];
        Moments m;
        canvas_.kernels.gather(prepared_[i], coverage_.gaussian_tiles.data() + first,
                               int(coverage_.gaussian_begin[i + 1] - first), canvas_.tiles_x, e_.data(), &m);
        const float* p = param(i);
        natural_gradient(m, invert(p[2], p[3], p[4], 1.0f), &gradient_[std::size_t(i) * N_PARAMS]);
        propose(i);
      }
    });
  }

  // Symbol steps nearest to a step in natural coordinates, within bounds.
  void to_symbols(int i, const double x[N_PARAMS], unsigned group, int32_t delta[N_PARAMS]) {
    const float* p = param(i);
    const std::size_t row = std::size_t(i) * N_PARAMS;
    const double l1 = p[2], l2 = p[3], l3 = p[4];
    const double change[N_PARAMS] = {
        l1 * x[0], l2 * x[0] + l3 * x[1], l1 * x[2], l2 * x[2] + l3 * x[3], l3 * x[4], x[5], x[6], x[7]};
    for (int j = 0; j < N_PARAMS; ++j) {
      const bool moves = group >> j & 1;
      const double wanted = std::clamp(change[j] / a_.step[row + j], -1e6, 1e6);
      const int64_t next = int64_t(a_.symbols[row + j]) + (moves ? std::llrint(wanted) : 0);
      delta[j] = int32_t(std::clamp<int64_t>(next, a_.low[row + j], a_.high[row + j]) - a_.symbols[row + j]);
    }
  }

  // Expected change of the loss for a step in symbols.
  double expected(int i, const int32_t delta[N_PARAMS], const double h[N_PARAMS][N_PARAMS]) {
    const float* p = param(i);
    const float* g = &gradient_[std::size_t(i) * N_PARAMS];
    const double* step = a_.step + std::size_t(i) * N_PARAMS;
    const double l1 = p[2], l2 = p[3], l3 = p[4];
    double x[N_PARAMS];
    x[0] = delta[0] * step[0] / l1;
    x[1] = (delta[1] * step[1] - l2 * x[0]) / l3;
    x[2] = delta[2] * step[2] / l1;
    x[3] = (delta[3] * step[3] - l2 * x[2]) / l3;
    x[4] = delta[4] * step[4] / l3;
    for (int k = 5; k < N_PARAMS; ++k) x[k] = delta[k] * step[k];
    double sum = 0;
    for (int j = 0; j < N_PARAMS; ++j) {
      double row = 2 * g[j];
      for (int k = 0; k < N_PARAMS; ++k) row += h[j][k] * x[k];
      sum += row * x[j];
    }
    return sum;
  }

  void propose(int i) {
    Candidate best{};
    const int32_t* s = symbol(i);
    double h[N_PARAMS][N_PARAMS];
    fill_block(param(i), weight_[i] * stiffness_[i], h);
    const float* g = &gradient_[std::size_t(i) * N_PARAMS];
    const float now = bits(i, s);
    const auto consider = [&](const int32_t delta[N_PARAMS]) {
      int32_t next[N_PARAMS];
      bool any = false;
      for (int j = 0; j < N_PARAMS; ++j) {
        next[j] = s[j] + delta[j];
        any |= delta[j] != 0;
      }
      if (!any) return;
      const float gain = float(-expected(i, delta, h)) - o_.lambda * (bits(i, next) - now);
      if (gain <= best.gain) return;
      best.gain = gain;
      std::copy(delta, delta + N_PARAMS, best.delta);
    };
    if (weight_[i] > 0)
      for (unsigned group : GROUPS) {
        double x[N_PARAMS];
        int32_t delta[N_PARAMS];
        solve_group(h, g, group, x);
        to_symbols(i, x, group, delta);
        consider(delta);
      }
    if (o_.may_return) {
      int32_t back[N_PARAMS];
      for (int j = 0; j < N_PARAMS; ++j) back[j] = a_.base[std::size_t(i) * N_PARAMS + j] - s[j];
      consider(back);
    }
    candidates_[i] = best;
  }

  // The best candidates, best first, no two of which touch the same tile (old and new footprint).
  std::vector<int> choose() {
    std::vector<int> order;
    for (int i = 0; i < n_; ++i)
      if (candidates_[i].gain > 0.02f * o_.lambda) order.push_back(i);
    std::sort(order.begin(), order.end(), [&](int a, int b) {
      return candidates_[a].gain != candidates_[b].gain ? candidates_[a].gain > candidates_[b].gain : a < b;
    });
    std::fill(taken_.begin(), taken_.end(), 0);
    std::vector<int> chosen;
    footprints_.clear();
    for (int i : order) {
      std::vector<uint32_t> tiles(coverage_.gaussian_tiles.begin() + coverage_.gaussian_begin[i],
                                  coverage_.gaussian_tiles.begin() + coverage_.gaussian_begin[i + 1]);
      if (std::any_of(tiles.begin(), tiles.end(), [&](uint32_t t) { return taken_[t]; })) continue;
      shift(i, 1);
      append_tiles(canvas_, param(i), tiles);
      std::sort(tiles.begin(), tiles.end());
      tiles.erase(std::unique(tiles.begin(), tiles.end()), tiles.end());
      if (std::any_of(tiles.begin(), tiles.end(), [&](uint32_t t) { return taken_[t]; })) {
        shift(i, -1);
        continue;
      }
      for (uint32_t t : tiles) taken_[t] = 1;
      chosen.push_back(i);
      footprints_.push_back(std::move(tiles));
    }
    return chosen;
  }

  void shift(int i, int sign) {
    int32_t* s = symbol(i);
    for (int j = 0; j < N_PARAMS; ++j) s[j] += sign * candidates_[i].delta[j];
    dequantize(i);
  }

  // Draws the chosen changes (already made), keeps those that pay, takes the others back.
  int attempt(const std::vector<int>& chosen) {
    cover();
    std::vector<uint32_t> tiles;
    for (const auto& f : footprints_) tiles.insert(tiles.end(), f.begin(), f.end());
    draw(tiles, trial_e_, trial_loss_);
    int kept = 0;
    std::vector<char> touched(canvas_.n_tiles, 0);
    for (std::size_t c = 0; c < chosen.size(); ++c) {
      const int i = chosen[c];
      double change = 0;
      for (uint32_t t : footprints_[c]) change += trial_loss_[t] - loss_[t];
      int32_t before[N_PARAMS];
      for (int j = 0; j < N_PARAMS; ++j) before[j] = symbol(i)[j] - candidates_[i].delta[j];
      const double rate = bits(i, symbol(i)) - bits(i, before);
      stale_[i] = 1;
      if (change + o_.lambda * rate < 0) {
        ++kept;
        stiffness_[i] = std::max(1.0f, 0.9f * stiffness_[i]);
        for (uint32_t t : footprints_[c]) {
          std::memcpy(tile(e_, t), tile(trial_e_, t), TILE_FLOATS * sizeof(float));
          loss_[t] = trial_loss_[t];
          touched[t] = 1;
        }
      } else {
        stiffness_[i] *= 2.0f;
        shift(i, -1);
      }
    }
    if (kept < int(chosen.size())) cover();
    for (int i = 0; i < n_; ++i)
      for (uint32_t j = coverage_.gaussian_begin[i]; !stale_[i] && j < coverage_.gaussian_begin[i + 1]; ++j)
        stale_[i] = touched[coverage_.gaussian_tiles[j]];
    return kept;
  }

  Canvas& canvas_;
  const Target& target_;
  const SymbolArrays& a_;
  const int n_;
  const RateModel& rate_;
  const PursuitOptions& o_;
  std::vector<float> params_, gradient_, stiffness_, weight_;
  std::vector<char> stale_, taken_;
  std::vector<Candidate> candidates_;
  std::vector<std::vector<uint32_t>> footprints_;
  std::vector<Prepared> prepared_;
  Coverage coverage_;
  Tiles e_, trial_e_;
  std::vector<double> loss_, trial_loss_;
};

}  // namespace

PursuitResult pursue(Canvas& canvas, const Target& target, const SymbolArrays& arrays, int n, const RateModel& rate,
                     const PursuitOptions& options) {
  return Pursuit(canvas, target, arrays, n, rate, options).run();
}

}  // namespace gscodec
