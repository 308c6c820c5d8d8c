// Greedy integer updates on the GPU: the whole pursuit of one picture in one launch, without the host.
//
// Semantics are those of pursuit.cpp but for the order: in each round every Gaussian that something changed
// under is valued anew, the best candidates that touch no tile of a better one are drawn, and each is kept if
// D + lambda·R really fell. A round waits for its slowest block, so a warp values a small Gaussian, a block a large
// one, whichever is free, and all blocks share those that cover much of the picture.
#include "strips_cuda.cuh"

namespace gscodec {

constexpr int RATE_ENTRIES = 32;
constexpr int N_GROUPS = 4;
constexpr int LOCK = 16;        // pixels of the side of a tile that one change may touch at a time
constexpr int LARGE = 1 << 10;  // pixels of a box from which on a whole block works on it
constexpr int VAST = 1 << 13;   // … all blocks do, and in every fourth round only
constexpr int MAX_VAST = 1024;  // of them; where they are more they fill the card as large ones do
constexpr int SLICES = 64;      // of a vast Gaussian's pixels, a warp each
constexpr int N_SUMS = 10;      // of a Gaussian: its gradient in eight, Σ w·weight, Σ w
constexpr int LOCK_INDEX_BITS = 20, LOCK_ROUND_SHIFT = 52;  // a key: round, gain, Gaussian
constexpr float PI = 3.14159265f;

// What a pursuit did; the fields of pursuit.h's PursuitResult.
struct PursuitOutcome {
  double loss_before, loss;
  int tried, kept, rounds, unused;
};

struct PursuitParams {
  Scene scene;                // of one picture; params, prepared and boxes are kept up to date
  int* symbols;               // [n, 8]
  const int* base;            // [n, 8]
  const double* step;         // [n, 8]
  const double* offset;       // [n, 8]
  const int* low;             // [n, 8]
  const int* high;            // [n, 8]
  const float* first;         // [n], or null: all are coded anyway
  const float* rates;         // [8, RATE_ENTRIES], then group_on and group_off [N_GROUPS] each
  float4* rest;               // [H, W]: target minus the sum, weight; kept up to date
  float2* state;              // [n]: mean loss weight under a Gaussian, stiffness
  int* delta;                 // [n, 8]: the best candidate's change of symbols
  float* gain;                // [n]: expected fall of D + lambda·R of it
  short4* reach;              // [n]: pixels that change with it
  unsigned* valued;           // [n]: round it was valued in, 0: not yet
  unsigned* stamp;            // [locks]: last round that changed a tile, zero at the launch
  unsigned long long* locks;  // [locks], zero at the launch
  PursuitOutcome* outcome;    // zero at the launch
  unsigned char* is_vast;     // [n]
  int* order;                 // [n]: large and vast ones from the front, small ones from the back
  int* vast;                  // [MAX_VAST]
  float* slices;              // [MAX_VAST, SLICES, N_SUMS]
  unsigned* sliced;           // [MAX_VAST]: slices that are summed, zero at the launch
  int* counts;                // [4]: vast ones; in order, front and back; items taken; zero at the launch
  unsigned* flags;            // [2]: last round with a candidate; time is up; zero at the launch
  unsigned* arrived;          // zero at the launch
  int group_size, rounds, locks_x;
  float lambda, stiffness;
  double deadline_s;  // 0: never
};

struct PursuitShared {
  float partial[WARPS][N_SUMS];
  float rates[8 * RATE_ENTRIES + 2 * N_GROUPS];
  int item;
  int winners[WARPS];
};

// Threads that work on one Gaussian: a warp, or the block.
struct Crew {
  int thread, size;
  bool block;
};

GS_DEVICE unsigned long long nanoseconds() {
  unsigned long long time = 0;
#ifdef __CUDA_ARCH__
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(time));
#endif
  return time;
}

GS_DEVICE int area(short4 box) {
  return box.y < box.x || box.w < box.z ? 0 : (box.y - box.x + 1) * (box.w - box.z + 1);
}

