// An adaptive binary arithmetic coder whose probabilities are mixed from several contexts.
//
// Everything is integer arithmetic on fixed tables, so encoder and decoder agree on every machine. A
// decision has up to N_INPUTS contexts; each context's counter gives a probability, the stretched
// probabilities are summed with learned weights (logistic mixing), and the squashed sum codes the bit.
// Normative text: docs/bitstream.md, "Adaptive coding". The slow twin is tests/coding/adaptive_twin.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <vector>

namespace gscodec {

constexpr int N_INPUTS = 4;     // contexts mixed for one decision
constexpr int N_CONTEXTS = 32;  // values a context may take
constexpr int N_NODES = 128;    // decisions of one symbol's binarisation
constexpr int MAX_LENGTH = 28;  // bit length of the largest magnitude: a gap between cells of the largest picture

// 65536/(1+e^-x) at x = -8, -7.5 … 8.
constexpr int SQUASH[33] = {22,    36,    60,    98,    162,   267,   439,   720,   1179,  1921,  3108,
                            4971,  7812,  11955, 17625, 24743, 32768, 40793, 47911, 53581, 57724, 60565,
                            62428, 63615, 64357, 64816, 65097, 65269, 65374, 65438, 65476, 65500, 65514};

// Logistic function of x/256 as a 16-bit probability.
inline int squash(int x) {
  if (x > 2047) x = 2047;
  if (x < -2047) x = -2047;
  const int i = (x + 2048) >> 7, f = (x + 2048) & 127;
  return (SQUASH[i] * (128 - f) + SQUASH[i + 1] * f + 64) >> 7;
}

// Inverse of squash on 12-bit probabilities, found by walking squash itself.
struct StretchTable {
  int16_t value[4096];
  StretchTable() {
    int next = 0;
    for (int x = -2047; x <= 2047; ++x)
      for (const int p = squash(x) >> 4; next <= p && next < 4096; ++next) value[next] = int16_t(x);
    for (; next < 4096; ++next) value[next] = 2047;
  }
};

inline int stretch(int p16) {
  static const StretchTable table;
  return table.value[p16 >> 4];
}

// A probability that a bit is 1, and how much it has seen.
struct Counter {
  uint16_t p = 32768;
  uint16_t n = 0;
};

constexpr int COUNTER_LIMIT = 120;
constexpr int FIRST_WEIGHT = 17000;  // in 1/65536
constexpr int LEARNING_RATE = 3;
constexpr int64_t MAX_WEIGHT = 1 << 30;
constexpr int MIN_PROBABILITY = 64;  // of either bit, in 1/65536

// 65536/(n+2): how far a counter that has seen n bits moves towards the next one.
struct RateTable {
  int value[COUNTER_LIMIT + 1];
  RateTable() {
    for (int n = 0; n <= COUNTER_LIMIT; ++n) value[n] = 655360 / (10 * n + 20);
  }
};

inline void update(Counter& c, int bit) {
  static const RateTable rate;
  const int target = bit ? 65535 : 0;
  c.p = uint16_t(int(c.p) + ((target - int(c.p)) * int64_t(rate.value[c.n]) >> 16));
  if (c.n < COUNTER_LIMIT) ++c.n;
}

// Counters and weights to begin with, as coding/prior.py has them in a file.
class Prior {
 public:
  static constexpr int NODES = 8;
  struct Row {
    uint8_t stream, input, context;
    uint16_t counters[NODES];  // 256 times the probability in 1/256, plus what it counts as having seen; 0: none
  };

  Prior() = default;  // nothing was learnt
  // Throws std::invalid_argument where `data` is no table for so many streams.
  Prior(const uint8_t* data, std::size_t size, int n_streams) : n_streams_(n_streams) {
    const auto u16 = [&](std::size_t at) { return data[at] | data[at + 1] << 8; };
    constexpr std::size_t HEAD = 12, ROW = 3 + 2 * NODES;
    const std::size_t n_weights = std::size_t(n_streams) * NODES * N_INPUTS;
    if (size < HEAD || std::memcmp(data, "GSVP", 4) != 0 || u16(4) != n_streams || u16(6) != NODES)
      throw std::invalid_argument("the prior is no table for these streams");
    const std::size_t n_rows = u16(8) | std::size_t(u16(10)) << 16;
    if (n_rows > size / ROW || size != HEAD + n_rows * ROW + n_weights)
      throw std::invalid_argument("the prior has another length than its header says");
    for (std::size_t i = 0; i < n_rows; ++i) {
      const std::size_t at = HEAD + i * ROW;
      Row row{data[at], data[at + 1], data[at + 2], {}};
      if (row.stream >= n_streams || row.input >= N_INPUTS || row.context >= N_CONTEXTS)
        throw std::invalid_argument("a row of the prior leaves its range");
      for (int node = 0; node < NODES; ++node) row.counters[node] = uint16_t(u16(at + 3 + 2 * node));
      rows_.push_back(row);
    }
    weights_.assign(data + size - n_weights, data + size);
  }

