#include "pursuit.h"

#include "splat/cpu/csrc/deadline.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

namespace gscodec {
namespace {

// Natural coordinates A, B, C, D, E, the three colours and the log-weight; which of them a candidate moves.
enum : unsigned { MU = 0b11, SHAPE = 0b11100, LUMA = 0b100000, COLORS = 0b11100000, WEIGHT = 0b100000000 };
constexpr unsigned GROUPS[] = {
    LUMA, COLORS, MU, MU | LUMA, SHAPE, MU | SHAPE, MU | SHAPE | COLORS, WEIGHT, WEIGHT | COLORS, WEIGHT | MU | SHAPE,
};
constexpr float MAX_STIFFNESS = 1e4f;  // from here on a Gaussian's candidates have failed too often

using Block = double[MAX_PARAMS][MAX_PARAMS];

struct Candidate {
  int32_t delta[MAX_PARAMS];
  float gain = 0;  // expected fall of D + lambda·R
};

// JᵀJ of one Gaussian in natural coordinates, gathered (kernels.h, Curvature). What mixes colours with geometry is
// taken from integrals over a Gaussian that nothing clips (docs/fitting.md, "The cut-off").
void fill_block(const float* p, int n_params, const Curvature& s, double stiffness, Block& h) {
  std::memset(h, 0, sizeof(Block));
  h[0][0] = stiffness * s.uu;
  h[1][1] = stiffness * s.vv;
  h[2][2] = stiffness * s.uuuu;
  h[4][4] = stiffness * s.vvvv;
  h[3][3] = h[2][4] = h[4][2] = stiffness * s.uuvv;
  for (int k = 0; k < N_COLORS; ++k) {
    const double contrast = stiffness * (s.area * p[5 + k] - s.pull[k]);  // Σ m·w²·(colour - picture)
    h[5 + k][5 + k] = stiffness * s.area;
    h[2][5 + k] = h[5 + k][2] = h[4][5 + k] = h[5 + k][4] = 0.5 * contrast;
    if (n_params > LOG_WEIGHT) h[LOG_WEIGHT][5 + k] = h[5 + k][LOG_WEIGHT] = LN2 * contrast;
  }
  if (n_params <= LOG_WEIGHT) return;
  h[LOG_WEIGHT][LOG_WEIGHT] = LN2 * LN2 * stiffness * s.weight;
  h[LOG_WEIGHT][2] = h[2][LOG_WEIGHT] = h[LOG_WEIGHT][4] = h[4][LOG_WEIGHT] = 0.5 * LN2 * stiffness * s.weight;
}

// Solves the rows and columns of `group` of (h + a little on the diagonal)·x = -g; others are 0.
void solve_group(const Block& h, const float* g, unsigned group, double x[MAX_PARAMS]) {
  int index[MAX_PARAMS], m = 0;
  for (int j = 0; j < MAX_PARAMS; ++j) {
    x[j] = 0;
    if (group >> j & 1) index[m++] = j;
  }
  double a[MAX_PARAMS][MAX_PARAMS], b[MAX_PARAMS];
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
  Pursuit(TiledRaster& raster, const Target& target, const SymbolArrays& arrays, const bool* is_room, int n,
          const OtherGaussians& others, const RateModel& rate, const PursuitOptions& options)
      : raster_(raster),
        passes_(passes_for(raster, target)),
        target_(target),
        a_(arrays),
        is_room_(is_room),
        n_(n),
        n_params_(raster.n_params),
        acc_floats_(passes_.channels * TILE_PIXELS),
        rate_(rate),
        o_(options),
        deadline_(options.deadline_s) {
    params_.resize(std::size_t(n) * n_params_);
    for (int i = 0; i < n; ++i) dequantize(i);
    stiffness_.assign(n, o_.stiffness);
    stale_.assign(n, 1);
    gradient_.resize(std::size_t(n) * n_params_);
    candidates_.resize(n);
    curvature_.resize(n);
    sums_.resize(std::size_t(raster.n_tiles) * acc_floats_);
    e_.resize(sums_.size());
    fields_.resize(std::size_t(raster.n_tiles) * N_SQUARES * TILE_PIXELS);
    loss_.assign(raster.n_tiles, 0);
    draw_all(others);
  }

  PursuitResult run() {
    PursuitResult result;
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
  float* param(int i) { return &params_[std::size_t(i) * n_params_]; }
  int32_t* symbol(int i) { return a_.symbols + std::size_t(i) * n_params_; }
  float* tile(Tiles& tiles, uint32_t t) { return tiles.data() + std::size_t(t) * acc_floats_; }
  float* field(uint32_t t) { return fields_.data() + std::size_t(t) * N_SQUARES * TILE_PIXELS; }
  const float* weight_of(uint32_t t) { return target_.weight.data() + std::size_t(t) * TILE_PIXELS; }
  int x0(uint32_t t) const { return int(t) % raster_.tiles_x * TILE_W; }
  int y0(uint32_t t) const { return int(t) / raster_.tiles_x * TILE_H; }

  bool is_visible(int i, const int32_t* s) const {
    if (raster_.normalised) return s[LOG_WEIGHT] > a_.low[std::size_t(i) * n_params_ + LOG_WEIGHT];
    return s[5] || s[6] || s[7];
  }

  void dequantize(int i) {
    const std::size_t row = std::size_t(i) * n_params_;
    for (int j = 0; j < n_params_; ++j)
      params_[row + j] = float(a_.symbols[row + j] * a_.step[row + j] + a_.offset[row + j]);
    params_[row + 2] = std::max(params_[row + 2], MIN_SCALE);
    params_[row + 4] = std::max(params_[row + 4], MIN_SCALE);
    if (raster_.normalised && !is_visible(i, symbol(i))) params_[row + LOG_WEIGHT] = ABSENT_LOG_WEIGHT;
  }

  float cost(int j, int distance) const {
    distance = std::abs(distance);
    if (distance < RATE_ENTRIES) return rate_.cost[j][distance];
    const float last = rate_.cost[j][RATE_ENTRIES - 1];
    return last + float(distance - RATE_ENTRIES + 1) * (last - rate_.cost[j][RATE_ENTRIES - 2]);
  }

  float bits(int i, const int32_t* s) const {
    if (!rate_.first && !is_visible(i, s)) return 0.0f;  // it will not be coded
    const int32_t* base = a_.base + std::size_t(i) * n_params_;
    const int n_groups = raster_.normalised ? N_GROUPS : N_GROUPS - 1;
    float group[N_GROUPS] = {};
    bool moved[N_GROUPS] = {};
    for (int j = 0; j < n_params_; ++j) {
      group[GROUP_OF[j]] += cost(j, s[j] - base[j]);
      moved[GROUP_OF[j]] |= s[j] != base[j];
    }
    float sum = rate_.first ? rate_.first[i] : 0.0f;
    bool any = !rate_.first;
    for (int k = 0; k < n_groups; ++k) {
      any |= moved[k];
      sum += moved[k] || !rate_.first ? rate_.group_on[k] + group[k] : rate_.group_off[k];
    }
    return any ? sum : 0.0f;
  }

  // The picture's sums, residual and loss, who touches which tile, and what each Gaussian's block is made of.
  void draw_all(const OtherGaussians& others) {
    std::vector<Prepared> prepared;
    Coverage coverage;
    raster_.prepare(others.params, others.n, prepared, others.is_room);
    raster_.cover(prepared, others.params, coverage);
    const auto add = [&](int t, const float* acc) {
      float* to = tile(sums_, uint32_t(t));
      for (int p = 0; p < acc_floats_; ++p) to[p] += acc[p];
    };
    if (others.n) raster_.forward(passes_, prepared, coverage, add);
    raster_.prepare(params_.data(), n_, prepared_, is_room_);
    raster_.cover(prepared_, params_.data(), coverage);
    tiles_of_.resize(n_);
    for (int i = 0; i < n_; ++i)
      tiles_of_[i].assign(coverage.gaussian_tiles.begin() + coverage.gaussian_begin[i],
                          coverage.gaussian_tiles.begin() + coverage.gaussian_begin[i + 1]);
    touching_.resize(raster_.n_tiles);
    for (int t = 0; t < raster_.n_tiles; ++t)
      touching_[t].assign(coverage.tile_gaussians.begin() + coverage.tile_begin[t],
                          coverage.tile_gaussians.begin() + coverage.tile_begin[t + 1]);
    raster_.forward(passes_, prepared_, coverage, [&](int t, const float* acc) {
      add(t, acc);
      const float* sums = tile(sums_, uint32_t(t));
      double roi = 0;
      loss_[t] = passes_.residual(sums, target_.tile(t), tile(e_, uint32_t(t)), &roi);
      passes_.squares(sums, weight_of(uint32_t(t)), field(uint32_t(t)));
    });
    raster_.pool.run(n_, 16, [&](int begin, int end) {
      for (int i = begin; i < end; ++i) gather_curvature(i);
    });
  }

  void gather_curvature(int i) {
    raster_.kernels.gather_squares(prepared_[i], tiles_of_[i].data(), int(tiles_of_[i].size()), raster_.tiles_x,
                                   fields_.data(), &curvature_[i]);
  }

  // Where every Gaussian is coded anyway: a symbol nearer to what it is predicted to be, or no Gaussian at all.
  template <typename Consider>
  void propose_cheaper(int i, const Consider& consider) {
    const std::size_t row = std::size_t(i) * n_params_;
    const int32_t *s = symbol(i), *base = a_.base + row;
    int32_t delta[MAX_PARAMS] = {};
    for (int j = 2; j < n_params_; ++j) {
      const int away = s[j] - base[j];
      for (const int to : {away - (away > 0) + (away < 0), away / 2, 0}) {
        if (to == away) continue;
        delta[j] = to - away;
        consider(delta);
      }
      delta[j] = 0;
    }
    if (raster_.normalised)
      delta[LOG_WEIGHT] = a_.low[row + LOG_WEIGHT] - s[LOG_WEIGHT];
    else
      for (int j = 5; j < N_PARAMS; ++j) delta[j] = -s[j];
    consider(delta);
  }

  // Gradient and best candidate of one Gaussian as things stand.
  void value(int i) {
    stale_[i] = 0;
    Moments m;
    passes_.gather(prepared_[i], tiles_of_[i].data(), int(tiles_of_[i].size()), raster_.tiles_x, e_.data(), &m);
    const float* p = param(i);
    natural_gradient(m, invert(p[2], p[3], p[4], 1.0f), n_params_, &gradient_[std::size_t(i) * n_params_]);
    propose(i);
  }

  void value_stale() {
    raster_.pool.run(n_, 16, [&](int begin, int end) {
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
        if (stiffness_[i] > MAX_STIFFNESS) continue;
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
    int32_t before[MAX_PARAMS];
    std::copy_n(symbol(i), n_params_, before);
    const float bits_before = bits(i, before);
    Prepared pair[2] = {prepared_[i], {}};
    for (float& c : pair[0].color) c = -c;
    pair[0].amplitude = -pair[0].amplitude;
    pair[0].person = -pair[0].person;
    for (int j = 0; j < n_params_; ++j) symbol(i)[j] += candidates_[i].delta[j];
    dequantize(i);
    raster_.prepare_one(param(i), pair[1], is_room_ && is_room_[i]);
    std::vector<uint32_t>& now = scratch_;
    now.clear();
    append_tiles(raster_, param(i), now);
    footprint_ = tiles_of_[i];
    footprint_.insert(footprint_.end(), now.begin(), now.end());
    std::sort(footprint_.begin(), footprint_.end());
    footprint_.erase(std::unique(footprint_.begin(), footprint_.end()), footprint_.end());

    const std::size_t floats = acc_floats_;
    if (trial_.size() < footprint_.size() * 2 * floats) trial_.resize(footprint_.size() * 2 * floats);
    trial_loss_.resize(footprint_.size());
    static constexpr uint32_t BOTH[2] = {0, 1};
    double change = 0;
    for (std::size_t k = 0; k < footprint_.size(); ++k) {
      const uint32_t t = footprint_[k];
      float* acc = trial_.data() + k * 2 * floats;
      passes_.accumulate(pair, BOTH, 2, x0(t), y0(t), acc);
      const float* old = tile(sums_, t);
      for (std::size_t p = 0; p < floats; ++p) acc[p] += old[p];
      double roi = 0;
      trial_loss_[k] = passes_.residual(acc, target_.tile(int(t)), acc + floats, &roi);
      change += trial_loss_[k] - loss_[t];
    }
    if (!(change + o_.lambda * (bits(i, symbol(i)) - bits_before) < 0)) {
      std::copy_n(before, n_params_, symbol(i));
      dequantize(i);
      return false;
    }
    prepared_[i] = pair[1];
    relist(i, now);
    for (std::size_t k = 0; k < footprint_.size(); ++k) {
      const uint32_t t = footprint_[k];
      const float* acc = trial_.data() + k * 2 * floats;
      std::copy_n(acc, floats, tile(sums_, t));
      std::copy_n(acc + floats, floats, tile(e_, t));
      passes_.squares(acc, weight_of(t), field(t));
      loss_[t] = trial_loss_[k];
      for (uint32_t j : touching_[t]) stale_[j] = 1;
    }
    gather_curvature(i);  // others' have changed by less than their stiffness allows for
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
  void to_symbols(int i, const double x[MAX_PARAMS], unsigned group, int32_t delta[MAX_PARAMS]) {
    const float* p = param(i);
    const std::size_t row = std::size_t(i) * n_params_;
    const double l1 = p[2], l2 = p[3], l3 = p[4];
    const double change[MAX_PARAMS] = {
        l1 * x[0], l2 * x[0] + l3 * x[1], l1 * x[2], l2 * x[2] + l3 * x[3], l3 * x[4], x[5], x[6], x[7], x[8]};
    for (int j = 0; j < n_params_; ++j) {
      const bool moves = group >> j & 1;
      const double wanted = std::clamp(change[j] / a_.step[row + j], -1e6, 1e6);
      const int64_t next = int64_t(a_.symbols[row + j]) + (moves ? std::llrint(wanted) : 0);
      delta[j] = int32_t(std::clamp<int64_t>(next, a_.low[row + j], a_.high[row + j]) - a_.symbols[row + j]);
    }
  }

  // Expected change of the loss for a step in symbols.
  double expected(int i, const int32_t delta[MAX_PARAMS], const Block& h) {
    const float* p = param(i);
    const float* g = &gradient_[std::size_t(i) * n_params_];
    const double* step = a_.step + std::size_t(i) * n_params_;
    const double l1 = p[2], l2 = p[3], l3 = p[4];
    double x[MAX_PARAMS];
    x[0] = delta[0] * step[0] / l1;
    x[1] = (delta[1] * step[1] - l2 * x[0]) / l3;
    x[2] = delta[2] * step[2] / l1;
    x[3] = (delta[3] * step[3] - l2 * x[2]) / l3;
    x[4] = delta[4] * step[4] / l3;
    for (int k = 5; k < n_params_; ++k) x[k] = delta[k] * step[k];
    // The weight itself, not its logarithm, is what the picture answers to: 2^b changes by that share of it.
    if (n_params_ > LOG_WEIGHT) x[LOG_WEIGHT] = (std::exp2(std::min(x[LOG_WEIGHT], 8.0)) - 1) / LN2;
    double sum = 0;
    for (int j = 0; j < n_params_; ++j) {
      double row = 2 * g[j];
      for (int k = 0; k < n_params_; ++k) row += h[j][k] * x[k];
      sum += row * x[j];
    }
    return sum;
  }

  void propose(int i) {
    Candidate best{};
    const std::size_t row = std::size_t(i) * n_params_;
    const int32_t* s = symbol(i);
    Block h;
    fill_block(param(i), n_params_, curvature_[i], stiffness_[i], h);
    const float* g = &gradient_[row];
    const float now = bits(i, s);
    const auto consider = [&](const int32_t delta[MAX_PARAMS]) {
      int32_t next[MAX_PARAMS];
      bool any = false;
      for (int j = 0; j < n_params_; ++j) {
        next[j] = s[j] + delta[j];
        any |= delta[j] != 0;
      }
      if (!any) return;
      const float gain = float(-expected(i, delta, h)) - o_.lambda * (bits(i, next) - now);
      if (gain <= best.gain) return;
      best.gain = gain;
      std::copy(delta, delta + n_params_, best.delta);
    };
    if (h[5][5] > 0)
      for (unsigned group : GROUPS) {
        if (group & WEIGHT && !raster_.normalised) continue;
        double x[MAX_PARAMS];
        int32_t delta[MAX_PARAMS];
        solve_group(h, g, group, x);
        to_symbols(i, x, group, delta);
        consider(delta);
      }
    const int32_t* base = a_.base + row;
    int32_t back[MAX_PARAMS] = {};
    if (rate_.first) {
      for (int j = 0; j < n_params_; ++j) back[j] = base[j] - s[j];
      consider(back);
    } else {
      propose_cheaper(i, consider);
    }
    candidates_[i] = best;
  }

  TiledRaster& raster_;
  const BlendKernels& passes_;
  const Target& target_;
  const SymbolArrays& a_;
  const bool* is_room_;
  const int n_, n_params_, acc_floats_;
  const RateModel& rate_;
  const PursuitOptions& o_;
  const Deadline deadline_;
  std::vector<float> params_, gradient_, stiffness_;
  std::vector<Curvature> curvature_;
  std::vector<char> stale_;
  std::vector<Candidate> candidates_;
  std::vector<Prepared> prepared_;
  std::vector<std::vector<uint32_t>> tiles_of_, touching_;  // of a Gaussian; of a tile
  Tiles fields_;                                            // what curvatures are gathered from
  Tiles sums_, e_;            // what is gathered of the picture, and the loss's derivative by it
  std::vector<double> loss_;  // of each tile
  // Of one attempt: tiles it may touch, their sum and residual, their loss.
  std::vector<uint32_t> footprint_, scratch_;
  Tiles trial_;
  std::vector<double> trial_loss_;
};

}  // namespace

PursuitResult pursue(TiledRaster& raster, const Target& target, const SymbolArrays& arrays, const bool* is_room, int n,
                     const OtherGaussians& others, const RateModel& rate, const PursuitOptions& options) {
  return Pursuit(raster, target, arrays, is_room, n, others, rate, options).run();
}

}  // namespace gscodec