GS_DEVICE short4 hull(short4 a, short4 b) {
  if (area(a) == 0) return b;
  if (area(b) == 0) return a;
  return {a.x < b.x ? a.x : b.x, a.y > b.y ? a.y : b.y, a.z < b.z ? a.z : b.z, a.w > b.w ? a.w : b.w};
}

// Sums N values over a crew; every thread of it learns them.
template <int N>
GS_DEVICE void crew_sum(PursuitShared& s, const Crew& crew, float values[N]) {
#pragma unroll
  for (int j = 0; j < N; ++j) values[j] = warp_sum(values[j]);
  if (!crew.block) return;
  __syncthreads();
  if (lane_id() == 0)
    for (int j = 0; j < N; ++j) s.partial[warp_id()][j] = values[j];
  __syncthreads();
#pragma unroll
  for (int j = 0; j < N; ++j) {
    values[j] = 0.0f;
    for (int w = 0; w < WARPS; ++w) values[j] += s.partial[w][j];
  }
}

// Patches of 8 x 4 pixels that cover a box.
GS_DEVICE int patches(short4 box) {
  return area(box) == 0 ? 0 : ((box.y - box.x + 8) >> 3) * ((box.w - box.z + 4) >> 2);
}

// Calls use(x, y, index, inside) for this lane's pixel of every `stride`th patch of a box, from `first` to before
// `end`. Pixels past its edge are given the index of one inside: nothing depends on `inside` before the loads, so that
// they overlap.
template <typename Use>
GS_DEVICE void for_patches(const PursuitParams& p, short4 box, int first, int end, int stride, const Use& use) {
  if (first >= end) return;
  const int columns = (box.y - box.x + 8) >> 3, down = stride / columns, across = stride - down * columns;
  int row = first / columns, column = first - row * columns;
#pragma unroll 4
  for (int patch = first; patch < end; patch += stride) {
    const int x = box.x + 8 * column + (lane_id() & 7), y = box.z + 4 * row + (lane_id() >> 3);
    use(x, y, (y < box.w ? y : box.w) * p.scene.width + (x < box.y ? x : box.y), x <= box.y && y <= box.w);
    row += down, column += across;
    if (column >= columns) column -= columns, ++row;
  }
}

// The same for all pixels of a box, shared by a crew.
template <typename Use>
GS_DEVICE void for_pixels(const PursuitParams& p, const Crew& crew, short4 box, const Use& use) {
  for_patches(p, box, crew.thread >> 5, patches(box), crew.size >> 5, use);
}

GS_DEVICE float weight_of(float4 a, float4 b, int x, int y, float& u, float& v) {
  const float dx = float(x) + 0.5f - a.x;
  u = dx * a.z;
  v = (float(y) + 0.5f - a.y) * a.w + dx * b.x;
  return weight_at(-u * u, v);
}

// Values of a Gaussian's symbols, rounded as quantize.py's dequantize does it.
GS_DEVICE void dequantize(const PursuitParams& p, int i, const int symbols[8], float out[8]) {
#pragma unroll
  for (int j = 0; j < 8; ++j)
    out[j] = float(__dadd_rn(__dmul_rn(double(symbols[j]), p.step[8 * i + j]), p.offset[8 * i + j]));
  out[2] = fmaxf(out[2], MIN_SCALE);
  out[4] = fmaxf(out[4], MIN_SCALE);
}

GS_DEVICE void load_symbols(const int* from, int i, int to[8]) {
  const int4 a = reinterpret_cast<const int4*>(from)[2 * i], b = reinterpret_cast<const int4*>(from)[2 * i + 1];
  to[0] = a.x, to[1] = a.y, to[2] = a.z, to[3] = a.w, to[4] = b.x, to[5] = b.y, to[6] = b.z, to[7] = b.w;
}

GS_DEVICE float cost(const float* table, int distance) {
  distance = distance < 0 ? -distance : distance;
  if (distance < RATE_ENTRIES) return table[distance];
  const float last = table[RATE_ENTRIES - 1];
  return last + float(distance - RATE_ENTRIES + 1) * (last - table[RATE_ENTRIES - 2]);
}

