// The Python face of the matting network and of the guided filter.
#include <nanobind/stl/string.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "csrc/array_types.h"
#include "csrc/arrays.h"
#include "csrc/instruction_sets.h"
#include "network.h"

namespace gscodec {
namespace {

using namespace bindings;
using namespace nb::literals;

using Weights = nb::ndarray<const float, nb::numpy, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Rows = nb::ndarray<const int32_t, nb::numpy, nb::shape<-1, MattingNetwork::ROW>, nb::c_contig, nb::device::cpu>;

constexpr int MAX_SIDE = 4096;  // of the picture that a network takes
constexpr int MAX_LAYERS = 4096;

MattingNetwork* make_network(int height, int width, Rows rows, Weights weights, const std::string& isa) {
  check_number("height", height, 1, MAX_SIDE);
  check_number("width", width, 1, MAX_SIDE);
  check_number("the number of layers", int64_t(rows.shape(0)), 1, MAX_LAYERS);
  return new MattingNetwork(height, width, rows.data(), rows.shape(0), weights.data(), weights.size(),
                            kernels_of(find_matting_kernels, isa));
}

}  // namespace

void bind_matting(nb::module_& m) {
  m.def(
      "guided_filter",
      [](Pixels pixels, Pixels guide, Plane matte, int radius, float epsilon, float sharpen, const std::string& isa) {
        const int h = int(pixels.shape(0)), w = int(pixels.shape(1));
        const int small_h = int(guide.shape(0)), small_w = int(guide.shape(1));
        check_sides(w, h);
        check_size(matte, small_w, small_h, "matte");
        check_sides(small_w, small_h);
        check_number("radius", radius, 0, GUIDED_MOST_RADIUS);
        const MattingKernels& kernels = kernels_of(find_matting_kernels, isa);
        float* out;
        auto array = make_array<float>({std::size_t(h), std::size_t(w)}, &out);
        nb::gil_scoped_release release;
        const GuidedPicture picture{pixels.data(), guide.data(), matte.data(), w,       h,
                                    small_w,       small_h,      radius,       epsilon, sharpen};
        // Kept by each thread that makes mattes: fresh memory would cost as much as half of the filter.
        thread_local std::vector<float> scratch, row;
        thread_local std::vector<int32_t> at;
        scratch.resize(guided_scratch(picture));
        row.resize(std::size_t(w) + MATTING_PAD);
        at.resize(std::size_t(w) + MATTING_PAD);
        kernels.guided(picture, scratch.data(), at.data(), row.data(), out);
        return array;
      },
      "pixels"_a, "guide"_a, "matte"_a, "radius"_a, "epsilon"_a, "sharpen"_a, "isa"_a = "",
      "A matte fitted to the edges of a picture, float32 [h, w] in [0, 1]; guide and matte are of one, smaller size.");
  nb::class_<MattingNetwork>(m, "MattingNetwork", "A network that finds people. Not for concurrent calls.")
      .def(nb::new_(&make_network), "height"_a, "width"_a, "rows"_a, "weights"_a, "isa"_a = "")
      .def(
          "run",
          [](MattingNetwork& self, Pixels picture) {
            check_size(picture, self.width, self.height, "picture");
            float* matte;
            auto array = make_array<float>({std::size_t(self.height), std::size_t(self.width)}, &matte);
            nb::gil_scoped_release release;
            self.run(picture.data(), matte);
            return array;
          },
          "picture"_a, "Its matte, float32 [height, width] in [0, 1], 1 on people.");
}

}  // namespace gscodec
