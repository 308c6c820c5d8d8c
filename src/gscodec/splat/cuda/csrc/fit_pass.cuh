// Fitting's passes over a picture: strips of 16 x 8 pixels, each by a team of one warp or of four.
//
// One iteration of a fit is two passes: draw the picture, then hand the residual to each Gaussian. Here both are one,
// as the threads that drew a strip still hold its residual.
//
// A fit passes over the same Gaussians many times and they move little, so each tile of two strips across and four down
// keeps a list of what is near it, made again only when some Gaussian has strayed. One warp a strip and its residual
// never leaves registers: the most pictures a second. Four warps share a strip's Gaussians and meet once to
// add up their sums: the least latency, since a face gathers dozens of Gaussians over one strip.
//
// Invariant: a tile's list holds every Gaussian whose box comes near it, because boxes are listed with a margin and a
// step that takes one past its margin has all lists made again before the next pass. A list that is full says so, and
// all Gaussians are looked at instead.
#pragma once

#include "gaussian_pass.cuh"
#include "grid.cuh"

#ifndef GSCODEC_TEAM
#define GSCODEC_TEAM 1
#endif
#ifndef GS_TEAM_BARRIER
#define GS_TEAM_BARRIER(team, threads) asm volatile("bar.sync %0, %1;" ::"r"((team) + 1), "r"(threads) : "memory")
#endif

