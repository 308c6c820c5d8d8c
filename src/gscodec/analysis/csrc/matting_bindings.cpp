// The Python face of the matting network.
#include <nanobind/stl/string.h>

#include <stdexcept>

#include "csrc/arrays.h"
#include "splat/cpu/csrc/bindings.h"
#include "splat/cpu/csrc/kernels.h"
#include "network.h"

namespace gscodec {
namespace {

using namespace bindings;
using namespace nb::literals;

using Rows = nb::ndarray<const int32_t, nb::numpy, nb::shape<-1, MattingNetwork::ROW>, nb::c_contig, nb::device::cpu>;

constexpr int MAX_SIDE = 4096;  // of the picture that a network takes
constexpr int MAX_LAYERS = 4096;

MattingNetwork* make_network(int height, int width, Rows rows, Weights weights, const std::string& isa) {
  check_number("height", height, 1, MAX_SIDE);
  check_number("width", width, 1, MAX_SIDE);
  check_number("the number of layers", int64_t(rows.shape(0)), 1, MAX_LAYERS);
  const Kernels* kernels = find_kernels(isa.c_str());
  if (!kernels) throw std::invalid_argument("this processor cannot run kernels '" + isa + "'");
  return new MattingNetwork(height, width, rows.data(), rows.shape(0), weights.data(), weights.size(),
                            *kernels->network);
}

}  // namespace

void bind_matting(nb::module_& m) {
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
