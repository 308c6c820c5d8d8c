// Drawing on the GPU: pictures as floats, R'G'B', NV12; targets from pictures; gradients of a picture.
//
// One block per tile and picture. Launches go in the order prepare, list_cells (many Gaussians only), then
// any number of drawing kernels. Pictures are [pictures, height, width, ...], targets float4 (Y, U, V, weight).
#include "gaussian_pass.cuh"

namespace gscodec {

struct DrawParams {
  Scene scene;
  float* picture;                           // [pictures, H, W, 3], or null
  unsigned char* rgb;                       // [pictures, H, W, 3], or null
  unsigned char* alpha;                     // [pictures, H, W], or null
  unsigned char* nv12;                      // [pictures, H + (H + 1) / 2, pitch], or null
  const float4* target;                     // [pictures, H, W], or null
  float4* residual;                         // [pictures, H, W]: target minus picture, weight
  float4* sums;                             // [pictures, H, W]: colours, Σ weight; or null; normalised blend only
  float* persons;                           // [pictures, H, W]: Σ weight of the person's, beside that
  const float* grounds;                     // [pictures, 3]: as `ground`; null: that for all
  int one_target;                           // not 0: target is [H, W], the same for all pictures
  int adds;                                 // not 0: to the sums and persons that are there
  int pitch;                                // bytes of a row of nv12: W rounded up to even
  float matrix[9];                          // R'G'B' in [0, 255] from the picture's colours, row by row
  float ground[3];                          // R'G'B' in [0, 255] that means count their colours from
  float background[3];                      // R'G'B' in [0, 255], used with alpha
  float luma[4], chroma_b[4], chroma_r[4];  // Y'CbCr codes from R'G'B' in [0, 255]: three factors, offset
};

struct TargetParams {
  const unsigned char* rgb;           // [pictures, H, W, 3], or null: then
  const float* picture;               // [pictures, H, W, 3]
  const float* weight;                // [pictures, H, W], or null: then
  const unsigned char* weight_codes;  // [pictures, H, W], in 255ths
  float4* target;                     // [pictures, H, W]
  unsigned* roi_pixels;               // [pictures], zero at the launch
  int pictures, pixels;
  float matrix[9];  // the picture's colours from R'G'B' codes, row by row
};

struct GatherParams {
  Scene scene;
  const float* by_picture;  // [pictures, H, W, 3]: the loss's derivative, or null: then weight·(picture - target) of
  const float4* residual;   // [pictures, H, W]: target minus picture, weight
  float* gradient;          // [total, PARAMS], zero at the launch
};

struct LossParams {
  const float4* residual;  // [pictures, H, W]: target minus picture, weight
  double2* losses;         // [pictures], zero at the launch: Σ weight·d², Σ over the ROI of d²
  int pixels, pictures;
};

GS_DEVICE int code(float x) { return int(fminf(fmaxf(x, 0.0f), 255.0f) + 0.5f); }

// A pixel's sums -> its colours, in place; returns its alpha, 1 where none is asked for. With the person told from the
// room the colours are summed over the person alone (the room's Gaussians come with none) and shown in its share.
template <int N>
GS_DEVICE float show(const DrawParams& p, float sums[N]) {
  if (!NORMALISED) return N > WEIGHT ? fminf(sums[N > WEIGHT ? WEIGHT : 0], 1.0f) : 1.0f;
  float share = share_of(sums[NORMALISED ? WEIGHT : 0]), alpha = 1.0f;
  if (HAS_PERSON && p.alpha) {
    const float person = sums[HAS_PERSON ? PERSON : 0];
    alpha = fminf(fmaxf(person * share, 0.0f), 1.0f);
    share = share_of(person);
  }
  for (int k = 0; k < N_COLORS; ++k) sums[k] *= share;
  return alpha;
}

// The colours of one pixel in R'G'B', [0, 255] but for overshoot.
GS_DEVICE void to_rgb(const DrawParams& p, int picture, const float* color, float alpha, float rgb[3]) {
#pragma unroll
  for (int k = 0; k < 3; ++k) {
    const float* m = p.matrix + 3 * k;
    float own = color[0] * m[0] + color[1] * m[1] + color[2] * m[2];
    // A sum's colours have its alpha in them.
    if (NORMALISED) own = alpha * (own + (p.grounds ? p.grounds[3 * picture + k] : p.ground[k]));
    rgb[k] = own + (1.0f - alpha) * p.background[k];
  }
}

// A warp's strip as R'G'B' bytes: gathered in shared memory to leave in pieces of 16 bytes.
template <int N>
GS_DEVICE void store_rgb(const DrawParams& p, Shared& s, int picture, const Place& place, const float colors[ROWS][N],
                         const float alpha[ROWS]) {
  const Scene& scene = p.scene;
  const int lane = lane_id();
  unsigned char* strip = reinterpret_cast<unsigned char*>(s.gaussians) + warp_id() * (STRIP_W * 3 * STRIP_H);
  unsigned char* out = p.rgb + (long long)picture * scene.height * scene.width * 3;
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    float rgb[3];
    to_rgb(p, picture, colors[r], alpha[r], rgb);
    unsigned char* to = strip + (((lane >> 4) * ROWS + r) * STRIP_W + (lane & 15)) * 3;
    for (int k = 0; k < 3; ++k) to[k] = (unsigned char)code(rgb[k]);
  }
  __syncwarp();
  const bool whole = place.left + STRIP_W <= scene.width && scene.width % 16 == 0;
  for (int i = lane; i < STRIP_H * 3; i += 32) {
    const int row = i / 3, y = place.top + row;
    if (y >= scene.height) continue;
    const unsigned char* from = strip + i * 16;
    unsigned char* to = out + ((long long)y * scene.width + place.left) * 3 + (i - row * 3) * 16;
    if (whole) {
      *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(from);
    } else {
      const int bytes = (scene.width - place.left) * 3 - (i - row * 3) * 16;
      for (int b = 0; b < 16 && b < bytes; ++b) to[b] = from[b];
    }
  }
}

