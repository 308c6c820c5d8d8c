// Types of arrays that more than one package's native module takes from Python.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>

#include "csrc/checks.h"
#include "splat/csrc/gaussian.h"

namespace gscodec {

namespace bindings {

namespace nb = nanobind;

using Params = nb::ndarray<const float, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Picture = nb::ndarray<const float, nb::numpy, nb::shape<-1, -1, N_COLORS>, nb::c_contig, nb::device::cpu>;
using Plane = nb::ndarray<const float, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Mask = nb::ndarray<const uint8_t, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Pixels = nb::ndarray<const uint8_t, nb::numpy, nb::shape<-1, -1, N_COLORS>, nb::c_contig, nb::device::cpu>;
using Matrix = nb::ndarray<const float, nb::numpy, nb::shape<3, 3>, nb::c_contig, nb::device::cpu>;
using Flags = nb::ndarray<const bool, nb::numpy, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

}  // namespace bindings
}  // namespace gscodec
