// Which seed each pixel is nearest to, on the GPU: superpixels.cpp's nearest_seeds without its iterations, in one
// launch. The order of sums is another one, but the same in every run.
//
// The problem and the method are told in superpixels.cpp. Its walk along the Hilbert curve is sequential: each seed's
// place depends on all density before it. Here that is a prefix sum in two levels, within chunks of as many blocks of
// the curve as a block has threads, then over chunks; after it every thread knows where on the curve it stands and
// places the seeds that fall to it. Seeds then bid for pixels by an atomic minimum over (distance, number) in one
// 64-bit word, which gives the first of equals, as the sequential loop does.
//
// Invariant: sums are in double and in an order that the picture's size and the launch fix, never in that of atomics.
#include "splat/cuda/csrc/fit_pass.cuh"
#include "superpixel_constants.h"

namespace gscodec {

struct Seed {
  float x, y, spacing;  // spacing 0: there is none of this number
  int region;
  float color[3], pad;
};

struct RegionSums {
  double total;  // of its density
  int pixels, first;
};

struct SeedParams {
  const float4* target;         // [H, W]: Y, U, V, weight
  const unsigned char* region;  // [H, W]
  const int* counts;            // [regions]
  float* density;               // [H, W]: gradients, and what they make
  double* gradients;            // [group_size]: sums
  double* before;               // [regions, side²]: density on the curve before a block, within its chunk
  double* chunks;               // [regions, n_chunks]: of whole chunks, and then before them
  RegionSums* sums;             // [regions], zero at the launch
  Seed* seeds;                  // [Σ counts], zero at the launch
  unsigned long long* nearest;  // [H, W]: distance, seed
  int* labels;                  // [H, W]
  unsigned* arrived;            // zero at the launch
  int regions, n_seeds, width, height, side, n_chunks, group_size;
  float detail;
};

struct SeedShared {
  double partial[WARPS];
};

// Block coordinates of position d on the Hilbert curve over a side x side square (superpixels.cpp).
GS_DEVICE int2 hilbert(int side, int d) {
  int x = 0, y = 0;
  for (int s = 1; s < side; s *= 2) {
    const int rx = 1 & (d / 2), ry = 1 & (d ^ rx);
    if (ry == 0) {
      if (rx == 1) x = s - 1 - x, y = s - 1 - y;
      const int t = x;
      x = y;
      y = t;
    }
    x += s * rx;
    y += s * ry;
    d /= 4;
  }
  return {x, y};
}

// Sum over the block of what the threads before this one have; *all of everybody's.
GS_DEVICE double block_scan(SeedShared& s, double own, double* all) {
  double sum = own;
  for (int step = 1; step < 32; step *= 2) {
    const double before = __shfl_up_sync(ALL, sum, step);
    if (lane_id() >= step) sum += before;
  }
  __syncthreads();
  if (lane_id() == 31) s.partial[warp_id()] = sum;
  __syncthreads();
  double offset = 0.0, total = 0.0;
  for (int w = 0; w < WARPS; ++w) {
    if (w < warp_id()) offset += s.partial[w];
    total += s.partial[w];
  }
  *all = total;
  return offset + (sum - own);
}

GS_DEVICE int mirrored(int i, int n) { return i < 0 ? -i : i < n ? i : 2 * n - 2 - i; }

GS_DEVICE float gradient(const SeedParams& p, int x, int y) {
  float v[3][3];
  for (int j = 0; j < 3; ++j)
    for (int i = 0; i < 3; ++i)
      v[j][i] = p.target[mirrored(y + j - 1, p.height) * p.width + mirrored(x + i - 1, p.width)].x;
  const float dx = (v[0][2] - v[0][0]) + 2.0f * (v[1][2] - v[1][0]) + (v[2][2] - v[2][0]);
  const float dy = (v[2][0] - v[0][0]) + 2.0f * (v[2][1] - v[0][1]) + (v[2][2] - v[0][2]);
  return sqrtf(dx * dx + dy * dy);
}

// Calls use(x, y, index) for the pixels of a block of the curve that lie in the picture.
template <typename Use>
GS_DEVICE void for_block(const SeedParams& p, int2 block, const Use& use) {
  for (int y = block.y * BLOCK; y < min(p.height, block.y * BLOCK + BLOCK); ++y)
    for (int x = block.x * BLOCK; x < min(p.width, block.x * BLOCK + BLOCK); ++x) use(x, y, y * p.width + x);
}

GS_DEVICE bool has_detail(const SeedParams& p) { return p.detail != 0.0f && p.width > 1 && p.height > 1; }

// Gradients, and their sum over this block of threads.
GS_DEVICE void find_gradients(const SeedParams& p, SeedShared& s, int rank) {
  double sum = 0.0, all;
  for (int i = rank * THREADS + int(threadIdx.x); i < p.width * p.height; i += p.group_size * THREADS) {
    const float g = has_detail(p) ? gradient(p, i % p.width, i / p.width) : 0.0f;
    p.density[i] = g;
    p.nearest[i] = ~0ull;
    sum += double(g);
  }
  block_scan(s, sum, &all);
  if (threadIdx.x == 0) p.gradients[rank] = all;
}

// Densities, and how much of each region's lies before a block of the curve within its chunk.
GS_DEVICE void find_density(const SeedParams& p, SeedShared& s, int rank) {
  double sum = 0.0, all;
  for (int i = int(threadIdx.x); i < p.group_size; i += THREADS) sum += p.gradients[i];
  block_scan(s, sum, &all);
  const float floor = FLAT_DETAIL * float(all / (double(p.width) * p.height)) + 1e-6f;
  for (int chunk = rank; chunk < p.n_chunks; chunk += p.group_size) {
    const int d = chunk * THREADS + int(threadIdx.x);
    const int2 block = hilbert(p.side, d);
    const bool inside = d < p.side * p.side;
    if (inside)
      for_block(p, block,
                [&](int, int, int i) { p.density[i] = has_detail(p) ? powf(p.density[i] + floor, p.detail) : 1.0f; });
    for (int r = 0; r < p.regions; ++r) {
      double own = 0.0;
      int pixels = 0;
      if (inside)
        for_block(p, block, [&](int, int, int i) {
          if (p.region[i] == r) own += double(p.density[i]), ++pixels;
        });
      const double before = block_scan(s, own, &all);
      if (inside) p.before[(long long)r * p.side * p.side + d] = before;
      if (threadIdx.x == 0) p.chunks[r * p.n_chunks + chunk] = all;
      pixels = warp_sum(pixels);
      if (lane_id() == 0 && pixels) atomicAdd(&p.sums[r].pixels, pixels);
    }
  }
}

// What lies before each chunk. A region's by one block of threads.
GS_DEVICE void add_chunks(const SeedParams& p, SeedShared& s, int rank) {
  for (int r = rank; r < p.regions; r += p.group_size) {
    double* chunks = p.chunks + r * p.n_chunks;
    double sofar = 0.0, all;
    for (int begin = 0; begin < p.n_chunks; begin += THREADS) {
      const int c = begin + int(threadIdx.x);
      const double before = block_scan(s, c < p.n_chunks ? chunks[c] : 0.0, &all);
      if (c < p.n_chunks) chunks[c] = sofar + before;
      sofar += all;
    }
    if (threadIdx.x == 0) {
      p.sums[r].total = sofar;
      for (int q = 0; q < r; ++q) p.sums[r].first += p.counts[q];
    }
  }
}

// A seed wherever the density so far passes an odd multiple of half a stride.
GS_DEVICE void place_seeds(const SeedParams& p, int rank) {
  for (int chunk = rank; chunk < p.n_chunks; chunk += p.group_size) {
    const int d = chunk * THREADS + int(threadIdx.x);
    if (d >= p.side * p.side) continue;
    const int2 block = hilbert(p.side, d);
    for (int r = 0; r < p.regions; ++r) {
      const RegionSums region = p.sums[r];
      const int count = p.counts[r];
      if (!(region.total > 0.0) || isinf(region.total) || count < 1) continue;
      const double stride = region.total / count, least = LEAST_DENSITY * region.total / region.pixels;
      double sum = p.chunks[r * p.n_chunks + chunk] + p.before[(long long)r * p.side * p.side + d];
      int passed = min(count, int(sum / stride + 0.5));
      for_block(p, block, [&](int x, int y, int i) {
        if (p.region[i] != r) return;
        sum += double(p.density[i]);
        const int now = min(count, int(sum / stride + 0.5));
        if (now == passed) return;
        passed = now;
        const float4 c = p.target[i];
        const float spacing = float(sqrt(stride / fmax(double(p.density[i]), least)));
        p.seeds[region.first + now - 1] = {float(x) + 0.5f, float(y) + 0.5f, spacing, r, {c.x, c.y, c.z}, 0.0f};
      });
    }
  }
}

// Each seed asks for the pixels in its reach; the nearest gets them, the first of equals. A warp to a seed.
GS_DEVICE void ask(const SeedParams& p, int rank) {
  const float color_scale = 1.0f / (COMPACTNESS * COMPACTNESS);
  for (int n = rank + warp_id() * p.group_size; n < p.n_seeds; n += p.group_size * WARPS) {
    const Seed c = p.seeds[n];
    if (c.spacing == 0.0f) continue;
    const float reach = REACH * c.spacing + 1.0f, inv = 1.0f / (c.spacing * c.spacing);
    const int x0 = max(0, int(c.x - reach)), x1 = int(fminf(float(p.width), c.x + reach + 1.0f));
    const int y0 = max(0, int(c.y - reach)), y1 = int(fminf(float(p.height), c.y + reach + 1.0f));
    for (int y = y0 + (lane_id() >> 3); y < y1; y += 4)
      for (int x = x0 + (lane_id() & 7); x < x1; x += 8) {
        const int i = y * p.width + x;
        if (p.region[i] != c.region) continue;
        const float4 t = p.target[i];
        const float dx = float(x) + 0.5f - c.x, dy = float(y) + 0.5f - c.y;
        const float e0 = t.x - c.color[0], e1 = t.y - c.color[1], e2 = t.z - c.color[2];
        const float away = (e0 * e0 + e1 * e1 + e2 * e2) * color_scale + (dx * dx + dy * dy) * inv;
        if (!(away < 3e38f)) continue;
        const unsigned long long key = (unsigned long long)__float_as_uint(away) << 32 | unsigned(n);
        if (key < p.nearest[i]) atomicMin(p.nearest + i, key);
      }
  }
}

// Grid group_size, cooperative.
extern "C" __global__ void __launch_bounds__(THREADS) nearest_seeds(const SeedParams p) {
  GS_SHARED(SeedShared, s);
  Group group = {p.arrived, int(blockIdx.x), p.group_size, 0};
  find_gradients(p, s, group.rank);
  sync(group);
  find_density(p, s, group.rank);
  sync(group);
  add_chunks(p, s, group.rank);
  sync(group);
  place_seeds(p, group.rank);
  sync(group);
  ask(p, group.rank);
  sync(group);
  for (int i = group.rank * THREADS + int(threadIdx.x); i < p.width * p.height; i += p.group_size * THREADS)
    p.labels[i] = p.nearest[i] == ~0ull ? -1 : int(p.nearest[i] & 0xffffffffu);
}

}  // namespace gscodec