// Bits of a Gaussian with these symbols (pursuit.cpp, bits()).
GS_DEVICE float bits(const PursuitParams& p, const PursuitShared& s, float first, const int symbols[8],
                     const int base[8]) {
  constexpr int GROUP_OF[8] = {0, 0, 1, 1, 1, 2, 3, 3};
  const float *on = s.rates + 8 * RATE_ENTRIES, *off = on + N_GROUPS;
  if (!p.first && symbols[5] == 0 && symbols[6] == 0 && symbols[7] == 0) return 0.0f;
  float group[N_GROUPS] = {};
  unsigned moved = 0;
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const int distance = symbols[j] - base[j];
    group[GROUP_OF[j]] += cost(s.rates + j * RATE_ENTRIES, distance);
    moved |= unsigned(distance != 0) << GROUP_OF[j];
  }
  if (p.first && !moved) return 0.0f;
  float sum = first;
#pragma unroll
  for (int k = 0; k < N_GROUPS; ++k) sum += (moved >> k & 1u) || !p.first ? on[k] + group[k] : off[k];
  return sum;
}

// Closed-form block of JᵀJ of one Gaussian in natural coordinates (pursuit.cpp, fill_block()), which is sparse:
// means and shear stand alone, the two scales and the colours go together.
struct Block {
  float mean, scale, cross, shear, color;  // diagonals; between the scales
  float c[3], c_sq;
};

GS_DEVICE Block block_of(const float p[8], float weight) {
  const float c_sq = p[5] * p[5] + p[6] * p[6] + p[7] * p[7], area = PI * p[2] * p[4] * weight, unit = c_sq * area;
  const float color = WEIGHT_ENERGY * area;
  return {0.5f * unit, 0.75f * unit, 0.25f * unit, 0.25f * unit, color, {p[5], p[6], p[7]}, c_sq};
}

GS_DEVICE float damped(float x) { return x * 1.02f + 1e-9f; }

// The step that a group of attributes would take, 0 elsewhere: (block + damping)·x = -g.
GS_DEVICE void solve(const Block& h, const float g[8], bool means, bool shape, bool luma, bool chroma, float x[8]) {
  for (int j = 0; j < 8; ++j) x[j] = 0.0f;
  if (means) {
    x[0] = -g[0] / damped(h.mean);
    x[1] = -g[1] / damped(h.mean);
  }
  const float own = damped(h.color);
  const bool both = shape && chroma;
  if (shape) {
    const float share = both ? 0.5f * h.color / own : 0.0f;  // eliminates the colours
    const float out = share * 0.5f * h.color * h.c_sq;
    const float a = damped(h.scale) - out, b = h.cross - out;
    const float carried = share * (h.c[0] * g[5] + h.c[1] * g[6] + h.c[2] * g[7]);
    const float r2 = carried - g[2], r4 = carried - g[4], det = (a - b) * (a + b);
    x[2] = (a * r2 - b * r4) / det;
    x[4] = (a * r4 - b * r2) / det;
    x[3] = -g[3] / damped(h.shear);
  }
  const float pull = both ? 0.5f * h.color * (x[2] + x[4]) : 0.0f;
  for (int k = 0; k < 3; ++k)
    if (k == 0 ? luma : chroma) x[5 + k] = -(g[5 + k] + pull * h.c[k]) / own;
}

// Expected change of the loss for a step x.
GS_DEVICE float expected(const Block& h, const float g[8], const float x[8]) {
  float linear = 0.0f, mixed = 0.0f, colors = 0.0f;
  for (int j = 0; j < 8; ++j) linear += g[j] * x[j];
  for (int k = 0; k < 3; ++k) mixed += h.c[k] * x[5 + k], colors += x[5 + k] * x[5 + k];
  return 2.0f * linear + h.mean * (x[0] * x[0] + x[1] * x[1]) + h.scale * (x[2] * x[2] + x[4] * x[4]) +
         2.0f * h.cross * x[2] * x[4] + h.shear * x[3] * x[3] + h.color * (colors + (x[2] + x[4]) * mixed);
}