// Y' of every pixel and the mean CbCr of each 2 x 2; pixels past the edge count as their neighbours.
template <int N>
GS_DEVICE void store_nv12(const DrawParams& p, int picture, const Place& place, const float colors[ROWS][N]) {
  const Scene& scene = p.scene;
  const int chroma_rows = (scene.height + 1) / 2;
  unsigned char* luma = p.nv12 + (long long)picture * (scene.height + chroma_rows) * p.pitch;
  unsigned char* chroma = luma + (long long)scene.height * p.pitch;
#pragma unroll
  for (int r = 0; r < ROWS; r += 2) {
    float cb = 0.0f, cr = 0.0f, last_b = 0.0f, last_r = 0.0f;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float rgb[3];
      if (r + i < ROWS) to_rgb(p, picture, colors[r + i < ROWS ? r + i : r], 1.0f, rgb);
      for (int k = 0; k < 3; ++k) rgb[k] = fminf(fmaxf(rgb[k], 0.0f), 255.0f);
      const int y = place.y + r + i;
      const float code_y = rgb[0] * p.luma[0] + rgb[1] * p.luma[1] + rgb[2] * p.luma[2] + p.luma[3];
      if (y < scene.height && place.x < scene.width)
        luma[(long long)y * p.pitch + place.x] = (unsigned char)code(code_y);
      if (y < scene.height) {
        last_b = rgb[0] * p.chroma_b[0] + rgb[1] * p.chroma_b[1] + rgb[2] * p.chroma_b[2] + p.chroma_b[3];
        last_r = rgb[0] * p.chroma_r[0] + rgb[1] * p.chroma_r[1] + rgb[2] * p.chroma_r[2] + p.chroma_r[3];
      }
      cb += 0.5f * last_b;
      cr += 0.5f * last_r;
    }
    const float other_b = __shfl_xor_sync(ALL, cb, 1), other_r = __shfl_xor_sync(ALL, cr, 1);
    const bool alone = place.x + 1 >= scene.width;
    if ((place.x & 1) == 0 && place.x < scene.width && place.y + r < scene.height) {
      unsigned char* to = chroma + (long long)((place.y + r) / 2) * p.pitch + place.x;
      to[0] = (unsigned char)code(0.5f * (cb + (alone ? cb : other_b)));
      to[1] = (unsigned char)code(0.5f * (cr + (alone ? cr : other_r)));
    }
  }
}

