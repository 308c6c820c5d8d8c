// What an I-frame and a P-frame say under the adaptive coder, and under which contexts.
//
// One walk over the Gaussians both writes and reads (Coder::DECODES), so the two cannot disagree. The
// coder keeps its model, the symbols and their history from frame to frame of a GOP; an I-frame starts
// all of it anew.
#pragma once

#include <array>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "mixing_coder.h"

namespace gscodec {

constexpr int N_SYMBOLS = 8;     // mean x, mean y, l1, l2, l3, three colours
constexpr int MAX_SYMBOLS = 9;   // under the normalised blend a log-weight follows
constexpr int HIGH_WEIGHT = 15;  // largest symbol of a log-weight
constexpr int NO_WEIGHT = -16;   // that of a Gaussian that is not there
constexpr int MAX_CLASS_SIZE = 28;
constexpr int MAX_CLASS_ENERGY = 24;
constexpr int MAX_SYMBOL = (1 << 20) - 1;
constexpr int CELL_LOG2 = 3;       // cells of 8 x 8 pixels order the means
constexpr int MIN_MEAN_LOG2 = -4;  // finest step of a mean: 1/16 pixel
constexpr int DRIFT_LOG2 = 8;      // means drift by 1/256 pixel
constexpr int MARGIN = 64;         // pixels a mean may lie outside the picture
constexpr int N_NEIGHBOURS = 6;
constexpr int MAX_GAUSSIANS = 1 << 20;

struct Gaussian {
  std::array<int32_t, MAX_SYMBOLS> s{};
  int32_t size_class = 0, energy_class = 0;
  uint8_t is_room = 0;
  std::array<int32_t, 2> drift{};  // of the mean from its symbols, by motions finer than its step: 1/256 pixel
};

// log2 of the step of a mean, pixels.
inline int mean_log2_step(const Gaussian& g) {
  const int x = (g.size_class - g.energy_class - 2) >> 1;
  return x < MIN_MEAN_LOG2 ? MIN_MEAN_LOG2 : x > CELL_LOG2 ? CELL_LOG2 : x;
}

// Control points lie 2^log2 pixels apart, at least five to the shorter side, but no nearer than MIN_MESH_LOG2.
constexpr int MIN_MESH_LOG2 = 6;

struct MeshShape {
  int log2, columns, rows;
};

inline MeshShape mesh_shape(int width, int height, bool is_older) {
  const auto points = [](int length, int log2) { return ((length - 1) >> log2) + 2; };
  int log2 = MIN_MESH_LOG2;
  while (!is_older && 5 << (log2 + 1) <= (width < height ? width : height)) ++log2;
  return {log2, points(width, log2), points(height, log2)};
}

// How a frame moves against its reference: displacements of control points, half pixels, [rows, columns, 2],
// interpolated bilinearly at each mean. Empty: nothing moves.
constexpr int MAX_MOTION = 1 << 10;

struct Motion {
  bool room = false;  // the room moves too: the camera does
  std::vector<int32_t> mesh;
};

// What P-frames remember of a Gaussian.
struct History {
  int frames_since_change = 1 << 20;
  int groups = 0;                            // which groups its last change touched
  std::array<int32_t, MAX_SYMBOLS> delta{};  // its last change
  std::array<int32_t, N_NEIGHBOURS> near{};  // nearest others when the GOP began, -1: none
};

// What a new Gaussian is predicted from: the two nearest that are coded already, and how its classes were.
struct Neighbourhood {
  const Gaussian &a, &b;
  int found;  // how many there are: the same one stands for a second that is missing
  int e0;     // what the energy class was predicted to be
};

class FrameCoder {
 public:
  // `is_older`: reads and writes what version 0.1.0 did. It knew no prior, and its motions are quarter pixels,
  // rounded to each mean's step.
  // `normalised`: Gaussians have a log-weight, and their colours are predicted from their neighbours'. `prior`: what a
  // GOP begins with.
  FrameCoder(int width, int height, bool is_older, bool normalised, Prior prior);