// Symbol steps nearest to a step in natural coordinates, within bounds (pursuit.cpp, to_symbols()).
GS_DEVICE void to_symbols(const PursuitParams& p, int i, const float now[8], const int symbols[8], const float x[8],
                          int delta[8]) {
  const float l1 = now[2], l2 = now[3], l3 = now[4];
  const float change[8] = {l1 * x[0], l2 * x[0] + l3 * x[1], l1 * x[2], l2 * x[2] + l3 * x[3], l3 * x[4], x[5], x[6],
                           x[7]};
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const float wanted = rintf(change[j] / float(p.step[8 * i + j]));
    int next = symbols[j] + int(fminf(fmaxf(wanted, -1e6f), 1e6f));
    const int low = p.low[8 * i + j], high = p.high[8 * i + j];
    next = next < low ? low : next > high ? high : next;
    delta[j] = next - symbols[j];
  }
}

GS_DEVICE void to_natural(const PursuitParams& p, int i, const float now[8], const int delta[8], float x[8]) {
  float moved[8];
#pragma unroll
  for (int j = 0; j < 8; ++j) moved[j] = float(delta[j]) * float(p.step[8 * i + j]);
  x[0] = moved[0] / now[2];
  x[1] = (moved[1] - now[3] * x[0]) / now[4];
  x[2] = moved[2] / now[2];
  x[3] = (moved[3] - now[3] * x[2]) / now[4];
  x[4] = moved[4] / now[4];
  for (int k = 5; k < 8; ++k) x[k] = moved[k];
}

// The candidate numbered like this lane: a group's step; back to the base; where all are coded a symbol nearer
// to what it is predicted to be, or no Gaussian at all. False if there is none of that number.
GS_DEVICE bool candidate(const PursuitParams& p, int i, const float now[8], const int symbols[8], const int base[8],
                         const float g[8], const Block& block, bool seen, int delta[8]) {
  const int lane = lane_id();
  for (int j = 0; j < 8; ++j) delta[j] = 0;
  if (lane < 7) {
    if (!seen) return false;
    // luma; colours; means; means, luma; shape; means, shape; all
    float x[8];
    solve(block, g, lane == 2 || lane == 3 || lane >= 5, lane >= 4, lane == 0 || lane == 1 || lane == 3 || lane == 6,
          lane == 1 || lane == 6, x);
    to_symbols(p, i, now, symbols, x, delta);
  } else if (p.first) {
    if (lane > 7) return false;
    for (int j = 0; j < 8; ++j) delta[j] = base[j] - symbols[j];
  } else if (lane < 25) {
    const int which = (lane - 7) % 3;
#pragma unroll
    for (int j = 2; j < 8; ++j)
      if (j == 2 + (lane - 7) / 3) {
        const int away = symbols[j] - base[j];
        delta[j] = (which == 0 ? away - (away > 0) + (away < 0) : which == 1 ? away / 2 : 0) - away;
      }
  } else if (lane == 25) {
    for (int j = 5; j < 8; ++j) delta[j] = -symbols[j];
  }
  bool any = false;
  for (int j = 0; j < 8; ++j) any |= delta[j] != 0;
  return any;
}

// Chooses the best candidate of Gaussian i as things stand. By one warp.
GS_DEVICE void propose(const PursuitParams& p, const PursuitShared& s, int i, const float now[8], const float g[8],
                       unsigned round) {
  const float2 state = p.state[i];
  const float first = p.first ? p.first[i] : 0.0f;
  int symbols[8], base[8], delta[8];
  load_symbols(p.symbols, i, symbols);
  load_symbols(p.base, i, base);
  const Block block = block_of(now, state.x * state.y);
  float gain = 0.0f;
  if (candidate(p, i, now, symbols, base, g, block, state.x > 0.0f, delta)) {
    float x[8];
    int next[8];
    to_natural(p, i, now, delta, x);
    for (int j = 0; j < 8; ++j) next[j] = symbols[j] + delta[j];
    gain = -expected(block, g, x) - p.lambda * (bits(p, s, first, next, base) - bits(p, s, first, symbols, base));
    if (!(gain > 0.02f * p.lambda)) gain = 0.0f;
  }
  float best = gain;
  for (int bit = 16; bit >= 1; bit /= 2) best = fmaxf(best, __shfl_xor_sync(ALL, best, bit));
  const unsigned winners = __ballot_sync(ALL, gain == best);
  if (lane_id() == __ffs(int(winners)) - 1) {
    p.valued[i] = round;
    p.gain[i] = best;
    if (best > 0.0f) {
      int next[8];
      float then[8];
      for (int j = 0; j < 8; ++j) next[j] = symbols[j] + delta[j], p.delta[8 * i + j] = delta[j];
      dequantize(p, i, next, then);
      p.reach[i] = hull(p.scene.boxes[i], box_of(then, p.scene.width, p.scene.height));
    }
  }
}