// N: what is summed of a pixel; under the sum one more than colours are their weights, for alpha.
template <int N>
GS_DEVICE void draw_tile(const DrawParams& p, Shared& s) {
  const Scene& scene = p.scene;
  const int picture = int(blockIdx.y);
  const Rect rect = tile_rect(scene, int(blockIdx.x));
  const Place place = place_in(rect);
  const Source source = source_of(scene, picture, rect);
  float sums[ROWS][N] = {}, alpha[ROWS];
  int next = 0, parity = 0;
  while (next < source.n) {
    const int count = collect(s, scene, source, rect, next, parity);
    forward<N>(s, count, place, sums);
  }
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    const long long pixel = ((long long)picture * scene.height + place.y + r) * scene.width + place.x;
    if (NORMALISED && p.sums && place.x < scene.width && place.y + r < scene.height) {
      const float4 there = p.adds ? p.sums[pixel] : float4{0.0f, 0.0f, 0.0f, 0.0f};
      p.sums[pixel] = {there.x + sums[r][0], there.y + sums[r][1], there.z + sums[r][2],
                       there.w + sums[r][NORMALISED ? WEIGHT : 0]};
      if (HAS_PERSON) p.persons[pixel] = (p.adds ? p.persons[pixel] : 0.0f) + sums[r][HAS_PERSON ? PERSON : 0];
    }
    alpha[r] = show<N>(p, sums[r]);
  }
  if (p.rgb) {
    __syncthreads();  // the list's memory is used again
    store_rgb<N>(p, s, picture, place, sums, alpha);
  }
  if (p.nv12) store_nv12<N>(p, picture, place, sums);
  if (place.x >= scene.width) return;
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    const long long pixel = ((long long)picture * scene.height + place.y + r) * scene.width + place.x;
    if (place.y + r >= scene.height) return;
    if (p.alpha) p.alpha[pixel] = (unsigned char)code(255.0f * alpha[r]);
    if (p.picture)
      for (int k = 0; k < 3; ++k) p.picture[3 * pixel + k] = sums[r][k];
    if (p.target) {
      const float4 t = p.target[p.one_target ? pixel - (long long)picture * scene.height * scene.width : pixel];
      p.residual[pixel] = {t.x - sums[r][0], t.y - sums[r][1], t.z - sums[r][2], t.w};
    }
  }
}

extern "C" __global__ void __launch_bounds__(THREADS) prepare(const Scene scene) {
  const int i = int(blockIdx.x) * THREADS + int(threadIdx.x);
  if (i >= scene.first[scene.pictures]) return;
  float p[PARAMS];
  load_row(scene.params, i, p);
  prepare_gaussian(scene, i, p);
}

// Grid (cells, pictures).
extern "C" __global__ void __launch_bounds__(THREADS) list_cells(const Scene scene) {
  GS_SHARED(Shared, s);
  int parity = 0;
  list_cell(s.counts, scene, int(blockIdx.y), int(blockIdx.x), 0, parity);
}

// Grid (tiles, pictures).
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) draw(const DrawParams p) {
  GS_SHARED(Shared, s);
  if (!NORMALISED && p.alpha)
    draw_tile<N_COLORS + 1>(p, s);
  else
    draw_tile<CHANNELS>(p, s);
}

// Grid (any, pictures).
extern "C" __global__ void __launch_bounds__(THREADS) load_target(const TargetParams p) {
  const int picture = int(blockIdx.y);
  int inside = 0;
  for (int i = int(blockIdx.x) * THREADS + int(threadIdx.x); i < p.pixels; i += int(gridDim.x) * THREADS) {
    const long long pixel = (long long)picture * p.pixels + i;
    float c[3];
    for (int k = 0; k < 3; ++k) c[k] = p.rgb ? float(p.rgb[3 * pixel + k]) : p.picture[3 * pixel + k];
    if (p.rgb) {
      const float r = c[0], g = c[1], b = c[2];
      for (int k = 0; k < 3; ++k) c[k] = r * p.matrix[3 * k] + g * p.matrix[3 * k + 1] + b * p.matrix[3 * k + 2];
    }
    const float w = p.weight ? p.weight[pixel] : float(p.weight_codes[pixel]) * (1.0f / 255.0f);
    inside += w > 0.5f;
    p.target[pixel] = {c[0], c[1], c[2], w};
  }
  for (int bit = 16; bit >= 1; bit /= 2) inside += __shfl_xor_sync(ALL, inside, bit);
  if (lane_id() == 0 && inside) atomicAdd(p.roi_pixels + picture, unsigned(inside));
}

