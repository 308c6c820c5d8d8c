// The Python face of what a decoder shows. What each entry asks of its arguments: the types below, and checks.h.
#include "hold.h"

#include "csrc/array_types.h"

namespace {

using namespace gscodec::bindings;
using gscodec::check_size;
using namespace nb::literals;

using PixelsInOut = nb::ndarray<uint8_t, nb::numpy, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Tolerance = nb::ndarray<const uint8_t, nb::numpy, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

}  // namespace

NB_MODULE(_native, m) {
  m.doc() = "gscodec's decoder: what is shown of a decoded picture.";
  m.def(
      "hold",
      [](PixelsInOut before, PixelsInOut picture, Tolerance tolerance) {
        const std::size_t n_channels = tolerance.shape(0);
        check_size(picture, int(before.shape(1)), int(before.shape(0)), "picture");
        if (n_channels < 1 || n_channels > gscodec::MAX_CHANNELS || before.shape(2) != n_channels ||
            picture.shape(2) != n_channels)
          throw std::invalid_argument("the pictures have " + std::to_string(before.shape(2)) + " and " +
                                      std::to_string(picture.shape(2)) + " channels, expected as many as tolerances, " +
                                      std::to_string(n_channels) + ", at most " +
                                      std::to_string(gscodec::MAX_CHANNELS));
        nb::gil_scoped_release release;
        gscodec::hold(before.data(), picture.data(), tolerance.data(), n_channels, picture.size() / n_channels);
      },
      "before"_a.noconvert(), "picture"_a.noconvert(), "tolerance"_a.noconvert(),
      "Makes both pictures what is shown: the one before, within a tolerance of the new one.");
}