// Whether anything changed under Gaussian i since it was valued; the same in all threads of the crew.
GS_DEVICE bool stale(const PursuitParams& p, const Crew& crew, int i, short4 box) {
  const unsigned valued = p.valued[i];
  if (valued == 0) return true;
  bool changed = false;
  if (area(box)) {
    const int x0 = box.x / LOCK, y0 = box.z / LOCK, columns = box.y / LOCK - x0 + 1, rows = box.w / LOCK - y0 + 1;
    for (int t = crew.thread; t < columns * rows; t += crew.size)
      changed |= p.stamp[(y0 + t / columns) * p.locks_x + x0 + t % columns] >= valued;
  }
  return crew.block ? __syncthreads_or(changed) : __any_sync(ALL, changed);
}

// Adds one pixel to a Gaussian's sums.
GS_DEVICE void gather(const PursuitParams& p, float4 a, float4 b, int x, int y, int pixel, bool inside,
                      float m[N_SUMS]) {
  const float4 r = p.rest[pixel];
  float u, v;
  const float reached = weight_of(a, b, x, y, u, v), w = inside ? reached : 0.0f;
  const float e = -w * r.w, e0 = e * r.x, e1 = e * r.y, e2 = e * r.z;
  const float slope = w > 0.0f ? (w + EDGE) * -r.w : 0.0f;
  const float t = slope * (r.x * b.y + r.y * b.z + r.z * b.w), tu = t * u, tv = t * v;
  m[0] += tu, m[1] += tv, m[2] += u * tu, m[3] += u * tv, m[4] += v * tv;
  m[5] += e0, m[6] += e1, m[7] += e2;
  m[8] += w * r.w, m[9] += w;
}

// Chooses the candidate of Gaussian i from its sums. By one warp, every lane of which has them.
GS_DEVICE void choose(const PursuitParams& p, const PursuitShared& s, int i, const float m[N_SUMS], unsigned round) {
  float now[8], g[8];
  load8(p.scene.params + 8ll * i, now);
  unscale(m, g);
  if (p.valued[i] == 0 && p.state[i].y == 0.0f) {
    __syncwarp();
    if (lane_id() == 0) p.state[i] = {m[9] > 0.0f ? fmaxf(m[8] / m[9], 1e-3f) : 0.0f, p.stiffness};
    __syncwarp();
  }
  propose(p, s, i, now, g, round);
  __syncwarp();
}

// Gathers the gradient of Gaussian i and chooses its candidate.
GS_DEVICE void value(const PursuitParams& p, PursuitShared& s, const Crew& crew, int i, short4 box, unsigned round) {
  const float4 a = p.scene.prepared[2 * i], b = p.scene.prepared[2 * i + 1];
  float m[N_SUMS] = {};
  for_pixels(p, crew, box, [&](int x, int y, int pixel, bool inside) { gather(p, a, b, x, y, pixel, inside, m); });
  crew_sum<N_SUMS>(s, crew, m);
  if (crew.thread < 32) choose(p, s, i, m, round);
}

GS_DEVICE unsigned long long key_of(unsigned round, float gain, int i) {
  return (unsigned long long)round << LOCK_ROUND_SHIFT | (unsigned long long)__float_as_uint(gain) << LOCK_INDEX_BITS |
         (unsigned long long)i;
}

