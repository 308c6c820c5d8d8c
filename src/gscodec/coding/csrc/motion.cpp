// Motion of the reference: a mesh of displacements, interpolated in integers at every mean.
#include "symbols.h"

namespace gscodec {

namespace {

// Place of a mean, sixteenths of a pixel from the picture's corner, kept inside the mesh.
int place(int32_t symbol, int32_t drift, int log2_step, int length) {
  const int64_t sixteenths =
      (int64_t(2 * symbol + 1) << (log2_step + 4)) / 2 - MARGIN * 16 + (drift >> (DRIFT_LOG2 - 4));
  return bound(sixteenths, 0, length * 16 - 1);
}

}  // namespace

std::vector<uint8_t> FrameCoder::used_points(bool room) const {
  const int columns = mesh_.columns, shift = mesh_.log2 + 4;
  std::vector<uint8_t> used(std::size_t(columns) * mesh_.rows, 0);
  for (const Gaussian& g : gaussians_) {
    if (g.is_room && !room) continue;
    const int step = mean_log2_step(g);
    const std::size_t first = std::size_t(place(g.s[Y], g.drift[Y], step, height_) >> shift) * columns +
                              (place(g.s[X], g.drift[X], step, width_) >> shift);
    used[first] = used[first + 1] = used[first + columns] = used[first + columns + 1] = 1;
  }
  return used;
}

std::vector<Gaussian> FrameCoder::moved(const Motion& motion) const {
  std::vector<Gaussian> out = gaussians_;
  const int columns = mesh_.columns, shift = mesh_.log2 + 4;  // of a cell's side, in sixteenths of a pixel
  const int64_t one = int64_t(1) << shift;
  if (motion.mesh.empty()) return out;
  for (Gaussian& g : out) {
    if (g.is_room && !motion.room) continue;
    const int step = mean_log2_step(g);
    const int x = place(g.s[X], g.drift[X], step, width_), y = place(g.s[Y], g.drift[Y], step, height_);
    const int64_t fx = x & (one - 1), fy = y & (one - 1);
    const int32_t* p = &motion.mesh[(std::size_t(y >> shift) * columns + (x >> shift)) * 2];
    for (int c : {X, Y}) {
      const int64_t top = p[c] * (one - fx) + p[c + 2] * fx;
      const int64_t bottom = p[c + 2 * columns] * (one - fx) + p[c + 2 * columns + 2] * fx;
      move(g, c, top * (one - fy) + bottom * fy);
    }
  }
  return out;
}

// Moves one coordinate of a mean by `sum`: units of the mesh times a cell's side². The symbol takes whole steps, the
// drift the rest.
void FrameCoder::move(Gaussian& g, int c, int64_t sum) const {
  const auto rounded = [](int64_t v, int down) { return (v + (int64_t(1) << (down - 1))) >> down; };  // half upwards
  const int step = mean_log2_step(g), down = 2 * (mesh_.log2 + 4);
  const int64_t end = int64_t((c == X ? width_ : height_) + 2 * MARGIN) * 16;
  const int last = int((end - 1) >> (step + 4));
  if (is_older_) {
    g.s[c] = bound(g.s[c] + rounded(sum, down + 2 + step), 0, last);
    return;
  }
  const int64_t drift = g.drift[c] + rounded(sum, down + 1 - DRIFT_LOG2);
  const int64_t steps = rounded(drift, step + DRIFT_LOG2), wanted = g.s[c] + steps;
  g.s[c] = bound(wanted, 0, last);
  g.drift[c] = g.s[c] == wanted ? int32_t(drift - steps * (int64_t(1) << (step + DRIFT_LOG2))) : 0;
}

}  // namespace gscodec
