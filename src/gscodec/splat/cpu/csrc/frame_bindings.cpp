// The Python face of what works on whole pictures: superpixels, what a decoder shows, its errors.
#include <nanobind/stl/tuple.h>

#include <numeric>
#include <tuple>

#include "csrc/arrays.h"
#include "bindings.h"
#include "decode/csrc/hold.h"
#include "encode/csrc/stability.h"
#include "analysis/csrc/superpixels.h"

namespace gscodec {
namespace {

using namespace bindings;
using namespace nb::literals;

Regions checked(const Mask& region, const Counts& counts, std::size_t width, std::size_t height) {
  check_size(region, int(width), int(height), "region");
  int64_t most = 0;
  for (std::size_t r = 0; r < counts.size(); ++r) {
    if (counts.data()[r] < 0) throw std::invalid_argument("counts must not be negative");
    most += counts.data()[r];
  }
  if (counts.size() > 255 || most > int64_t(width * height))
    throw std::invalid_argument("more segments than pixels, or more regions than 255");
  return {region.data(), counts.data(), int(counts.size())};
}

}  // namespace

void bind_frames(nb::module_& m) {
  m.def(
      "density",
      [](Picture picture, float detail) {
        float* density;
        const std::size_t h = picture.shape(0), w = picture.shape(1);
        auto array = make_array<float>({h, w}, &density);
        nb::gil_scoped_release release;
        density_of(picture.data(), int(w), int(h), detail, density);
        return array;
      },
      "picture"_a, "detail"_a, "How many segments each pixel deserves, up to a factor: float32 [height, width].");
  m.def(
      "nearest_seeds",
      [](Picture picture, Mask region, Plane density, Counts counts, int iterations) {
        const std::size_t h = picture.shape(0), w = picture.shape(1);
        check_size(density, int(w), int(h), "density");
        const Regions regions = checked(region, counts, w, h);
        if (iterations < 1) throw std::invalid_argument("iterations must be positive");
        int32_t* labels;
        auto array = make_array<int32_t>({h, w}, &labels);
        nb::gil_scoped_release release;
        nearest_seeds(picture.data(), regions, density.data(), int(w), int(h), iterations, labels);
        return array;
      },
      "picture"_a, "region"_a, "density"_a, "counts"_a.noconvert(), "iterations"_a = 1,
      "Labels, int32 [height, width]: the seed of a pixel's region nearest in colour and place, or -1.");
  m.def(
      "connect",
      [](LabelsInOut labels, Mask region, Counts counts) {
        const std::size_t h = labels.shape(0), w = labels.shape(1);
        const Regions regions = checked(region, counts, w, h);
        const int most = std::accumulate(counts.data(), counts.data() + counts.size(), 0);
        for (std::size_t i = 0; i < labels.size(); ++i)
          if (labels.data()[i] < -1 || labels.data()[i] >= most) throw std::out_of_range("a label is past its count");
        int32_t* found;
        auto array = make_array<int32_t>({counts.size()}, &found);
        nb::gil_scoped_release release;
        connect(regions, int(w), int(h), labels.data(), found);
        return array;
      },
      "labels"_a.noconvert(), "region"_a, "counts"_a.noconvert(),
      "Makes labels exactly counts[r] connected segments of each region, in place; how many they are.");
  m.def(
      "steady",
      [](PictureInOut picture, PlaneInOut weight, Picture before, Pixels decoded, Matrix matrix, float stability) {
        const int h = int(picture.shape(0)), w = int(picture.shape(1));
        check_size(weight, w, h, "weight");
        check_size(before, w, h, "before");
        check_size(decoded, w, h, "decoded");
        nb::gil_scoped_release release;
        steady(picture.data(), weight.data(), before.data(), decoded.data(), matrix.data(), stability, weight.size());
      },
      "picture"_a.noconvert(), "weight"_a.noconvert(), "before"_a, "decoded"_a, "matrix"_a, "stability"_a,
      "Blends target and weights towards the decoded picture where the source stands still, in place.");
  m.def(
      "hold",
      [](PixelsInOut before, PixelsInOut picture, Tolerance tolerance) {
        check_size(picture, int(before.shape(1)), int(before.shape(0)), "picture");
        const uint8_t t[3] = {tolerance(0), tolerance(1), tolerance(2)};
        nb::gil_scoped_release release;
        hold(before.data(), picture.data(), t, picture.size() / N_COLORS);
      },
      "before"_a.noconvert(), "picture"_a.noconvert(), "tolerance"_a.noconvert(),
      "Makes both pictures what is shown: the one before, within a tolerance of the new one.");
  m.def(
      "squared_errors",
      [](Pixels a, Pixels b, Mask mask) {
        const std::size_t n = mask.size();
        check_size(b, int(a.shape(1)), int(a.shape(0)), "b");
        check_size(mask, int(a.shape(1)), int(a.shape(0)), "mask");
        nb::gil_scoped_release release;
        uint64_t inside = 0, all = 0, pixels = 0;
        for (std::size_t i = 0; i < n; ++i) {
          uint32_t sum = 0;
          for (int k = 0; k < N_COLORS; ++k) {
            const int d = int(a.data()[i * N_COLORS + k]) - int(b.data()[i * N_COLORS + k]);
            sum += uint32_t(d * d);
          }
          all += sum;
          inside += mask.data()[i] ? sum : 0;
          pixels += mask.data()[i] != 0;
        }
        return std::make_tuple(inside, pixels * N_COLORS, all);
      },
      "a"_a, "b"_a, "mask"_a, "Sum of squared differences inside the mask, its samples, and the sum over all.");
  m.def(
      "gaussians_of_segments",
      [](Pixels pixels, Labels labels, int count, float widen, Matrix matrix) {
        check_size(labels, int(pixels.shape(1)), int(pixels.shape(0)), "labels");
        check_number("count", count, 0, MAX_PIXELS);
        for (std::size_t i = 0; i < labels.size(); ++i)
          if (labels.data()[i] >= count) throw std::out_of_range("a label is past count");
        float* params;
        auto array = make_array<float>({std::size_t(count), std::size_t(N_PARAMS)}, &params);
        nb::gil_scoped_release release;
        gaussians_of_segments(pixels.data(), labels.data(), int(pixels.shape(1)), int(pixels.shape(0)), count, widen,
                              matrix.data(), params);
        return array;
      },
      "pixels"_a, "labels"_a.noconvert(), "count"_a, "widen"_a, "matrix"_a,
      "One Gaussian for each segment, float32 [count, 8]; matrix: colours from R'G'B' codes.");
}

}  // namespace gscodec