// Claims the tiles that the candidate of Gaussian i changes.
GS_DEVICE void claim(const PursuitParams& p, int i, unsigned round) {
  const short4 box = p.reach[i];
  if (lane_id() == 0) p.flags[0] = round;
  if (area(box) == 0) return;
  const int x0 = box.x / LOCK, y0 = box.z / LOCK, columns = box.y / LOCK - x0 + 1, rows = box.w / LOCK - y0 + 1;
  const unsigned long long key = key_of(round, p.gain[i], i);
  for (int t = lane_id(); t < columns * rows; t += 32)
    atomicMax(p.locks + (y0 + t / columns) * p.locks_x + x0 + t % columns, key);
}

// Whether nothing better claimed any of them; the same in all lanes of the warp.
GS_DEVICE bool may_change(const PursuitParams& p, int i, unsigned round) {
  const short4 box = p.reach[i];
  bool taken = false;
  if (area(box)) {
    const int x0 = box.x / LOCK, y0 = box.z / LOCK, columns = box.y / LOCK - x0 + 1, rows = box.w / LOCK - y0 + 1;
    const unsigned long long key = key_of(round, p.gain[i], i);
    for (int t = lane_id(); t < columns * rows; t += 32)
      taken |= p.locks[(y0 + t / columns) * p.locks_x + x0 + t % columns] != key;
  }
  return !__any_sync(ALL, taken);
}

// Draws the candidate of Gaussian i; keeps it if D + lambda·R falls. By a block.
GS_DEVICE void attempt(const PursuitParams& p, PursuitShared& s, int i, unsigned round) {
  const Scene& scene = p.scene;
  const Crew crew = {int(threadIdx.x), THREADS, true};
  const short4 box = p.reach[i];
  const float4 a = scene.prepared[2 * i], b = scene.prepared[2 * i + 1];
  const float first = p.first ? p.first[i] : 0.0f;
  int symbols[8], base[8], delta[8];
  float then[8];
  load_symbols(p.symbols, i, symbols);
  load_symbols(p.base, i, base);
  load_symbols(p.delta, i, delta);
  const float before = bits(p, s, first, symbols, base);
  for (int j = 0; j < 8; ++j) symbols[j] += delta[j];
  dequantize(p, i, symbols, then);
  const Inverse inverse = invert(then[2], then[3], then[4], LOG2_SCALE);
  const float4 c = {then[0], then[1], inverse.inv_l1, inverse.inv_l3}, d = {inverse.shear, then[5], then[6], then[7]};
  const auto difference = [&](int x, int y, float change[3]) {
    float u, v;
    const float old = weight_of(a, b, x, y, u, v), now = weight_of(c, d, x, y, u, v);
    change[0] = now * d.y - old * b.y;
    change[1] = now * d.z - old * b.z;
    change[2] = now * d.w - old * b.w;
  };
  float sum[1] = {0.0f};
  for_pixels(p, crew, box, [&](int x, int y, int pixel, bool inside) {
    const float4 r = p.rest[pixel];
    float e[3];
    difference(x, y, e);
    const float weight = inside ? r.w : 0.0f;
    sum[0] += weight * (e[0] * (e[0] - 2.0f * r.x) + e[1] * (e[1] - 2.0f * r.y) + e[2] * (e[2] - 2.0f * r.z));
  });
  crew_sum<1>(s, crew, sum);
  const bool good = sum[0] + p.lambda * (bits(p, s, first, symbols, base) - before) < 0.0f;
  if (good) {
    // Nobody else writes there; additions that return nothing need not wait for what they add to.
    for_pixels(p, crew, box, [&](int x, int y, int pixel, bool inside) {
      float e[3];
      difference(x, y, e);
      if (!inside) return;
      atomicAdd(&p.rest[pixel].x, -e[0]);
      atomicAdd(&p.rest[pixel].y, -e[1]);
      atomicAdd(&p.rest[pixel].z, -e[2]);
    });
    if (area(box)) {
      const int x0 = box.x / LOCK, y0 = box.z / LOCK, columns = box.y / LOCK - x0 + 1, rows = box.w / LOCK - y0 + 1;
      for (int t = crew.thread; t < columns * rows; t += crew.size)
        p.stamp[(y0 + t / columns) * p.locks_x + x0 + t % columns] = round;
    }
  }
  if (crew.thread == 0) {
    const float stiffness = p.state[i].y;
    p.state[i].y = good ? fmaxf(1.0f, 0.9f * stiffness) : 2.0f * stiffness;
    p.valued[i] = 0;
    atomicAdd(&p.outcome->tried, 1);
    if (good) {
      atomicAdd(&p.outcome->kept, 1);
      for (int j = 0; j < 8; ++j) p.symbols[8 * i + j] = symbols[j];
      store8(scene.params + 8ll * i, then);
      prepare_gaussian(scene, i, then);
    }
  }
  __syncthreads();
}

