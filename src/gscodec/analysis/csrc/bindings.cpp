// The Python face of what looks at source pictures: superpixels, and their motion.
#include <nanobind/stl/string.h>

#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "csrc/array_types.h"
#include "csrc/arrays.h"
#include "csrc/instruction_sets.h"
#include "mesh_motion.h"
#include "superpixels.h"

namespace gscodec {

void bind_matting(nanobind::module_& m);  // matting_bindings.cpp

namespace {

using namespace bindings;
using namespace nb::literals;

using Labels = nb::ndarray<const int32_t, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using LabelsInOut = nb::ndarray<int32_t, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Counts = nb::ndarray<const int32_t, nb::numpy, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Weights = nb::ndarray<const float, nb::numpy, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Wanted = nb::ndarray<const float, nb::numpy, nb::shape<-1, -1, 2>, nb::c_contig, nb::device::cpu>;
using Points = nb::ndarray<const float, nb::numpy, nb::shape<-1, 2>, nb::c_contig, nb::device::cpu>;
using StridedPoints = nb::ndarray<const float, nb::numpy, nb::shape<-1, 2>, nb::device::cpu>;

constexpr float FARTHEST = 1e30f;  // of a point from the picture, pixels; what lies outside counts at its edge
constexpr float FARTHEST_MOTION = 65536.0f;  // that a mesh may want, in its units

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

void bind_superpixels(nb::module_& m) {
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
      [](Picture picture, Mask region, bindings::Plane density, Counts counts, int iterations) {
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

void bind_motion(nb::module_& m) {
  nb::class_<MeshSearch>(m, "MeshSearch", "Motion of a clip as a mesh of displacements.")
      .def("copy", [](const MeshSearch& search) { return MeshSearch(search); })
      .def(
          "__init__",
          [](MeshSearch* self, int width, int height, int rows, int columns, float spacing_x, float spacing_y,
             int pixels_per_step, const std::string& isa) {
            check_sides(width, height);
            if (rows < 2 || columns < 2 || !(spacing_x > 0) || !(spacing_y > 0))
              throw std::invalid_argument("a mesh has two rows and columns at least, and space between them");
            if (rows > MAX_POINTS / columns) throw std::invalid_argument("a mesh has too many points");
            if (pixels_per_step < 1) throw std::invalid_argument("pixels_per_step must be positive");
            new (self) MeshSearch(width, height, {rows, columns, spacing_x, spacing_y}, pixels_per_step,
                                  kernels_of(find_mesh_kernels, isa));
          },
          "width"_a, "height"_a, "rows"_a, "columns"_a, "spacing_x"_a, "spacing_y"_a, "pixels_per_step"_a, "isa"_a = "")
      .def(
          "look",
          [](MeshSearch& self, Mask grey) {
            check_size(grey, self.width(), self.height(), "grey");
            nb::gil_scoped_release release;
            self.look(grey.data());
          },
          "grey"_a, "The next picture, uint8 [height, width].")
      .def(
          "fit",
          [](const MeshSearch& self, Points points) {
            check_values(points, FARTHEST, "points");
            float* data;
            auto mesh = make_array<float>({std::size_t(self.grid().rows), std::size_t(self.grid().columns), 2}, &data);
            nb::gil_scoped_release release;
            self.fit(points.data(), int(points.shape(0)), data);
            return mesh;
          },
          "points"_a, "Displacements, pixels [rows, columns, 2], from the picture before the last one to it.")
      .def(
          "choose",
          [](const MeshSearch& self, Points points, Weights weights, Wanted wanted, Mask used, float unit,
             float lambda) {
            const std::size_t rows = self.grid().rows, columns = self.grid().columns;
            check_length(weights, points.shape(0), "weights");
            check_size(wanted, int(columns), int(rows), "wanted");
            check_size(used, int(columns), int(rows), "used");
            check_values(points, FARTHEST, "points");
            check_values(wanted, FARTHEST_MOTION, "wanted");
            int32_t* data;
            auto mesh = make_array<int32_t>({rows, columns, 2}, &data);
            nb::gil_scoped_release release;
            self.choose(points.data(), weights.data(), int(points.shape(0)), wanted.data(), used.data(), unit, lambda,
                        data);
            return mesh;
          },
          "points"_a, "weights"_a, "wanted"_a, "used"_a, "unit"_a, "lambda_"_a,
          "The integer mesh to code for a wanted one, int32 [rows, columns, 2].")
      .def(
          "drift",
          [](const MeshSearch& self, Points points) {
            check_values(points, FARTHEST, "points");
            nb::gil_scoped_release release;
            return self.drift(points.data(), int(points.shape(0)));
          },
          "points"_a, "Most pixels that a quarter of the picture moves as a whole, around the points.")
      .def(
          "follow",
          [](const MeshSearch& self, StridedPoints points, Flags is_room, float scale, float still) {
            check_length(is_room, points.shape(0), "is_room");
            if (!(scale > 0)) throw std::invalid_argument("scale must be positive");
            std::vector<float> own, room;
            for (std::size_t i = 0; i < points.shape(0); ++i) {
              std::vector<float>& to = is_room.data()[i] ? room : own;
              for (std::size_t k = 0; k < 2; ++k) {
                to.push_back(points(i, k) / scale);
                if (!(std::fabs(to.back()) <= FARTHEST)) throw std::invalid_argument("points leaves its range");
              }
            }
            float* data;
            auto meshes =
                make_array<float>({2, std::size_t(self.grid().rows), std::size_t(self.grid().columns), 2}, &data);
            nb::gil_scoped_release release;
            self.follow(own, room, still, data);
            return meshes;
          },
          "points"_a, "is_room"_a.noconvert(), "scale"_a, "still"_a,
          "Displacements [2, rows, columns, 2] around what is not the room's, and around all points; points are of a "
          "picture so many times as large. The second are 0 where the room drifts by no more than `still`.");
}

}  // namespace
}  // namespace gscodec

NB_MODULE(_native, m) {
  m.doc() = "gscodec's superpixels, motion search and matting network.";
  gscodec::bind_superpixels(m);
  gscodec::bind_motion(m);
  gscodec::bind_matting(m);
}