  const std::vector<Row>& rows() const { return rows_; }
  int n_streams() const { return n_streams_; }
  int weight(int stream, int node, int input) const { return weights_[(stream * NODES + node) * N_INPUTS + input]; }

 private:
  int n_streams_ = 0;
  std::vector<Row> rows_;
  std::vector<uint8_t> weights_;
};

// All counters and weights of a set of streams. Copying it resets it to what was copied.
class Model {
 public:
  Model(int n_streams, const Prior& prior)
      : counters_(std::size_t(n_streams) * N_INPUTS * N_CONTEXTS * N_NODES),
        weights_(std::size_t(n_streams) * N_NODES * N_INPUTS, FIRST_WEIGHT) {
    for (const Prior::Row& row : prior.rows())
      for (int node = 0; node < Prior::NODES; ++node)
        if (const int packed = row.counters[node])
          *counter(row.stream, row.input, row.context, node) = {uint16_t((packed >> 8) * 257), uint16_t(packed & 255)};
    for (int stream = 0; stream < prior.n_streams(); ++stream)
      for (int node = 0; node < Prior::NODES; ++node)
        for (int input = 0; input < N_INPUTS; ++input)
          weights(stream, node)[input] = prior.weight(stream, node, input) * 1024;
  }

  Counter* counter(int stream, int input, int context, int node) {
    return &counters_[((std::size_t(stream) * N_INPUTS + input) * N_CONTEXTS + context) * N_NODES + node];
  }
  int32_t* weights(int stream, int node) { return &weights_[(std::size_t(stream) * N_NODES + node) * N_INPUTS]; }

 private:
  std::vector<Counter> counters_;
  std::vector<int32_t> weights_;
};

// The contexts of one symbol: an input below zero is not used.
struct Contexts {
  int stream;
  int value[N_INPUTS];
};

// What is mixed for one decision, kept until the bit is known.
struct Decision {
  Counter* counters[N_INPUTS];
  int stretched[N_INPUTS];
  int32_t* weights;
  int p;  // 16-bit probability of a 1

  Decision(Model& model, const Contexts& c, int node) : weights(model.weights(c.stream, node)) {
    int64_t sum = 0;
    for (int i = 0; i < N_INPUTS; ++i) {
      counters[i] = c.value[i] < 0 ? nullptr : model.counter(c.stream, i, c.value[i], node);
      stretched[i] = counters[i] ? stretch(counters[i]->p) : 0;
      sum += int64_t(weights[i]) * stretched[i];
    }
    p = squash(int(sum >> 16));
    p = p < MIN_PROBABILITY ? MIN_PROBABILITY : p > 65536 - MIN_PROBABILITY ? 65536 - MIN_PROBABILITY : p;
  }

  void learn(int bit) {
    const int error = (bit ? 65535 : 0) - p;
    for (int i = 0; i < N_INPUTS; ++i) {
      if (!counters[i]) continue;
      const int64_t w = weights[i] + ((int64_t(stretched[i]) * error * LEARNING_RATE) >> 16);
      weights[i] = int32_t(w < -MAX_WEIGHT ? -MAX_WEIGHT : w > MAX_WEIGHT ? MAX_WEIGHT : w);
      update(*counters[i], bit);
    }
  }
};

constexpr int MAX_OVERRUN = 4;  // zero bytes that may be missing at the end

// Writes bits; carries propagate through the bytes already out.
class BitEncoder {
 public:
  static constexpr bool DECODES = false;
  static constexpr bool failed() { return false; }
  explicit BitEncoder(Model& model) : model_(model) {}

  int code(int bit, const Contexts& c, int node) {
    Decision d(model_, c, node);
    put(bit, d.p);
    d.learn(bit);
    return bit;
  }
  int code_plain(int bit) {
    put(bit, 32768);
    return bit;
  }
  // The shortest bytes that decode the same; up to MAX_OVERRUN trailing zeros are left out, a reader adds them.
  std::vector<uint8_t> finish() {
    const uint64_t low = low_, high = low_ + range_ - 1;
    for (int bits = 0; bits <= 32; ++bits) {
      const uint64_t mask = (uint64_t(1) << (32 - bits)) - 1;
      const uint64_t value = (low + mask) & ~mask;
      if (value > high) continue;
      low_ = value;
      break;
    }
    for (int i = 0; i < 4; ++i) shift();
    for (int i = 0; i < MAX_OVERRUN && out_.back() == 0; ++i) out_.pop_back();
    return std::move(out_);
  }