// Whether vast Gaussians are worked on.
GS_DEVICE bool is_their_turn(unsigned round) { return round % 4 == 1; }

// Sorts the Gaussians by who works on them.
GS_DEVICE void sort_by_size(const PursuitParams& p, int rank) {
  const int n = p.scene.first[1];
  for (int i = rank * THREADS + int(threadIdx.x); i < n; i += p.group_size * THREADS) {
    const int pixels = area(p.scene.boxes[i]);
    p.is_vast[i] = pixels >= VAST;
    if (pixels >= VAST) {
      const int place = atomicAdd(p.counts, 1);
      if (place < MAX_VAST) p.vast[place] = i;
    }
    if (pixels >= LARGE)
      p.order[atomicAdd(p.counts + 1, 1)] = i;
    else
      p.order[n - 1 - atomicAdd(p.counts + 2, 1)] = i;
    p.valued[i] = 0;
    p.state[i] = {0.0f, 0.0f};
  }
}

// Vast Gaussians that all blocks share.
GS_DEVICE int n_vast(const PursuitParams& p) { return p.counts[0] <= MAX_VAST ? p.counts[0] : 0; }

// Values the vast Gaussians, a slice to each warp of all blocks; the warp that ends last adds the slices up.
GS_DEVICE void value_vast(const PursuitParams& p, const PursuitShared& s, int rank, unsigned round) {
  const int slices = SLICES * n_vast(p);
  for (int slice = rank + warp_id() * p.group_size; slice < slices; slice += p.group_size * WARPS) {
    const int v = slice / SLICES, k = slice % SLICES, i = p.vast[v];
    const short4 box = p.scene.boxes[i];
    const int count = patches(box), share = (count + SLICES - 1) / SLICES;
    const float4 a = p.scene.prepared[2 * i], b = p.scene.prepared[2 * i + 1];
    float m[N_SUMS] = {};
    for_patches(p, box, k * share, min(count, (k + 1) * share), 1,
                [&](int x, int y, int pixel, bool inside) { gather(p, a, b, x, y, pixel, inside, m); });
    for (float& x : m) x = warp_sum(x);
    bool last = false;
    if (lane_id() == 0) {
      for (int j = 0; j < N_SUMS; ++j) p.slices[slice * N_SUMS + j] = m[j];
      __threadfence();
      last = atomicAdd(p.sliced + v, 1u) == SLICES - 1;
    }
    if (!__shfl_sync(ALL, last, 0)) continue;
    __threadfence();
    for (float& x : m) x = 0.0f;
    for (int other = lane_id(); other < SLICES; other += 32)
      for (int j = 0; j < N_SUMS; ++j) m[j] += __ldcg(p.slices + (v * SLICES + other) * N_SUMS + j);
    for (float& x : m) x = warp_sum(x);
    if (lane_id() == 0) p.sliced[v] = 0;
    choose(p, s, i, m, round);
    if (p.gain[i] > 0.0f) claim(p, i, round);
  }
}

// Values Gaussian i if something changed under it, and puts its candidate forward.
GS_DEVICE void refresh(const PursuitParams& p, PursuitShared& s, const Crew& crew, int i, unsigned round) {
  const short4 box = p.scene.boxes[i];
  if (stale(p, crew, i, box)) value(p, s, crew, i, box, round);
  if (crew.thread < 32 && p.gain[i] > 0.0f) claim(p, i, round);
}

