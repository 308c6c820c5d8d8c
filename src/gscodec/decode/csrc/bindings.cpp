// The Python face of what a decoder shows. What each entry asks of its arguments: the types below, and checks.h.
#include "hold.h"

#include "csrc/array_types.h"

namespace {

using namespace gscodec::bindings;
using gscodec::check_size;
using gscodec::N_COLORS;
using namespace nb::literals;

using PixelsInOut = nb::ndarray<uint8_t, nb::numpy, nb::shape<-1, -1, N_COLORS>, nb::c_contig, nb::device::cpu>;
using Tolerance = nb::ndarray<const uint8_t, nb::numpy, nb::shape<N_COLORS>, nb::device::cpu>;

}  // namespace

NB_MODULE(_native, m) {
  m.doc() = "gscodec's decoder: what is shown of a decoded picture.";
  m.def(
      "hold",
      [](PixelsInOut before, PixelsInOut picture, Tolerance tolerance) {
        check_size(picture, int(before.shape(1)), int(before.shape(0)), "picture");
        const uint8_t t[3] = {tolerance(0), tolerance(1), tolerance(2)};
        nb::gil_scoped_release release;
        gscodec::hold(before.data(), picture.data(), t, picture.size() / N_COLORS);
      },
      "before"_a.noconvert(), "picture"_a.noconvert(), "tolerance"_a.noconvert(),
      "Makes both pictures what is shown: the one before, within a tolerance of the new one.");
}
