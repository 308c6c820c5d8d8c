// The walk over a frame: which decisions are coded, in which order, under which contexts.
//
// The state is a list of Gaussians, eight integers each. A P-frame says, in this order: does the state renew itself
// (Gaussians leave, others are born); the motion, a mesh of displacements that moves the state before anything else;
// then for each Gaussian whether it changes, which of its four groups (mean, shape, luma, chroma) do, and by how many
// steps; last the newborn. Most Gaussians of most frames say a single "no", so the bits are in that flag, and its
// contexts are the neighbours: change comes in patches, of space and of time.
//
// Every decision is binary and coded by an adaptive arithmetic coder whose probability is mixed from up to four
// contexts (logistic mixing, after PAQ: Mahoney 2005; mixing_coder.h). A Contexts list is {stream, {four numbers, -1:
// unused}}: each number picks a counter, several small facts are packed into one by multiplication.
//
// Invariants. Encoder and decoder run this same code, `Coder` writing or reading; a context may therefore only use what
// is known before the decision: the state, its history, and what this frame has coded already. All of it is integer
// arithmetic. Whatever changes a context, a predictor or an order changes the format: docs/bitstream.md, "Contexts".
#include "syntax.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "new_gaussians.h"
#include "symbols.h"

namespace gscodec {

FrameCoder::FrameCoder(int width, int height, bool is_older, bool normalised, Prior prior)
    : width_(width),
      height_(height),
      is_older_(is_older),
      normalised_(normalised),
      mesh_(mesh_shape(width, height, is_older)),
      prior_(std::move(prior)),
      model_(N_STREAMS, prior_) {}

bool FrameCoder::is_visible(const Gaussian& g) const {
  return normalised_ ? g.s[B] > NO_WEIGHT : g.s[C0] || g.s[C1] || g.s[C2];
}

double FrameCoder::n_counted_bits() const { return std::accumulate(bits_.begin(), bits_.end(), 0.0); }

void FrameCoder::begin_gop() {
  model_ = Model(N_STREAMS, prior_);
  gaussians_.clear();
  history_.clear();
  changed_before_.clear();
  mesh_before_.clear();
  kept_.clear();
  updated_.clear();
  gaussian_bits_.clear();
  n_changed_ = moved_before_ = 0;
  renewed_before_ = born_before_ = 0;
}

void FrameCoder::check(const Gaussian& g) const {
  const auto fail = [](const char* what) { throw std::runtime_error(std::string(what) + " leaves its range"); };
  const int step = mean_log2_step(g) + 4;  // in the finest steps, 1/16 pixel
  if (g.s[X] < 0 || int64_t(g.s[X]) << step >= int64_t(width_ + 2 * MARGIN) * 16) fail("a mean");
  if (g.s[Y] < 0 || int64_t(g.s[Y]) << step >= int64_t(height_ + 2 * MARGIN) * 16) fail("a mean");
  if (g.s[L1] < 1 || g.s[L3] < 1) fail("a scale");
  for (int j = L1; j < N_SYMBOLS; ++j)
    if (g.s[j] < -MAX_SYMBOL || g.s[j] > MAX_SYMBOL) fail("a symbol");
  if (normalised_ ? g.s[B] < NO_WEIGHT || g.s[B] > HIGH_WEIGHT : g.s[B] != 0) fail("a log-weight");
}

void FrameCoder::find_neighbours() {
  Grid grid(width_, height_);
  const int n = int(gaussians_.size());
  history_.resize(n);
  changed_before_.resize(n, 0);
  for (int i = 0; i < n; ++i) grid.add(cell_x(gaussians_[i]), cell_y(gaussians_[i]), i);
  for (int i = 0; i < n; ++i) grid.near(cell_x(gaussians_[i]), cell_y(gaussians_[i]), i, history_[i].near);
}

namespace {

// What the contexts of one Gaussian in a P-frame are made of.
struct Surroundings {
  int age, now, before, last_two, density;
  const History* guide = nullptr;  // nearest neighbour that already changed in this frame
  int guide_index = -1;
};

// Twice log2 of a symbol's step, but for what all of its kind have in common.
int log2_step(const Gaussian& g, int symbol) {
  if (symbol < L1) return 2 * mean_log2_step(g);
  return symbol < C0 ? g.size_class - g.energy_class : symbol < B ? -g.size_class : 0;
}

int age_grade(int frames) {
  return frames > 8 ? (frames > 1000 ? 5 : 4) : frames > 4 ? 3 : frames > 2 ? 2 : frames - 1;
}

// Does it change? Contexts: how long it has stood still, and how many of its neighbours have changed in this frame;
// those, and how many did in the last frame; its energy, and whether it is the room's; whether the two Gaussians coded
// before it change, and which share of all did in the last frame.
Contexts changed_contexts(const Surroundings& s, const Gaussian& g) {
  return {CHANGED,
          {s.age * 4 + std::min(s.now, 3), std::min(s.now, 3) * 7 + s.before,
           std::min(g.energy_class / 2, 12) * 2 + g.is_room, s.last_two * 8 + s.density}};
}

Surroundings look_around(int i, const std::vector<History>& history, const std::vector<uint8_t>& changed_now,
                         const std::vector<uint8_t>& changed_before, int density) {
  Surroundings s{age_grade(history[i].frames_since_change), 0, 0, 0, density};
  for (int32_t j : history[i].near) {
    if (j < 0) continue;
    s.before += changed_before[j];
    if (j < i && changed_now[j]) {
      ++s.now;
      if (!s.guide) s.guide = &history[j], s.guide_index = j;
    }
  }
  s.last_two = (i > 0 ? changed_now[i - 1] : 0) + 2 * (i > 1 ? changed_now[i - 2] : 0);
  return s;
}

}  // namespace

template <typename Coder>
void FrameCoder::walk_motion(Coder& coder, Motion& motion) {
  constexpr bool D = Coder::DECODES;
  const int columns = mesh_.columns, rows = mesh_.rows;
  // Is there a motion? Context: was there one in the last P-frame.
  const int moves = code_flag(coder, !motion.mesh.empty(), {MOTION, {moved_before_, -1, -1, -1}});
  moved_before_ = moves;
  const std::vector<int32_t> before = std::exchange(mesh_before_, {});
  if (!moves) return;
  // Does the room move too? A counter of its own, 2, in the same stream.
  motion.room = code_flag(coder, motion.room, {MOTION, {2, -1, -1, -1}});
  if (D) motion.mesh.assign(std::size_t(columns) * rows * 2, 0);
  const std::vector<uint8_t> used = used_points(motion.room);
  for (int r = 0; r < rows; ++r)
    for (int k = 0; k < columns; ++k) {
      const std::size_t at = std::size_t(r) * columns + k;
      if (!used[at]) {
        motion.mesh[2 * at] = motion.mesh[2 * at + 1] = 0;
        continue;
      }
      int change[2] = {0, 0};
      for (int c : {0, 1}) {
        // From the neighbours to the left and above that were said already.
        const bool left = k > 0 && used[at - 1], up = r > 0 && used[at - columns];
        const int a = left ? motion.mesh[2 * (at - 1) + c] : 0, b = up ? motion.mesh[2 * (at - columns) + c] : 0;
        const int guess = left && up ? (a + b) / 2 : a + b;
        const int doubt = left && up ? std::min(bit_length(a - b), 4) : 5 + left + up;
        int32_t& v = motion.mesh[2 * at + c];
        // Where the last frame's mesh lay at this point: its direction, and its distance from the prediction.
        const int then =
            before.empty() || is_older_ ? -1 : 8 + 8 * sign(before[2 * at + c]) + graded(before[2 * at + c] - guess, 3);
        // Contexts: how far the neighbours disagree, or which of them exist; the prediction; for y, what x turned out
        // to be; the last frame's mesh.
        change[c] = code_signed(
            coder, v - guess, {c ? MOTION_Y : MOTION_X, {doubt, graded(guess, 3), c ? graded(change[0], 3) : 7, then}});
        v = guess + change[c];
        if (D && (v < -MAX_MOTION || v > MAX_MOTION)) throw std::runtime_error("a motion leaves its range");
      }
    }
  mesh_before_ = motion.mesh;
}

template <typename Coder>
void FrameCoder::walk_pframe(Coder& coder, const std::vector<Gaussian>* next, Motion motion, int n_born) {
  constexpr bool D = Coder::DECODES;
  // Does the state renew itself? Context: did it in the last P-frame; counters 3 and 4 of the stream.
  const int renews = code_flag(coder, n_born >= 0, {MOTION, {3 + renewed_before_, -1, -1, -1}});
  renewed_before_ = renews;
  walk_motion(coder, motion);
  gaussians_ = moved(motion);
  const int n = int(gaussians_.size());
  std::vector<uint8_t> changed_now(n, 0);
  gaussian_bits_.clear();
  int n_before = 0;
  for (uint8_t c : changed_before_) n_before += c;
  const int density = std::min(bit_length(int64_t(n_before) * 64 / std::max(n, 1)), 7);
  for (int i = 0; i < n; ++i) {
    const Bill bill(*this);
    Gaussian& g = gaussians_[i];
    History& h = history_[i];
    if (h.frames_since_change < 1 << 20) ++h.frames_since_change;
    const Surroundings s = look_around(i, history_, changed_now, changed_before_, density);
    std::array<int32_t, MAX_SYMBOLS> delta{};
    int groups = 0;
    if (!D) {
      for (int j = 0; j < MAX_SYMBOLS; ++j) delta[j] = (*next)[i].s[j] - g.s[j];
      groups = (delta[X] || delta[Y] ? G_MEAN : 0) | (delta[L1] || delta[L2] || delta[L3] ? G_SHAPE : 0) |
               (delta[C0] ? G_LUMA : 0) | (delta[C1] || delta[C2] ? G_CHROMA : 0) | (delta[B] ? G_WEIGHT : 0);
    }
    if (!code_flag(coder, groups != 0, changed_contexts(s, g))) continue;
    changed_now[i] = 1;
    const int half = std::min(g.energy_class / 2, 12);
    const int guide_groups = s.guide ? s.guide->groups : normalised_ ? 0 : 16;
    const int n_groups = normalised_ ? 5 : 4;

    int coded = 0;
    for (int b = 0; b < n_groups; ++b) {
      const bool last = b == n_groups - 1 && coded == 0;  // something changed, so the last must be it
      // Contexts: groups coded before this one, for chroma apart; its last change's groups; those of the neighbour that
      // changed already; its energy, and whether it is the room's.
      const int bit = last ? 1
                           : code_flag(coder, groups >> b & 1,
                                       {b < 4 ? GROUP_MEAN + b : GROUP_WEIGHT,
                                        {coded + 8 * (b == 3), h.groups, guide_groups, half * 2 + g.is_room}});
      coded |= bit << b;
    }
    groups = coded;

    const auto code_delta = [&](int j, int stream, int other) {
      // The neighbour's change in this Gaussian's steps, where it moved the same thing.
      int pulled = 5;
      if (s.guide) {
        const Gaussian& q = gaussians_[s.guide_index];
        const int d = s.guide->delta[j];
        const int own = log2_step(g, j);
        const int its = log2_step(q, j);
        pulled = graded(d ? scale(4 * int64_t(d), its - own) / 4 + sign(d) : 0, 2);
      }
      // Contexts: the neighbour's change, and the sign of its own last one; its energy, and whether it is the room's;
      // `other`: for a group's first how long it stood still, else what the ones before it in this change were; groups.
      delta[j] = code_signed(coder, delta[j],
                             {stream, {pulled * 3 + sign(h.delta[j]) + 1, half * 2 + g.is_room, other, groups}});
    };
    if (groups & G_MEAN) {
      code_delta(X, DELTA_X, s.age);
      code_delta(Y, DELTA_Y, 6 + graded(delta[X], 2));
    }
    if (groups & G_SHAPE) {
      code_delta(L1, DELTA_L1, s.age);
      code_delta(L2, DELTA_L2, 6 + graded(delta[L1], 2));
      code_delta(L3, DELTA_L3, 6 + graded(delta[L1], 2) * 5 + graded(delta[L2], 2));
    }
    if (groups & G_LUMA) code_delta(C0, DELTA_0, 6 + graded(delta[L1], 2) * 5 + graded(delta[L3], 2));
    if (groups & G_CHROMA) {
      code_delta(C1, DELTA_1, 6 + graded(delta[C0], 2));
      code_delta(C2, DELTA_2, 6 + graded(delta[C0], 2) * 5 + graded(delta[C1], 2));
    }
    if (groups & G_WEIGHT) code_delta(B, DELTA_WEIGHT, s.age);
    for (int j = 0; j < n_symbols(); ++j) g.s[j] = bound(int64_t(g.s[j]) + delta[j], -MAX_SYMBOL - 1, MAX_SYMBOL + 1);
    if (D) check(g);
    if (coder.failed()) throw std::runtime_error("the coded symbols end too early");
    h.frames_since_change = 0;
    h.groups = groups;
    h.delta = delta;
  }
  n_changed_ = int(std::count(changed_now.begin(), changed_now.end(), 1));
  updated_ = changed_now;
  changed_before_ = std::move(changed_now);
  kept_.resize(n);
  std::iota(kept_.begin(), kept_.end(), 0);
  if (renews) walk_renewal(coder, next, n_born);
}

// Gaussians that are invisible leave, others are born behind those that stay.
template <typename Coder>
void FrameCoder::walk_renewal(Coder& coder, const std::vector<Gaussian>* next, int n_born) {
  std::size_t n = 0;
  for (std::size_t i = 0; i < gaussians_.size(); ++i) {
    if (!is_visible(gaussians_[i])) continue;
    kept_[n] = int32_t(i);
    gaussians_[n] = gaussians_[i];
    history_[n] = history_[i];
    changed_before_[n++] = changed_before_[i];
  }
  // How many are born? Context: bit length of the number born in the last renewal.
  n_born = code_unsigned(coder, n_born, {BIRTHS, {born_before_, -1, -1, -1}});
  born_before_ = std::min(bit_length(n_born), 7);
  if (coder.failed()) throw std::runtime_error("the coded symbols end too early");
  if (n_born > max_gaussians_ || n > std::size_t(max_gaussians_ - n_born))
    throw std::length_error(std::to_string(n) + " Gaussians and " + std::to_string(n_born) + " newborn");
  kept_.resize(n);
  gaussians_.resize(n);
  if (next) gaussians_.insert(gaussians_.end(), next->end() - n_born, next->end());
  gaussians_.resize(n + n_born);
  history_.resize(n);
  changed_before_.resize(n);
  walk_new(coder, int(n), true);
  History newborn;
  newborn.frames_since_change = 0;
  n_changed_ += n_born;
  history_.resize(n + n_born, newborn);
  changed_before_.resize(n + n_born, 1);
  find_neighbours();
}

std::vector<Gaussian> FrameCoder::predictions(const std::vector<Gaussian>& gaussians) const {
  std::vector<Gaussian> out = gaussians;
  Grid grid(width_, height_);
  for (int i = 0; i < int(out.size()); ++i) {
    const Gaussian& g = gaussians[i];
    Gaussian& p = out[i];
    std::array<int32_t, 3> near;
    const int found = grid.near(cell_x(g), cell_y(g), -1, near);
    const Gaussian none{};
    const Gaussian& a = found > 0 ? gaussians[near[0]] : none;
    const Gaussian& b = found > 1 ? gaussians[near[1]] : a;
    const int r = round_scale(g.energy_class);
    if (normalised_) {
      for (int c : {C0, C1, C2}) p.s[c] = color_guess(a, b, g, c);
      p.s[B] = weight_guess(a, b);
      p.s[L1] = l1_guess(a, b, r);
      p.s[L3] = l3_guess(g);
      p.s[L2] = shear_guess(a, b, r);
    } else {
      p.s[C0] = sign(g.s[C0]) * common_luma(g.energy_class);
      p.s[C1] = p.s[C2] = p.s[L2] = 0;
      p.s[L1] = p.s[L3] = r;
    }
    grid.add(cell_x(g), cell_y(g), i);
  }
  return out;
}

// Walks with the coder itself, or with one that counts bits on the way.
template <typename Coder, typename Walk>
void FrameCoder::metered(Coder& coder, const Walk& walk) {
  if (bits_.empty()) {
    walk(coder);
  } else {
    Counted<Coder> counted{coder, model_, bits_, seen_};
    walk(counted);
  }
}

namespace {

// Gaussians from index `first` on are new: none has drifted, and no cell comes before that of the one before.
void check_new(const std::vector<Gaussian>& gaussians, std::size_t first) {
  for (std::size_t i = first; i < gaussians.size(); ++i) {
    if (gaussians[i].drift[X] || gaussians[i].drift[Y]) throw std::invalid_argument("a new Gaussian has drifted");
    if (i > first && morton_number(gaussians[i]) < morton_number(gaussians[i - 1]))
      throw std::invalid_argument("the Gaussians are not in canonical order");
  }
}

}  // namespace

std::vector<uint8_t> FrameCoder::encode_iframe(const std::vector<Gaussian>& gaussians) {
  for (const Gaussian& g : gaussians) check(g);
  check_new(gaussians, 0);
  begin_gop();
  gaussians_ = gaussians;
  BitEncoder coder(model_);
  metered(coder, [&](auto& c) { walk_new(c, 0, false); });
  find_neighbours();
  return coder.finish();
}

const std::vector<Gaussian>& FrameCoder::decode_iframe(const uint8_t* data, std::size_t size, int n) {
  begin_gop();
  return decode(data, size, [&](auto& coder) {
    gaussians_.assign(n, Gaussian{});
    walk_new(coder, 0, false);
    find_neighbours();
  });
}

// After an error nothing is left that a P-frame could be decoded against.
template <typename Walk>
const std::vector<Gaussian>& FrameCoder::decode(const uint8_t* data, std::size_t size, const Walk& walk) {
  try {
    BitDecoder coder(model_, data, size);
    metered(coder, walk);
    if (coder.failed()) throw std::runtime_error("the coded symbols end too early");
    if (coder.has_rest()) throw std::runtime_error("coded symbols are left over");
  } catch (...) {
    begin_gop();
    throw;
  }
  return gaussians_;
}

std::vector<uint8_t> FrameCoder::encode_pframe(const std::vector<Gaussian>& gaussians, const Motion& motion,
                                               int n_born) {
  if (gaussians.size() != gaussians_.size() + std::max(n_born, 0))
    throw std::invalid_argument("a P-frame keeps the number of Gaussians but for its newborn");
  for (const Gaussian& g : gaussians) check(g);
  if (n_born > 0) check_new(gaussians, gaussians_.size());
  max_gaussians_ = MAX_GAUSSIANS;
  BitEncoder coder(model_);
  metered(coder, [&](auto& c) { walk_pframe(c, &gaussians, motion, n_born); });
  return coder.finish();
}

const std::vector<Gaussian>& FrameCoder::decode_pframe(const uint8_t* data, std::size_t size, int max_gaussians) {
  max_gaussians_ = max_gaussians;
  return decode(data, size, [&](auto& coder) { walk_pframe(coder, nullptr, Motion{}, -1); });
}

std::vector<std::array<uint32_t, 6>> FrameCoder::decisions() {
  if (seen_.empty()) {
    take_bits();
    seen_.resize(std::size_t(N_STREAMS) * N_INPUTS * N_CONTEXTS * N_NODES * 2);
  }
  std::vector<std::array<uint32_t, 6>> rows;
  for (uint32_t i = 0; i < seen_.size() / 2; ++i) {
    if (!seen_[2 * i] && !seen_[2 * i + 1]) continue;
    const uint32_t context = i / N_NODES, input = context / N_CONTEXTS;
    rows.push_back(
        {input / N_INPUTS, input % N_INPUTS, context % N_CONTEXTS, i % N_NODES, seen_[2 * i], seen_[2 * i + 1]});
  }
  return rows;
}

std::vector<double> FrameCoder::take_bits() {
  std::vector<double> bits(N_STREAMS + 1, 0.0);  // the last: plain bits
  if (bits_.empty()) bits_ = bits;
  std::swap(bits, bits_);
  return bits;
}

std::vector<float> FrameCoder::change_costs() {
  const int n = int(gaussians_.size());
  std::vector<float> costs(n);
  const std::vector<uint8_t> nobody(n, 0);
  int n_before = 0;
  for (uint8_t c : changed_before_) n_before += c;
  const int density = std::min(bit_length(int64_t(n_before) * 64 / std::max(n, 1)), 7);
  for (int i = 0; i < n; ++i) {
    Surroundings s = look_around(i, history_, nobody, changed_before_, density);
    const int frames = history_[i].frames_since_change;
    s.age = age_grade(frames < 1 << 20 ? frames + 1 : frames);
    const Decision d(model_, changed_contexts(s, gaussians_[i]), ZERO);
    costs[i] = float(std::log2((65536 - d.p) / double(d.p)));
  }
  return costs;
}

}  // namespace gscodec