// The others: blocks take them as they become free, one large Gaussian or as many small ones as they have warps.
GS_DEVICE void value_others(const PursuitParams& p, PursuitShared& s, int rank, unsigned round) {
  const int n_large = p.counts[1], n_small = p.counts[2], n = p.scene.first[1];
  const int n_items = n_large + (n_small + WARPS - 1) / WARPS;
  const bool shared = n_vast(p) > 0;
  for (int item = rank; item < n_items;) {
    if (item < n_large) {
      const int i = p.order[item];
      if (!shared || !p.is_vast[i]) refresh(p, s, Crew{int(threadIdx.x), THREADS, true}, i, round);
    } else {
      const int k = (item - n_large) * WARPS + warp_id();
      if (k < n_small) refresh(p, s, Crew{lane_id(), 32, false}, p.order[n - 1 - k], round);
    }
    if (threadIdx.x == 0) s.item = p.group_size + atomicAdd(p.counts + 3, 1);
    __syncthreads();
    item = s.item;
    __syncthreads();
  }
}

// Draws the candidates that nothing better stands in the way of: a warp finds one, its block draws it.
GS_DEVICE void attempt_winners(const PursuitParams& p, PursuitShared& s, int rank, unsigned round) {
  const int n = p.scene.first[1];
  const bool all = n_vast(p) == 0 || is_their_turn(round);
  for (int begin = rank; begin < n; begin += p.group_size * WARPS) {
    const int i = begin + warp_id() * p.group_size;
    const bool stands = i < n && p.gain[i] > 0.0f && (all || !p.is_vast[i]) && may_change(p, i, round);
    if (lane_id() == 0) s.winners[warp_id()] = stands ? i : -1;
    __syncthreads();
    for (int w = 0; w < WARPS; ++w)
      if (s.winners[w] >= 0) attempt(p, s, s.winners[w], round);
    __syncthreads();
  }
}

GS_DEVICE double picture_loss(const PursuitParams& p, int rank) {
  const int pixels = p.scene.width * p.scene.height;
  double sum = 0.0;
  for (int i = rank * THREADS + int(threadIdx.x); i < pixels; i += p.group_size * THREADS) {
    const float4 r = p.rest[i];
    sum += double(r.w * (r.x * r.x + r.y * r.y + r.z * r.z));
  }
  return warp_sum(sum);
}

// Grid group_size, cooperative. `rest` is what `draw` left of the picture as it stands.
extern "C" __global__ void __launch_bounds__(THREADS, 2) pursue(const PursuitParams p) {
  GS_SHARED(PursuitShared, s);
  const Scene& scene = p.scene;
  Group group = {p.arrived, int(blockIdx.x), p.group_size, 0};
  const int thread = int(threadIdx.x), n = scene.first[1];
  const unsigned long long deadline = nanoseconds() + (unsigned long long)(1e9 * p.deadline_s);
  for (int j = thread; j < 8 * RATE_ENTRIES + 2 * N_GROUPS; j += THREADS) s.rates[j] = p.rates[j];
  sort_by_size(p, group.rank);
  const double before = picture_loss(p, group.rank);
  if (lane_id() == 0) atomicAdd(&p.outcome->loss_before, before);
  sync(group);
  unsigned round = 1;
  for (; round <= unsigned(p.rounds); ++round) {
    if (is_their_turn(round))
      value_vast(p, s, group.rank, round);
    else if (group.rank == 0)
      for (int v = thread; v < n_vast(p); v += THREADS)
        if (p.gain[p.vast[v]] > 0.0f) p.flags[0] = round;  // its turn will come
    value_others(p, s, group.rank, round);
    if (thread == 0 && group.rank == 0 && p.deadline_s > 0.0 && nanoseconds() > deadline) p.flags[1] = 1;
    volatile unsigned* flags = p.flags;
    if (sync(group, [&] { return flags[0] != round || flags[1] != 0; })) break;
    if (thread == 0 && group.rank == 0) p.counts[3] = 0;
    attempt_winners(p, s, group.rank, round);
    sync(group);
  }
  const double after = picture_loss(p, group.rank);
  if (lane_id() == 0) atomicAdd(&p.outcome->loss, after);
  if (group.rank == 0 && thread == 0) p.outcome->rounds = int(round) - 1;
}

}  // namespace gscodec
