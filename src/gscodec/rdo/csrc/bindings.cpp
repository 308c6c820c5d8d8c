// The Python face of the greedy pursuit. What its entry asks of its arguments: the types below, and checks.h.
#include "pursuit.h"

#include <nanobind/stl/optional.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>

#include "csrc/array_types.h"
#include "splat/cpu/csrc/target_checks.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using gscodec::check_columns;
using gscodec::check_length;
using gscodec::check_values;
using gscodec::FAR_SYMBOL;
using gscodec::TiledRaster;
using namespace gscodec::bindings;

using Symbols = nb::ndarray<const int32_t, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using SymbolsInOut = nb::ndarray<int32_t, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Steps = nb::ndarray<const double, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Rates = nb::ndarray<const float, nb::numpy, nb::shape<-1, gscodec::RATE_ENTRIES>, nb::c_contig, nb::device::cpu>;
using GroupRates = nb::ndarray<const float, nb::numpy, nb::shape<2, -1>, nb::c_contig, nb::device::cpu>;
using Costs = nb::ndarray<const float, nb::numpy, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

}  // namespace

NB_MODULE(_native, m) {
  m.doc() = "gscodec's greedy integer updates.";
  // Makes known the types of this module's arguments, whoever is imported first.
  nb::module_::import_("gscodec.splat._native");
  m.attr("RATE_ENTRIES") = gscodec::RATE_ENTRIES;
  nb::class_<gscodec::PursuitOptions>(m, "PursuitOptions")
      .def(nb::init<>())
      .def_rw("passes", &gscodec::PursuitOptions::passes)
      .def_rw("max_trials", &gscodec::PursuitOptions::max_trials)
      .def_rw("deadline_s", &gscodec::PursuitOptions::deadline_s)
      .def_rw("lambda_", &gscodec::PursuitOptions::lambda)
      .def_rw("stiffness", &gscodec::PursuitOptions::stiffness);

  nb::class_<gscodec::PursuitResult>(m, "PursuitResult")
      .def_ro("loss_before", &gscodec::PursuitResult::loss_before)
      .def_ro("loss", &gscodec::PursuitResult::loss)
      .def_ro("bits", &gscodec::PursuitResult::bits)
      .def_ro("tried", &gscodec::PursuitResult::tried)
      .def_ro("kept", &gscodec::PursuitResult::kept)
      .def_ro("passes", &gscodec::PursuitResult::passes);

  m.def(
      "pursue",
      [](TiledRaster& raster, const gscodec::Target& target, SymbolsInOut symbols, Symbols base, Steps step,
         Steps offset, Symbols low, Symbols high, std::optional<Params> others, Rates rates, GroupRates groups,
         std::optional<Costs> first, const gscodec::PursuitOptions& options, std::optional<Flags> is_room,
         std::optional<Flags> others_room) {
        check_target(target, raster);
        const std::size_t n = symbols.shape(0), n_params = raster.n_params;
        const bool* rooms = checked_rooms(target, is_room, n);
        const bool* other_rooms = others ? checked_rooms(target, others_room, others->shape(0)) : nullptr;
        const std::size_t n_groups = raster.normalised ? gscodec::N_GROUPS : gscodec::N_GROUPS - 1;
        check_columns(symbols, raster.n_params, "symbols");
        check_columns(base, raster.n_params, "base");
        check_columns(step, raster.n_params, "step");
        check_columns(offset, raster.n_params, "offset");
        check_columns(low, raster.n_params, "low");
        check_columns(high, raster.n_params, "high");
        if (others) check_columns(*others, raster.n_params, "others");
        check_length(rates, n_params, "rates");
        if (groups.shape(1) != n_groups)
          throw std::invalid_argument("groups has " + std::to_string(groups.shape(1)) + " groups, expected " +
                                      std::to_string(n_groups));
        check_length(base, n, "base");
        check_length(step, n, "step");
        check_length(offset, n, "offset");
        check_length(low, n, "low");
        check_length(high, n, "high");
        if (first) check_length(*first, n, "first");
        check_values(symbols, FAR_SYMBOL, "symbols");
        check_values(base, FAR_SYMBOL, "base");
        check_values(low, FAR_SYMBOL, "low");
        check_values(high, FAR_SYMBOL, "high");
        gscodec::RateModel rate;
        rate.first = first ? first->data() : nullptr;
        std::copy_n(groups.data(), n_groups, rate.group_on);
        std::copy_n(groups.data() + n_groups, n_groups, rate.group_off);
        std::copy_n(rates.data(), n_params * gscodec::RATE_ENTRIES, &rate.cost[0][0]);
        const gscodec::SymbolArrays arrays{symbols.data(), base.data(), step.data(),
                                           offset.data(),  low.data(),  high.data()};
        nb::gil_scoped_release release;
        const gscodec::OtherGaussians fixed{others ? others->data() : nullptr, other_rooms,
                                            others ? int(others->shape(0)) : 0};
        return gscodec::pursue(raster, target, arrays, rooms, int(n), fixed, rate, options);
      },
      "raster"_a, "target"_a, "symbols"_a.noconvert(), "base"_a.noconvert(), "step"_a, "offset"_a, "low"_a.noconvert(),
      "high"_a.noconvert(), "others"_a.none(), "rates"_a, "groups"_a, "first"_a.none(), "options"_a,
      "is_room"_a = nb::none(), "others_room"_a = nb::none());
}