// Grid (tiles, pictures).
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) gather(const GatherParams p) {
  GS_SHARED(Shared, s);
  const Scene& scene = p.scene;
  const int picture = int(blockIdx.y);
  const Rect rect = tile_rect(scene, int(blockIdx.x));
  const Place place = place_in(rect);
  const Source source = source_of(scene, picture, rect);
  float e[ROWS][CHANNELS] = {};
  int next = 0, parity = 0;
  while (NORMALISED && next < source.n) {
    const int count = collect(s, scene, source, rect, next, parity);
    forward<CHANNELS>(s, count, place, e);
  }
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    const long long pixel = ((long long)picture * scene.height + place.y + r) * scene.width + place.x;
    const bool inside = place.x < scene.width && place.y + r < scene.height;
    const float share = share_of(e[r][NORMALISED ? WEIGHT : 0]);
    const float shown[3] = {e[r][0] * share, e[r][1] * share, e[r][2] * share};
    if (p.by_picture) {
      for (int k = 0; k < 3; ++k) e[r][k] = inside ? p.by_picture[3 * pixel + k] : 0.0f;
    } else {
      const float4 left = inside ? p.residual[pixel] : float4{0.0f, 0.0f, 0.0f, 0.0f};
      e[r][0] = -left.w * left.x, e[r][1] = -left.w * left.y, e[r][2] = -left.w * left.z;
    }
    by_sums(shown, share, e[r]);
    if (HAS_PERSON) e[r][HAS_PERSON ? PERSON : 0] = 0.0f;
  }
  next = 0;
  while (next < source.n) {
    const int count = collect(s, scene, source, rect, next, parity);
    for (int base = 0; base < count; base += 32)
      for (unsigned mask = reaching(s, base, count, place); mask; mask &= mask - 1) {
        const int j = base + __ffs(int(mask)) - 1;
        float m[8], by_weight;
        sums_of(s.gaussians[j][0], s.gaussians[j][1], amplitude_of(s, j), place, e, m, by_weight);
        add_sums(m, by_weight, p.gradient + PARAMS * s.index[j]);
      }
  }
}

// The sums as they were gathered -> those of gaussian.h, in place.
extern "C" __global__ void __launch_bounds__(THREADS) finish_gradients(const GatherParams p) {
  const int i = int(blockIdx.x) * THREADS + int(threadIdx.x);
  if (i >= p.scene.first[p.scene.pictures]) return;
  float sums[PARAMS], gradient[PARAMS];
  load_row(p.gradient, i, sums);
  unscale(sums, NORMALISED ? p.scene.amplitudes[i] : 1.0f, gradient);
  store_row(p.gradient, i, gradient);
}

// Grid (any, pictures).
extern "C" __global__ void __launch_bounds__(THREADS) loss(const LossParams p) {
  const float4* residual = p.residual + (long long)blockIdx.y * p.pixels;
  double sum = 0.0, roi = 0.0;
  for (int i = int(blockIdx.x) * THREADS + int(threadIdx.x); i < p.pixels; i += int(gridDim.x) * THREADS) {
    const float4 r = residual[i];
    const float square = r.x * r.x + r.y * r.y + r.z * r.z;
    sum += double(r.w * square);
    roi += r.w > 0.5f ? double(square) : 0.0;
  }
  for (int bit = 16; bit >= 1; bit /= 2) {
    sum += __shfl_xor_sync(ALL, sum, bit);
    roi += __shfl_xor_sync(ALL, roi, bit);
  }
  if (lane_id() == 0) {
    atomicAdd(&p.losses[blockIdx.y].x, sum);
    atomicAdd(&p.losses[blockIdx.y].y, roi);
  }
}

}  // namespace gscodec
