// What the files of the native core's Python face share: types of arrays.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>

#include "csrc/checks.h"
#include "splat/csrc/gaussian.h"
#include "rdo/csrc/pursuit.h"

namespace gscodec {

// frame_bindings.cpp: functions of whole pictures.
void bind_frames(nanobind::module_& m);

// analysis/csrc/matting_bindings.cpp: the network that finds people.
void bind_matting(nanobind::module_& m);

namespace bindings {

namespace nb = nanobind;

using Params = nb::ndarray<const float, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using ParamsInOut = nb::ndarray<float, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Picture = nb::ndarray<const float, nb::numpy, nb::shape<-1, -1, N_COLORS>, nb::c_contig, nb::device::cpu>;
using Plane = nb::ndarray<const float, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Mask = nb::ndarray<const uint8_t, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using PictureInOut = nb::ndarray<float, nb::numpy, nb::shape<-1, -1, N_COLORS>, nb::c_contig, nb::device::cpu>;
using PlaneInOut = nb::ndarray<float, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Pixels = nb::ndarray<const uint8_t, nb::numpy, nb::shape<-1, -1, N_COLORS>, nb::c_contig, nb::device::cpu>;
using PixelsInOut = nb::ndarray<uint8_t, nb::numpy, nb::shape<-1, -1, N_COLORS>, nb::c_contig, nb::device::cpu>;
using Labels = nb::ndarray<const int32_t, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using LabelsInOut = nb::ndarray<int32_t, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Counts = nb::ndarray<const int32_t, nb::numpy, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Tolerance = nb::ndarray<const uint8_t, nb::numpy, nb::shape<N_COLORS>, nb::device::cpu>;
using Background = nb::ndarray<const float, nb::numpy, nb::shape<N_COLORS>, nb::c_contig, nb::device::cpu>;
using Matrix = nb::ndarray<const float, nb::numpy, nb::shape<3, 3>, nb::c_contig, nb::device::cpu>;
using Symbols = nb::ndarray<const int32_t, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using SymbolsInOut = nb::ndarray<int32_t, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Steps = nb::ndarray<const double, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Rates = nb::ndarray<const float, nb::numpy, nb::shape<-1, RATE_ENTRIES>, nb::c_contig, nb::device::cpu>;
using GroupRates = nb::ndarray<const float, nb::numpy, nb::shape<2, -1>, nb::c_contig, nb::device::cpu>;
using Costs = nb::ndarray<const float, nb::numpy, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Weights = nb::ndarray<const float, nb::numpy, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Wanted = nb::ndarray<const float, nb::numpy, nb::shape<-1, -1, 2>, nb::c_contig, nb::device::cpu>;
using Points = nb::ndarray<const float, nb::numpy, nb::shape<-1, 2>, nb::c_contig, nb::device::cpu>;
using StridedPoints = nb::ndarray<const float, nb::numpy, nb::shape<-1, 2>, nb::device::cpu>;
using Flags = nb::ndarray<const bool, nb::numpy, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Indices = nb::ndarray<const uint32_t, nb::numpy, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

}  // namespace bindings
}  // namespace gscodec