  std::vector<uint8_t> encode_iframe(const std::vector<Gaussian>& gaussians);
  const std::vector<Gaussian>& decode_iframe(const uint8_t* data, std::size_t size, int n);
  // `gaussians` as they shall be; `motion` is applied to the reference first. From n_born = 0 on the frame renews
  // the state: the last n_born Gaussians are new, in canonical order, and those without a colour leave it.
  std::vector<uint8_t> encode_pframe(const std::vector<Gaussian>& gaussians, const Motion& motion, int n_born);
  // What each symbol of an I-frame's Gaussians, in canonical order, is predicted to be; those of the means as they are.
  std::vector<Gaussian> predictions(const std::vector<Gaussian>& gaussians) const;
  const MeshShape& mesh() const { return mesh_; }
  int n_symbols() const { return normalised_ ? MAX_SYMBOLS : N_SYMBOLS; }
  // The reference after a motion.
  std::vector<Gaussian> moved(const Motion& motion) const;
  // Control points that a motion has to say, [rows, columns].
  std::vector<uint8_t> used_points(bool room) const;
  // Throws std::length_error where there would be more than max_gaussians.
  const std::vector<Gaussian>& decode_pframe(const uint8_t* data, std::size_t size, int max_gaussians);

  // Decisions so far as rows of stream, input, context, node, zeros, ones; counting starts with the first call.
  std::vector<std::array<uint32_t, 6>> decisions();
  // Weight of an input of a stream's node.
  int32_t weight(int stream, int node, int input) { return model_.weights(stream, node)[input]; }
  // Bits by stream, plain bits last, of everything coded since the last call; counting starts with the first.
  std::vector<double> take_bits();
  // Gaussians that the last P-frame changed or added, not counting those its motion alone moved.
  int n_changed() const { return n_changed_; }
  // Which Gaussians of its reference the last P-frame kept, ascending; the newborn follow them in the state.
  const std::vector<int32_t>& kept() const { return kept_; }
  // Which Gaussians of its reference the last P-frame updated; what its motion alone moved does not count.
  const std::vector<uint8_t>& updated() const { return updated_; }
  // Bits that the last frame spent on each Gaussian: an I-frame's; those of a P-frame's reference, then its newborn.
  // Zeros until take_bits was called.
  const std::vector<double>& gaussian_bits() const { return gaussian_bits_; }
  // Bits of saying that Gaussian i changes in the next P-frame rather than not.
  std::vector<float> change_costs();

 private:
  template <typename Coder, typename Walk>
  void metered(Coder& coder, const Walk& walk);
  template <typename Coder>
  void walk_new(Coder& coder, int first, bool born);  // new_gaussians.h
  template <typename Coder>
  void walk_colors(Coder& coder, Gaussian& g, const Neighbourhood& near);
  template <typename Coder>
  void walk_predicted_colors(Coder& coder, Gaussian& g, const Neighbourhood& near);
  template <typename Coder>
  void walk_pframe(Coder& coder, const std::vector<Gaussian>* next, Motion motion, int n_born);
  template <typename Coder>
  void walk_renewal(Coder& coder, const std::vector<Gaussian>* next, int n_born);
  template <typename Coder>
  void walk_motion(Coder& coder, Motion& motion);
  void move(Gaussian& g, int c, int64_t sum) const;
  template <typename Walk>
  const std::vector<Gaussian>& decode(const uint8_t* data, std::size_t size, const Walk& walk);
  void begin_gop();
  void find_neighbours();
  void check(const Gaussian& g) const;
  bool is_visible(const Gaussian& g) const;
  double n_counted_bits() const;

  // Puts what is coded while it lives down to the next Gaussian.
  struct Bill {
    explicit Bill(FrameCoder& coder) : coder_(coder), before_(coder.n_counted_bits()) {}
    ~Bill() { coder_.gaussian_bits_.push_back(coder_.n_counted_bits() - before_); }
    FrameCoder& coder_;
    const double before_;
  };

  const int width_, height_;
  const bool is_older_, normalised_;
  const MeshShape mesh_;
  const Prior prior_;
  Model model_;
  std::vector<Gaussian> gaussians_;
  std::vector<History> history_;
  std::vector<uint8_t> changed_before_;  // in the previous P-frame
  int n_changed_ = 0;
  std::vector<int32_t> kept_;
  std::vector<uint8_t> updated_;
  std::vector<double> gaussian_bits_;
  std::vector<int32_t> mesh_before_;   // of the previous P-frame; empty without a motion
  int moved_before_ = 0;               // whether the previous P-frame had a motion
  int renewed_before_ = 0;             // whether it renewed the state
  int born_before_ = 0;                // grade of the number born in the last renewal
  int max_gaussians_ = MAX_GAUSSIANS;  // of the P-frame in hand
  std::vector<uint32_t> seen_;         // zeros and ones of every counter, once decisions() was called
  std::vector<double> bits_;           // by stream, counted once take_bits was called
};

}  // namespace gscodec