namespace gscodec {

constexpr int TEAM = GSCODEC_TEAM;   // warps of a strip
constexpr int TEAMS = WARPS / TEAM;  // of a block
constexpr int HITS = 48;             // Gaussians that a warp keeps at a time
constexpr int SLOTS = 32;            // partial sums of a loss, so that blocks do not queue for one address
static_assert(ROWS == 4 && (TEAM == 1 || TEAM == ROWS), "each warp of a team adds up one row of the threads' pixels");
static_assert(HITS >= 32, "a warp must be able to keep what it tests at a time");

// Which Gaussians are near each tile.
struct Lists {
  int* indices;     // [pictures, tiles, TEAM, capacity]: within the picture, ascending; every TEAM-th to each warp
  int* counts;      // [pictures, tiles, TEAM]; -1: more than capacity, so look at all
  short4* anchors;  // [total]: the boxes that were listed
  int capacity;
  int margin;  // pixels a box may grow or wander, besides an eighth of its size, before they are made again
};

// What a warp works on.
struct Store {
  float4 gaussians[HITS][2];
  float amplitudes[NORMALISED ? HITS : 1];
  int index[HITS];
};

// Where the warps of a team meet. [channel + CHANNELS·row][lane]; the residual has the pixel's weight as one more.
constexpr int RESIDUALS = CHANNELS + 1;
struct Exchange {
  float sums[TEAM][CHANNELS * ROWS][32];
  float residual[RESIDUALS * ROWS][32];
};

// What the pictures of a batch are to look like.
struct Targets {
  const float4* pixels;        // [pictures, H, W]: Y, U, V, weight
  const float* mattes;         // [pictures, H, W]: the person's share, where it is told from the room
  const float4* others;        // [pictures, H, W]: colours, Σ weight of Gaussians that stand still, or null
  const float* others_person;  // [pictures, H, W]: Σ weight of the person's of them
  float matte_weight;          // of a squared difference from the matte
};

struct FitShared {
  Store stores[WARPS];
  float partial[WARPS][2];
  int counts[2][32];
  Exchange exchange[TEAM > 1 ? TEAMS : 1];
};

GS_DEVICE void sync_team() {
  if (TEAM == 1)
    __syncwarp();
  else
    GS_TEAM_BARRIER(warp_id() / TEAM, 32 * TEAM);
}

// Sums a and b over the block; valid in thread 0.
GS_DEVICE void block_sum(FitShared& s, float& a, float& b) {
  a = warp_sum(a);
  b = warp_sum(b);
  if (lane_id() == 0) s.partial[warp_id()][0] = a, s.partial[warp_id()][1] = b;
  __syncthreads();
  if (threadIdx.x == 0)
    for (int w = 1; w < WARPS; ++w) a += s.partial[w][0], b += s.partial[w][1];
}

GS_DEVICE bool strayed(const Lists& lists, short4 box, short4 anchor) {
  const int margin = margin_of(lists.margin, anchor);
  return box.x < anchor.x - margin || box.y > anchor.y + margin || box.z < anchor.z - margin ||
         box.w > anchor.w + margin;
}

// A picture of the batch, as the threads that work on it keep it.
struct Picture {
  int number, first, n;  // Gaussians first ... first + n - 1
  int strips_x, strips;
  float inv_strips_x;
  int* indices;  // of its lists
  int* counts;
};

// The targets of one picture, as those of a batch of one.
GS_DEVICE Targets targets_of(const Targets& all, const Scene& scene, int picture) {
  const long long begin = (long long)picture * scene.height * scene.width;
  Targets own = all;
  own.pixels += begin;
  if (!NORMALISED) return own;
  if (HAS_PERSON) own.mattes += begin;
  if (own.others) own.others += begin;
  if (own.others_person) own.others_person += begin;
  return own;
}

GS_DEVICE Picture picture_at(const Scene& scene, const Lists& lists, int number) {
  const int first = scene.first[number], n = scene.first[number + 1] - first;
  const int tiles = scene.tiles_x * scene.tiles_y, strips_x = 2 * scene.tiles_x;
  const long long begin = (long long)number * tiles * TEAM;
  return {number,
          first,
          n,
          strips_x,
          8 * tiles,
          1.0f / float(strips_x),
          lists.indices + begin * lists.capacity,
          lists.counts + begin};
}

// Lists every tile of a picture for the boxes as they are, and remembers those. A warp a list, a block a
// cell. Ends with a barrier.
GS_DEVICE void list_tiles(const Scene& scene, const Lists& lists, FitShared& s, Group& group, const Picture& picture,
                          int& parity) {
  constexpr int AHEAD = 8;  // boxes a thread asks for before it looks at the first
  const int n_lists = scene.tiles_x * scene.tiles_y * TEAM, n_cells = scene.cells_x * scene.cells_y;
  const short4* boxes = scene.boxes + picture.first;
  if (n_cells) {
    for (int cell = group.rank; cell < n_cells; cell += group.size)
      list_cell(s.counts, scene, picture.number, cell, lists.margin, parity);
    sync(group);
  }
  for (int number = group.rank + warp_id() * group.size; number < n_lists; number += group.size * WARPS) {
    const Rect rect = tile_rect(scene, number / TEAM);
    const Source source = source_of(scene, picture.number, rect);
    const int member = number % TEAM, lane = lane_id();
    int* list = picture.indices + (long long)number * lists.capacity;
    int count = 0;
    // All of the picture: every TEAM-th is this list's. All of a cell: of those, it keeps every TEAM-th.
    const int stride = source.list ? 1 : TEAM;
    for (int base = source.list ? 0 : member; base < source.n; base += 32 * AHEAD * stride) {
      int index[AHEAD];
      short4 box[AHEAD];
#pragma unroll
      for (int k = 0; k < AHEAD; ++k) {
        const int i = base + (32 * k + lane) * stride;
        index[k] = i >= source.n ? -1 : source.list ? source.list[i] : i;
        if (index[k] >= 0 && index[k] % TEAM != member) index[k] = -1;
      }
#pragma unroll
      for (int k = 0; k < AHEAD; ++k) box[k] = boxes[index[k] < 0 ? 0 : index[k]];
#pragma unroll
      for (int k = 0; k < AHEAD; ++k) {
        const bool hit = index[k] >= 0 && overlaps(box[k], widened(rect, margin_of(lists.margin, box[k])));
        const unsigned hits = __ballot_sync(ALL, hit);
        const int to = count + __popc(hits & ((1u << lane) - 1u));
        if (hit && to < lists.capacity) list[to] = index[k];
        count += __popc(hits);
      }
    }
    if (lane == 0) picture.counts[number] = count <= lists.capacity ? count : -1;
  }
  for (int i = group.rank + int(threadIdx.x) * group.size; i < picture.n; i += group.size * THREADS)
    lists.anchors[picture.first + i] = boxes[i];
  sync(group);
}

// A strip: this thread's pixels in it, and what of the warp's share may reach it.
struct Strip {
  Place place;
  const int* list;  // or null: every TEAM-th of the picture
  int first, n, room;
  bool outside, near_any;  // beyond the picture; something may reach it, of any warp's share
};

GS_DEVICE Strip strip_at(const Scene& scene, const Lists& lists, const Picture& picture, int number) {
  const int row = int((float(number) + 0.5f) * picture.inv_strips_x), column = number - row * picture.strips_x;
  const int left = column * STRIP_W, top = row * STRIP_H;
  const int lists_of_tile = ((row >> 2) * scene.tiles_x + (column >> 1)) * TEAM;
  const int list = lists_of_tile + warp_id() % TEAM, count = picture.counts[list];
  bool near_any = false;
  for (int w = 0; w < TEAM; ++w) near_any = near_any || picture.counts[lists_of_tile + w] != 0;
  Strip found = {{left + (lane_id() & 15), top + (lane_id() >> 4) * ROWS, left, top},
                 picture.indices + (long long)list * lists.capacity,
                 picture.first,
                 count,
                 lists.capacity,
                 left >= scene.width || top >= scene.height,
                 near_any};
  if (count < 0) found.list = nullptr, found.n = (picture.n + TEAM - 1 - warp_id() % TEAM) / TEAM;
  return found;
}

// Keeps what reaches the strip among this warp's share of the Gaussians, from `next` on, until all were looked
// at or no more fit; returns how many are kept.
GS_DEVICE int collect(Store& store, const Scene& scene, const Strip& strip, int& next) {
  const int lane = lane_id(), member = warp_id() % TEAM;
  int count = 0;
  __syncwarp();  // the last ones are done with
  do {
    const int i = next + lane;
    int index = i * TEAM + member;
    if (strip.list && i < strip.room) index = strip.list[i];  // asked for before the list's length is known
    float4 a, b;
    float amplitude = 1.0f;
    bool hit = false;
    if (i < strip.n) {
      index += strip.first;
      a = scene.prepared[2 * index];
      b = scene.prepared[2 * index + 1];
      if (NORMALISED) amplitude = scene.amplitudes[index];
      hit = reaches(a, b.x, strip.place);
    }
    const unsigned hits = __ballot_sync(ALL, hit);
    if (count + __popc(hits) > HITS) break;
    if (hit) {
      const int to = count + __popc(hits & ((1u << lane) - 1u));
      store.gaussians[to][0] = a;
      store.gaussians[to][1] = b;
      if (NORMALISED) store.amplitudes[to] = amplitude;
      store.index[to] = index;
    }
    count += __popc(hits);
    next += 32;
  } while (next < strip.n);
  __syncwarp();
  return count;
}

GS_DEVICE void forward(const Store& store, int count, const Place& place, float sums[ROWS][CHANNELS]) {
#pragma unroll 2
  for (int j = 0; j < count; ++j)
    add_gaussian<CHANNELS>(store.gaussians[j][0], store.gaussians[j][1], amplitude_of(store, j), place, sums);
}

// The loss of a thread's pixels, summed until the end of a pass.
struct Loss {
  float all, roi;
};

// One row of a thread's pixels under the sum: d -> weight·d, and its share of the loss.
GS_DEVICE void weigh(float d[CHANNELS], float weight, Loss& loss) {
  const float sq = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
  loss.all += weight * sq;
  loss.roi += weight > 0.5f ? sq : 0.0f;
  for (int k = 0; k < N_COLORS; ++k) d[k] *= weight;
}

// The same under the normalised blend: sums -> half the loss's derivative by them, or without SUBTRACT BᵀWB's share of
// this pixel, in colours that the sums are linear in. Returns what w² is multiplied by on the diagonal of BᵀWB.
template <bool SUBTRACT>
GS_DEVICE float compare(float e[CHANNELS], float4 target, float matte, float matte_weight, Loss& loss) {
  constexpr int W = NORMALISED ? WEIGHT : 0, P = HAS_PERSON ? PERSON : 0;
  const float share = share_of(e[W]), curvature = target.w * share * share;
  if (!SUBTRACT) {
    for (int k = 0; k < N_COLORS; ++k) e[k] *= curvature;
    return curvature;
  }
  const float shown[3] = {e[0] * share, e[1] * share, e[2] * share}, person = e[P] * share;
  const float d[3] = {shown[0] - target.x, shown[1] - target.y, shown[2] - target.z};
  const float sq = d[0] * d[0] + d[1] * d[1] + d[2] * d[2], slope = target.w * share;
  loss.all += target.w * sq;
  loss.roi += target.w > 0.5f ? sq : 0.0f;
  for (int k = 0; k < N_COLORS; ++k) e[k] = slope * d[k];
  float pull = e[0] * shown[0] + e[1] * shown[1] + e[2] * shown[2];
  if (HAS_PERSON) {
    const float away = matte < 0.0f ? 0.0f : person - matte, pushed = matte_weight * away;
    loss.all += pushed * away;
    e[P] = pushed * share;
    pull += e[P] * person;
  }
  e[W] = -pull;
  return curvature;
}

GS_DEVICE bool is_inside(const Scene& scene, const Place& place, int r) {
  return place.x < scene.width && place.y + r < scene.height;
}

// Row r of this thread's pixels of a picture's target: Y, U, V, weight; zero outside the picture.
GS_DEVICE float4 target_at(const Scene& scene, const Targets& targets, const Place& place, int r) {
  if (!is_inside(scene, place, r)) return {0.0f, 0.0f, 0.0f, 0.0f};
  return targets.pixels[(place.y + r) * scene.width + place.x];
}

// The same of its matte; below zero outside the picture.
GS_DEVICE float matte_at(const Scene& scene, const Targets& targets, const Place& place, int r) {
  if (!HAS_PERSON || !is_inside(scene, place, r)) return -1.0f;
  return targets.mattes[(place.y + r) * scene.width + place.x];
}

// What the sums of that pixel start from, because of Gaussians that stand still; their colours only where asked for.
GS_DEVICE void start_at(const Scene& scene, const Targets& targets, const Place& place, int r, bool colors,
                        float sums[CHANNELS]) {
  constexpr int W = NORMALISED ? WEIGHT : 0, P = HAS_PERSON ? PERSON : 0;
  for (int k = 0; k < CHANNELS; ++k) sums[k] = 0.0f;
  if (!targets.others || !is_inside(scene, place, r)) return;
  const int pixel = (place.y + r) * scene.width + place.x;
  const float4 others = targets.others[pixel];
  if (colors) sums[0] = others.x, sums[1] = others.y, sums[2] = others.z;
  sums[W] = others.w;
  if (HAS_PERSON) sums[P] = targets.others_person[pixel];
}

// e[ROWS][CHANNELS] = half the loss's derivative by what is summed of each pixel, the same in every warp of the team:
// under the sum weight · (picture - SUBTRACT · target), else as `compare` has it; and the weights, or what `compare`
// returns. Returns how many Gaussians this warp keeps, -1 if they had to be looked at in turns.
template <bool SUBTRACT>
GS_DEVICE int residual(const Scene& scene, const Targets& targets, FitShared& s, const Strip& strip,
                       float e[ROWS][CHANNELS], float weight[ROWS], Loss& loss) {
  Store& store = s.stores[warp_id()];
  const Place& place = strip.place;
  const float sign = SUBTRACT ? -1.0f : 0.0f;
  const int member = warp_id() % TEAM, lane = lane_id();
  float4 own = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    if (TEAM == 1 && NORMALISED) {
      start_at(scene, targets, place, r, SUBTRACT, e[r]);
    } else if (TEAM == 1) {
      const float4 t = target_at(scene, targets, place, r);
      e[r][0] = sign * t.x, e[r][1] = sign * t.y, e[r][2] = sign * t.z;
      weight[r] = t.w;
    } else {
      for (int k = 0; k < CHANNELS; ++k) e[r][k] = 0.0f;
    }
  }
  if (TEAM > 1) own = target_at(scene, targets, place, member);
  int next = 0;
  int kept = collect(store, scene, strip, next);
  forward(store, kept, place, e);
  while (next < strip.n) {
    const int count = collect(store, scene, strip, next);
    forward(store, count, place, e);
    kept = -1;
  }
  if (TEAM == 1) {
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
      if (NORMALISED)  // the target is asked for late: in registers until here it would push out the sums
        weight[r] = compare<SUBTRACT>(e[r], target_at(scene, targets, place, r), matte_at(scene, targets, place, r),
                                      targets.matte_weight, loss);
      else
        weigh(e[r], weight[r], loss);
    }
    return kept;
  }
  Exchange& exchange = s.exchange[TEAM > 1 ? warp_id() / TEAM : 0];