 private:
  void put(int bit, int p) {
    const uint32_t bound = uint32_t((uint64_t(range_) * uint32_t(p)) >> 16);
    if (bit) {
      range_ = bound;
    } else {
      low_ += bound;
      range_ -= bound;
    }
    while (range_ < (1u << 24)) {
      shift();
      range_ <<= 8;
    }
  }
  void shift() {
    if (low_ >> 32) {
      for (std::size_t i = out_.size(); i-- > 0 && ++out_[i] == 0;) {
      }
      low_ &= 0xFFFFFFFFu;
    }
    out_.push_back(uint8_t(low_ >> 24));
    low_ = (low_ << 8) & 0xFFFFFFFFu;
  }

  Model& model_;
  uint64_t low_ = 0;
  uint32_t range_ = 0xFFFFFFFFu;
  std::vector<uint8_t> out_;
};

// Reads what BitEncoder wrote; past the end it reads zeros.
class BitDecoder {
 public:
  static constexpr bool DECODES = true;
  BitDecoder(Model& model, const uint8_t* data, std::size_t size) : model_(model), at_(data), end_(data + size) {
    for (int i = 0; i < 4; ++i) code_ = code_ << 8 | next();
  }

  int code(int, const Contexts& c, int node) {
    Decision d(model_, c, node);
    const int bit = get(d.p);
    d.learn(bit);
    return bit;
  }
  int code_plain(int) { return get(32768); }
  // More was read than there is: the data are cut, or are something else.
  bool failed() const { return overrun_ > MAX_OVERRUN; }
  bool has_rest() const { return at_ < end_; }

 private:
  uint32_t next() {
    if (at_ < end_) return *at_++;
    ++overrun_;
    return 0;
  }
  int get(int p) {
    const uint32_t bound = uint32_t((uint64_t(range_) * uint32_t(p)) >> 16);
    const int bit = code_ < bound;
    if (bit) {
      range_ = bound;
    } else {
      code_ -= bound;
      range_ -= bound;
    }
    while (range_ < (1u << 24)) {
      code_ = code_ << 8 | next();
      range_ <<= 8;
    }
    return bit;
  }

  Model& model_;
  const uint8_t *at_, *end_;
  uint32_t code_ = 0, range_ = 0xFFFFFFFFu;
  int overrun_ = 0;
};

// Nodes of the binarisation: zero?, sign, bit length in unary, the two bits below the leading one; the rest plain.
enum Node { ZERO = 0, SIGN = 1, LENGTH = 2, SECOND = LENGTH + MAX_LENGTH, THIRD = SECOND + MAX_LENGTH + 1 };
static_assert(THIRD + 2 * (MAX_LENGTH + 1) <= N_NODES, "the binarisation outgrew its nodes");

template <typename Coder>
int code_magnitude(Coder& coder, int m, const Contexts& c) {  // m >= 1
  int length = 1;
  if (Coder::DECODES) {
    while (length < MAX_LENGTH && coder.code(0, c, LENGTH + length)) ++length;
  } else {
    while (m >> length) ++length;
    for (int i = 1; i < MAX_LENGTH && i <= length; ++i) coder.code(i < length, c, LENGTH + i);
  }
  int value = 1;
  for (int i = length - 2; i >= 0; --i) {
    const int bit = m >> i & 1, depth = length - 2 - i;
    value = value << 1 | (depth == 0   ? coder.code(bit, c, SECOND + length)
                          : depth == 1 ? coder.code(bit, c, THIRD + 2 * length + (value & 1))
                                       : coder.code_plain(bit));
  }
  return value;
}

template <typename Coder>
int code_signed(Coder& coder, int v, const Contexts& c) {
  if (coder.code(v == 0, c, ZERO)) return 0;
  const int negative = coder.code(v < 0, c, SIGN);
  const int m = code_magnitude(coder, v < 0 ? -v : v, c);
  return negative ? -m : m;
}

template <typename Coder>
int code_unsigned(Coder& coder, int v, const Contexts& c) {
  return coder.code(v == 0, c, ZERO) ? 0 : code_magnitude(coder, v, c);
}

template <typename Coder>
int code_flag(Coder& coder, int bit, const Contexts& c) {
  return coder.code(bit, c, ZERO);
}

}  // namespace gscodec
