#include "pursuit.h"

#include "splat/cpu/csrc/deadline.h"

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

// Closed-form block of JᵀJ of one Gaussian in natural coordinates, without mask (docs/fitting.md, "The cut-off").
void fill_block(const float* p, double scale, double h[N_PARAMS][N_PARAMS]) {
  std::memset(h, 0, sizeof(double) * N_PARAMS * N_PARAMS);
  const double s = PI * p[2] * p[4] * scale;
  const double c2 = double(p[5]) * p[5] + double(p[6]) * p[6] + double(p[7]) * p[7];
  h[0][0] = h[1][1] = 0.5 * c2 * s;
  h[2][2] = h[4][4] = 0.75 * c2 * s;
  h[2][4] = h[4][2] = 0.25 * c2 * s;
  h[3][3] = 0.25 * c2 * s;
  for (int k = 0; k < N_COLORS; ++k) {
    h[5 + k][5 + k] = WEIGHT_ENERGY * s;
    h[2][5 + k] = h[5 + k][2] = h[4][5 + k] = h[5 + k][4] = 0.5 * WEIGHT_ENERGY * p[5 + k] * s;
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
      : canvas_(canvas), target_(target), a_(arrays), n_(n), rate_(rate), o_(options), deadline_(options.deadline_s) {
    params_.resize(std::size_t(n) * N_PARAMS);
    for (int i = 0; i < n; ++i) dequantize(i);
    stiffness_.assign(n, o_.stiffness);
    stale_.assign(n, 1);
    gradient_.resize(std::size_t(n) * N_PARAMS);
    candidates_.resize(n);
    weight_.resize(n);
    picture_.resize(target.picture.size());
    e_.resize(target.picture.size());
    loss_.assign(canvas.n_tiles, 0);
  }

  PursuitResult run() {
    PursuitResult result;
    draw_all();
    result.loss_before = std::accumulate(loss_.begin(), loss_.end(), 0.0);
    for (int pass = 0; pass < o_.passes && result.tried < o_.max_trials && !deadline_.passed(); ++pass) {
      value_stale();
      const int kept = empty_queue(result);
      result.kept += kept;
      result.passes = pass + 1;
      if (!kept) break;
    }
    result.loss = std::accumulate(loss_.begin(), loss_.end(), 0.0);
    for (int i = 0; i < n_; ++i) result.bits += bits(i, symbol(i));
    return result;
  }

 private:
  float* param(int i) { return &params_[std::size_t(i) * N_PARAMS]; }
  int32_t* symbol(int i) { return a_.symbols + std::size_t(i) * N_PARAMS; }
  float* tile(Tiles& tiles, uint32_t t) { return tiles.data() + std::size_t(t) * TILE_FLOATS; }
  const float* weight_of(uint32_t t) { return target_.weight.data() + std::size_t(t) * TILE_PIXELS; }
  const float* target_of(uint32_t t) { return target_.picture.data() + std::size_t(t) * TILE_FLOATS; }
  int x0(uint32_t t) const { return int(t) % canvas_.tiles_x * TILE_W; }
  int y0(uint32_t t) const { return int(t) / canvas_.tiles_x * TILE_H; }

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
    if (!rate_.first && !s[5] && !s[6] && !s[7]) return 0.0f;  // an invisible Gaussian will not be coded
    return any ? sum : 0.0f;
  }

  // The picture, its residual and loss, who touches which tile, and the mean loss weight under each Gaussian,
  // which scales its block where the loss cares little.
  void draw_all() {
    Coverage coverage;
    canvas_.prepare(params_.data(), n_, prepared_);
    canvas_.cover(prepared_, params_.data(), coverage);
    tiles_of_.resize(n_);
    for (int i = 0; i < n_; ++i)
      tiles_of_[i].assign(coverage.gaussian_tiles.begin() + coverage.gaussian_begin[i],
                          coverage.gaussian_tiles.begin() + coverage.gaussian_begin[i + 1]);
    touching_.resize(canvas_.n_tiles);
    for (int t = 0; t < canvas_.n_tiles; ++t) {
      touching_[t].assign(coverage.tile_gaussians.begin() + coverage.tile_begin[t],
                          coverage.tile_gaussians.begin() + coverage.tile_begin[t + 1]);
      float* p = tile(e_, uint32_t(t));
      std::memcpy(p, weight_of(uint32_t(t)), TILE_PIXELS * sizeof(float));
      std::fill(p + TILE_PIXELS, p + 2 * TILE_PIXELS, 1.0f);
    }
    canvas_.pool.run(n_, 16, [&](int begin, int end) {
      for (int i = begin; i < end; ++i) {
        float sums[N_COLORS];
        canvas_.kernels.gather_color(prepared_[i], tiles_of_[i].data(), int(tiles_of_[i].size()), canvas_.tiles_x,
                                     e_.data(), sums);
        weight_[i] = sums[1] > 0 ? std::max(sums[0] / sums[1], 1e-3f) : 0.0f;
      }
    });
    canvas_.forward(prepared_, coverage, [&](int t, const float* acc) {
      std::memcpy(tile(picture_, uint32_t(t)), acc, TILE_FLOATS * sizeof(float));
      double roi = 0;
      loss_[t] =
          canvas_.kernels.residual(acc, target_of(uint32_t(t)), weight_of(uint32_t(t)), tile(e_, uint32_t(t)), &roi);
    });
  }

  // Where every Gaussian is coded anyway: a symbol nearer to what it is predicted to be, or no Gaussian at all.
  template <typename Consider>
  void propose_cheaper(int i, const Consider& consider) {
    const int32_t *s = symbol(i), *base = a_.base + std::size_t(i) * N_PARAMS;
    int32_t delta[N_PARAMS] = {};
    for (int j = 2; j < N_PARAMS; ++j) {
      const int away = s[j] - base[j];
      for (const int to : {away - (away > 0) + (away < 0), away / 2, 0}) {
        if (to == away) continue;
        delta[j] = to - away;
        consider(delta);
      }
      delta[j] = 0;
    }
    for (int j = 5; j < N_PARAMS; ++j) delta[j] = -s[j];
    consider(delta);
  }

  // Gradient and best candidate of one Gaussian as things stand.
  void value(int i) {
    stale_[i] = 0;
    Moments m;
    canvas_.kernels.gather(prepared_[i], tiles_of_[i].data(), int(tiles_of_[i].size()), canvas_.tiles_x, e_.data(), &m);
    const float* p = param(i);
    natural_gradient(m, invert(p[2], p[3], p[4], 1.0f), &gradient_[std::size_t(i) * N_PARAMS]);
    propose(i);
  }

  void value_stale() {
    canvas_.pool.run(n_, 16, [&](int begin, int end) {
      for (int i = begin; i < end; ++i)
        if (stale_[i]) value(i);
    });
  }

  // Tries candidates best first until none is worth it; those whose surroundings changed are valued again first.
  int empty_queue(PursuitResult& result) {
    const float least = 0.02f * o_.lambda;
    std::vector<std::pair<float, int>> queue;
    for (int i = 0; i < n_; ++i)
      if (candidates_[i].gain > least) queue.push_back({candidates_[i].gain, i});
    std::make_heap(queue.begin(), queue.end());
    int kept = 0;
    while (!queue.empty() && result.tried < o_.max_trials && !deadline_.passed()) {
      std::pop_heap(queue.begin(), queue.end());
      const int i = queue.back().second;
      queue.pop_back();
      if (stale_[i]) {
        value(i);
      } else {
        ++result.tried;
        const bool good = attempt(i);
        kept += good;
        stiffness_[i] = good ? std::max(1.0f, 0.9f * stiffness_[i]) : 2.0f * stiffness_[i];
        value(i);
      }
      if (candidates_[i].gain <= least) continue;
      queue.push_back({candidates_[i].gain, i});
      std::push_heap(queue.begin(), queue.end());
    }
    return kept;
  }

  // Makes the candidate change of Gaussian i and draws it; keeps it if D + lambda·R falls, else takes it back.
  bool attempt(int i) {
    const int32_t before[N_PARAMS] = {symbol(i)[0], symbol(i)[1], symbol(i)[2], symbol(i)[3],
                                      symbol(i)[4], symbol(i)[5], symbol(i)[6], symbol(i)[7]};
    const float bits_before = bits(i, before);
    Prepared pair[2] = {prepared_[i], {}};
    for (float& c : pair[0].color) c = -c;
    for (int j = 0; j < N_PARAMS; ++j) symbol(i)[j] += candidates_[i].delta[j];
    dequantize(i);
    canvas_.prepare_one(param(i), pair[1]);
    std::vector<uint32_t>& now = scratch_;
    now.clear();
    append_tiles(canvas_, param(i), now);
    footprint_ = tiles_of_[i];
    footprint_.insert(footprint_.end(), now.begin(), now.end());
    std::sort(footprint_.begin(), footprint_.end());
    footprint_.erase(std::unique(footprint_.begin(), footprint_.end()), footprint_.end());

    if (trial_.size() < footprint_.size() * 2 * TILE_FLOATS) trial_.resize(footprint_.size() * 2 * TILE_FLOATS);
    trial_loss_.resize(footprint_.size());
    static constexpr uint32_t BOTH[2] = {0, 1};
    double change = 0;
    for (std::size_t k = 0; k < footprint_.size(); ++k) {
      const uint32_t t = footprint_[k];
      float* acc = trial_.data() + k * 2 * TILE_FLOATS;
      canvas_.kernels.accumulate(pair, BOTH, 2, x0(t), y0(t), acc);
      const float* old = tile(picture_, t);
      for (int p = 0; p < TILE_FLOATS; ++p) acc[p] += old[p];
      double roi = 0;
      trial_loss_[k] = canvas_.kernels.residual(acc, target_of(t), weight_of(t), acc + TILE_FLOATS, &roi);
      change += trial_loss_[k] - loss_[t];
    }
    if (!(change + o_.lambda * (bits(i, symbol(i)) - bits_before) < 0)) {
      std::copy(before, before + N_PARAMS, symbol(i));
      dequantize(i);
      return false;
    }
    prepared_[i] = pair[1];
    relist(i, now);
    for (std::size_t k = 0; k < footprint_.size(); ++k) {
      const uint32_t t = footprint_[k];
      const float* acc = trial_.data() + k * 2 * TILE_FLOATS;
      std::memcpy(tile(picture_, t), acc, TILE_FLOATS * sizeof(float));
      std::memcpy(tile(e_, t), acc + TILE_FLOATS, TILE_FLOATS * sizeof(float));
      loss_[t] = trial_loss_[k];
      for (uint32_t j : touching_[t]) stale_[j] = 1;
    }
    return true;
  }

  // Gaussian i touches the tiles `now` (ascending) instead of those it touched.
  void relist(int i, const std::vector<uint32_t>& now) {
    for (uint32_t t : tiles_of_[i])
      if (!std::binary_search(now.begin(), now.end(), t)) std::erase(touching_[t], uint32_t(i));
    for (uint32_t t : now)
      if (!std::binary_search(tiles_of_[i].begin(), tiles_of_[i].end(), t)) touching_[t].push_back(uint32_t(i));
    tiles_of_[i] = now;
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
    const int32_t* base = a_.base + std::size_t(i) * N_PARAMS;
    int32_t back[N_PARAMS] = {};
    if (rate_.first) {
      for (int j = 0; j < N_PARAMS; ++j) back[j] = base[j] - s[j];
      consider(back);
    } else {
      propose_cheaper(i, consider);
    }
    candidates_[i] = best;
  }

  Canvas& canvas_;
  const Target& target_;
  const SymbolArrays& a_;
  const int n_;
  const RateModel& rate_;
  const PursuitOptions& o_;
  const Deadline deadline_;
  std::vector<float> params_, gradient_, stiffness_, weight_;
  std::vector<char> stale_;
  std::vector<Candidate> candidates_;
  std::vector<Prepared> prepared_;
  std::vector<std::vector<uint32_t>> tiles_of_, touching_;  // of a Gaussian; of a tile
  Tiles picture_, e_;                                       // the sum, and weight·(sum - target)
  std::vector<double> loss_;                                // of each tile
  // Of one attempt: tiles it may touch, their sum and residual, their loss.
  std::vector<uint32_t> footprint_, scratch_;
  Tiles trial_;
  std::vector<double> trial_loss_;
};

}  // namespace

PursuitResult pursue(Canvas& canvas, const Target& target, const SymbolArrays& arrays, int n, const RateModel& rate,
                     const PursuitOptions& options) {
  return Pursuit(canvas, target, arrays, n, rate, options).run();
}

}  // namespace gscodec