#pragma unroll
  for (int r = 0; r < ROWS; ++r)
    for (int k = 0; k < CHANNELS; ++k) exchange.sums[member][CHANNELS * r + k][lane] = e[r][k];
  sync_team();
  float d[CHANNELS] = {sign * own.x, sign * own.y, sign * own.z}, used = own.w;
  if (NORMALISED) start_at(scene, targets, place, member, SUBTRACT, d);
#pragma unroll
  for (int k = 0; k < CHANNELS; ++k)
    for (int w = 0; w < TEAM; ++w) d[k] += exchange.sums[w][CHANNELS * member + k][lane];
  if (NORMALISED)
    used = compare<SUBTRACT>(d, own, matte_at(scene, targets, place, member), targets.matte_weight, loss);
  else
    weigh(d, own.w, loss);
#pragma unroll
  for (int k = 0; k < CHANNELS; ++k) exchange.residual[RESIDUALS * member + k][lane] = d[k];
  exchange.residual[RESIDUALS * member + CHANNELS][lane] = used;
  sync_team();
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    for (int k = 0; k < CHANNELS; ++k) e[r][k] = exchange.residual[RESIDUALS * r + k][lane];
    weight[r] = exchange.residual[RESIDUALS * r + CHANNELS][lane];
  }
  return kept;
}

// Calls use(how many are kept) for all of this warp's Gaussians that reach the strip, in turns if need be.
template <typename Use>
GS_DEVICE void for_kept(Store& store, const Scene& scene, const Strip& strip, int kept, const Use& use) {
  if (kept >= 0) {
    use(kept);
    return;
  }
  for (int next = 0; next < strip.n;) use(collect(store, scene, strip, next));
}

}  // namespace gscodec
