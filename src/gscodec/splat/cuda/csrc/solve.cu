// Colours on the GPU: the best ones for Gaussians that stand still, in one launch, without the host.
//
// A picture is linear in its colours whatever the blend, so the best are a weighted least-squares problem, solved by
// preconditioned conjugate gradients (Hestenes and Stiefel, 1952). A sweep draws a direction and gathers what the
// picture of it says to each Gaussian: a fit's two passes, by the same blocks in the same groups (fit.cu).
//
// Invariant: sums that steer all threads of a group are read after a barrier, so all take the same steps. Semantics are
// those of fit.cpp, solve_colors().
#include "fit_pass.cuh"

namespace gscodec {

struct SolveParams {
  Scene scene;
  Lists lists;
  Targets targets;
  float* gradient;    // [total, PARAMS]
  float* normal;      // [total, 8]: of the normal equations the residual, the diagonal, the direction
  double* dots;       // [pictures, sweeps + 1, 12], zero at the launch
  double* loss;       // [pictures], zero at the launch
  unsigned* arrived;  // [groups], zero at the launch
  int group_size, groups, sweeps;
  float ridge;
};

// FIRST: e is that of picture - target; otherwise of the picture alone.
template <bool FIRST>
GS_DEVICE void solve_strip(const SolveParams& p, FitShared& s, const Picture& picture, int number, Loss& loss) {
  const Strip strip = strip_at(p.scene, p.lists, picture, number);
  if (strip.outside || (!FIRST && !strip.near_any)) return;
  const Targets targets = targets_of(p.targets, p.scene, picture.number);
  float e[ROWS][CHANNELS], weight[ROWS];
  const int kept = residual<FIRST>(p.scene, targets, s, strip, e, weight, loss);
  Store& store = s.stores[warp_id()];
  for_kept(store, p.scene, strip, kept, [&](int count) {
#pragma unroll 2
    for (int j = 0; j < count; ++j)
      gather_color(store.gaussians[j][0], store.gaussians[j][1], strip.place, e, weight,
                   p.gradient + PARAMS * store.index[j]);
  });
}

template <bool FIRST>
GS_DEVICE void solve_pass(const SolveParams& p, FitShared& s, const Group& group, const Picture& picture, Loss& loss) {
  const int team = warp_id() / TEAM;
  for (int strip = group.rank + team * group.size; strip < picture.strips; strip += group.size * TEAMS)
    solve_strip<FIRST>(p, s, picture, strip, loss);
}

GS_DEVICE void add_dots(double* dots, const float* terms, int n) {
  for (int j = 0; j < n; ++j) {
    const float sum = warp_sum(terms[j]);
    if (lane_id() == 0 && sum != 0.0f) atomicAdd(dots + j, double(sum));
  }
}

// Where conjugate gradients keep a Gaussian's direction, three floats: where drawing takes colours from, as what is
// drawn in a sweep is the direction. Under the normalised blend colours are drawn times the amplitude, so it has a
// place of its own.
GS_DEVICE float* direction_of(const SolveParams& p, int i) {
  if (NORMALISED) return p.normal + 8ll * i + 4;
  return reinterpret_cast<float*>(p.scene.prepared + 2ll * i + 1) + 1;
}

// Has the next sweep draw the direction.
GS_DEVICE void draw_direction(const SolveParams& p, int i, const float* direction) {
  if (!NORMALISED) return;
  const float own = fabsf(p.scene.amplitudes[i]);
  float* color = reinterpret_cast<float*>(p.scene.prepared + 2ll * i + 1) + 1;
  for (int k = 0; k < 3; ++k) color[k] = own * direction[k];
}

// What is gathered of a colour times this is Bᵀ·e.
GS_DEVICE float scale_of(const SolveParams& p, int i) { return NORMALISED ? fabsf(p.scene.amplitudes[i]) : 1.0f; }

// Conjugate gradients on BᵀWB·c = BᵀW·picture with its diagonal as preconditioner (fit.cpp, solve_colors).
GS_DEVICE void solve_picture(const SolveParams& p, FitShared& s, Group& group, int number) {
  const Scene& scene = p.scene;
  const Picture picture = picture_at(scene, p.lists, number);
  const int begin = picture.first, end = begin + picture.n;
  const int thread = int(threadIdx.x);
  const int own = begin + group.rank * THREADS + thread, stride = group.size * THREADS;
  const int rounds = (end - begin + stride - 1) / stride;  // of this group's threads over the Gaussians
  double* dots = p.dots + (long long)number * (p.sweeps + 1) * 12;

  for (int i = own; i < end; i += stride) {
    const float zero[PARAMS] = {};
    float now[PARAMS];
    load_row(scene.params, i, now);
    prepare_gaussian(scene, i, now);
    store_row(p.gradient, i, zero);
  }
  sync(group);
  int parity = 0;
  list_tiles(scene, p.lists, s, group, picture, parity);
  Loss loss = {0.0f, 0.0f};
  solve_pass<true>(p, s, group, picture, loss);
  block_sum(s, loss.all, loss.roi);
  if (thread == 0) atomicAdd(p.loss + number, double(loss.all));
  sync(group);

  for (int round = 0; round < rounds; ++round) {
    const int i = own + round * stride;
    float terms[3] = {0.0f, 0.0f, 0.0f};
    if (i < end) {
      float *g = p.gradient + (long long)PARAMS * i, *residual = p.normal + 8ll * i, *direction = direction_of(p, i);
      const float scale = scale_of(p, i);
      const float diagonal = (NORMALISED ? scale * scale : 0.5f) * g[4] + 1e-3f;
      for (int k = 0; k < 3; ++k) {
        residual[k] = -scale * g[5 + k];
        direction[k] = residual[k] / diagonal;
        terms[k] = residual[k] * direction[k];
      }
      residual[3] = diagonal;
      draw_direction(p, i, direction);
      for (int j = 4; j < 8; ++j) g[j] = 0.0f;
    }
    add_dots(dots, terms, 3);
  }
  sync(group);

  for (int sweep = 0; sweep < p.sweeps; ++sweep, dots += 12) {
    solve_pass<false>(p, s, group, picture, loss);
    sync(group);
    for (int round = 0; round < rounds; ++round) {
      const int i = own + round * stride;
      float terms[9] = {};
      if (i < end) {
        float *g = p.gradient + (long long)PARAMS * i, *residual = p.normal + 8ll * i;
        const float *direction = direction_of(p, i), scale = scale_of(p, i);
        for (int k = 0; k < 3; ++k) {
          const float image = scale * g[5 + k] + p.ridge * residual[3] * direction[k];
          g[5 + k] = image;
          terms[k] = direction[k] * image;
          terms[3 + k] = residual[k] * image / residual[3];
          terms[6 + k] = image * image / residual[3];
        }
      }
      add_dots(dots + 3, terms, 9);
    }
    sync(group);
    // The next ρ is foretold from these sums, which saves a barrier; it is summed afresh for the next step.
    float alpha[3], beta[3];
    for (int k = 0; k < 3; ++k) {
      const double rho = dots[k], curvature = dots[3 + k];
      const double length = curvature > 0.0 ? rho / curvature : 0.0;
      const double next_rho = rho - 2.0 * length * dots[6 + k] + length * length * dots[9 + k];
      alpha[k] = float(length);
      beta[k] = rho > 0.0 ? float(fmax(next_rho, 0.0) / rho) : 0.0f;
    }
    for (int round = 0; round < rounds; ++round) {
      const int i = own + round * stride;
      float terms[3] = {0.0f, 0.0f, 0.0f};
      if (i < end) {
        float *g = p.gradient + (long long)PARAMS * i, *residual = p.normal + 8ll * i, *direction = direction_of(p, i);
        float* color = scene.params + (long long)PARAMS * i + 5;
        for (int k = 0; k < 3; ++k) {
          color[k] += alpha[k] * direction[k];
          residual[k] -= alpha[k] * g[5 + k];
          const float z = residual[k] / residual[3];
          direction[k] = z + beta[k] * direction[k];
          terms[k] = residual[k] * z;
        }
        draw_direction(p, i, direction);
        for (int j = 4; j < 8; ++j) g[j] = 0.0f;
      }
      add_dots(dots + 12, terms, 3);
    }
    sync(group);
  }
}

// Grid groups * group_size, cooperative.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) solve(const SolveParams p) {
  GS_SHARED(FitShared, s);
  const int number = int(blockIdx.x) / p.group_size;
  Group group = {p.arrived + number, int(blockIdx.x) % p.group_size, p.group_size, 0};
  for (int picture = number; picture < p.scene.pictures; picture += p.groups) solve_picture(p, s, group, picture);
}

}  // namespace gscodec
