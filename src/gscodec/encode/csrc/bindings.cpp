// The Python face of what the encoder does with whole frames. What each entry asks of its arguments: the types below,
// and checks.h.
#include "stability.h"

#include <nanobind/stl/tuple.h>

#include <tuple>

#include "csrc/array_types.h"

namespace {

using namespace gscodec::bindings;
using gscodec::check_size;
using gscodec::N_COLORS;
using namespace nb::literals;

using PictureInOut = nb::ndarray<float, nb::numpy, nb::shape<-1, -1, N_COLORS>, nb::c_contig, nb::device::cpu>;
using PlaneInOut = nb::ndarray<float, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

}  // namespace

NB_MODULE(_native, m) {
  m.doc() = "gscodec's encoder: targets that ask for stillness, and errors.";
  m.def(
      "steady",
      [](PictureInOut picture, PlaneInOut weight, Picture before, Pixels decoded, Matrix matrix, float stability) {
        const int h = int(picture.shape(0)), w = int(picture.shape(1));
        check_size(weight, w, h, "weight");
        check_size(before, w, h, "before");
        check_size(decoded, w, h, "decoded");
        nb::gil_scoped_release release;
        gscodec::steady(picture.data(), weight.data(), before.data(), decoded.data(), matrix.data(), stability,
                        weight.size());
      },
      "picture"_a.noconvert(), "weight"_a.noconvert(), "before"_a, "decoded"_a, "matrix"_a, "stability"_a,
      "Blends target and weights towards the decoded picture where the source stands still, in place.");
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
}
