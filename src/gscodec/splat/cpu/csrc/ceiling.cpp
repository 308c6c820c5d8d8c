#include "ceiling.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <vector>

namespace gscodec {
namespace {

// Nanoseconds of one call: the fastest of several batches, as others may use the core too.
template <typename Call>
double fastest_ns(const Call& call) {
  using Clock = std::chrono::steady_clock;
  double best = 1e18;
  for (int batch = 0; batch < 25; ++batch) {
    const auto begin = Clock::now();
    for (int i = 0; i < 20; ++i) call();
    best = std::min(best, std::chrono::duration<double, std::nano>(Clock::now() - begin).count() / 20);
  }
  return best;
}

}  // namespace

Ceiling measure_ceiling(const Kernels& kernels) {
  constexpr int N = 64;
  std::vector<Prepared> gaussians(N);
  for (int i = 0; i < N; ++i) {
    Prepared& g = gaussians[i];
    g = Prepared{};
    g.mean_x = TILE_W / 2 + 0.01f * float(i);
    g.mean_y = TILE_H / 2 - 0.01f * float(i);
    g.inverse = invert(8.0f, 0.5f, 8.0f, LOG2_SCALE);  // three deviations reach far beyond the tile
    g.row_ratio = std::exp2(-2.0f * g.inverse.inv_l3 * g.inverse.inv_l3);
    g.amplitude = 1.0f;
    for (int k = 0; k < N_COLORS; ++k) g.color[k] = 0.01f * float(k + 1);
  }
  std::vector<uint32_t> list(N);
  std::iota(list.begin(), list.end(), 0u);
  alignas(64) float tile[TILE_FLOATS];
  const uint32_t tiles[16] = {};  // a Gaussian's usual number of tiles, all of them the one in L1
  const double forward = fastest_ns([&] { kernels.sum.accumulate(gaussians.data(), list.data(), N, 0, 0, tile); });
  const double backward = fastest_ns([&] {
    Moments m;
    for (const Prepared& g : gaussians) kernels.sum.gather(g, tiles, 16, 1, tile, &m);
  });
  return {forward / (N * TILE_PIXELS), backward / (16 * N * TILE_PIXELS)};
}

}  // namespace gscodec
