// The Python face of the adaptive coder.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <optional>

#include "csrc/arrays.h"
#include "csrc/checks.h"
#include "quantize.h"
#include "symbols.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using gscodec::check_columns;
using gscodec::check_length;
using gscodec::check_number;
using gscodec::check_sides;
using gscodec::check_size;
using gscodec::check_values;
using gscodec::FrameCoder;
using gscodec::Gaussian;
using gscodec::make_array;
using gscodec::MAX_SYMBOLS;

using Symbols = nb::ndarray<const int32_t, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Drifts = nb::ndarray<const int32_t, nb::numpy, nb::shape<-1, 2>, nb::c_contig, nb::device::cpu>;
using Classes = nb::ndarray<const int32_t, nb::numpy, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Flags = nb::ndarray<const bool, nb::numpy, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

using Mesh = nb::ndarray<const int32_t, nb::numpy, nb::shape<-1, -1, 2>, nb::c_contig, nb::device::cpu>;

using Table =
    nb::ndarray<const double, nb::numpy, nb::shape<(gscodec::MAX_CLASS_SIZE + 1) * (gscodec::MAX_CLASS_ENERGY + 1), -1>,
                nb::c_contig, nb::device::cpu>;

// Calls use(i, steps) for every Gaussian of these classes.
template <typename Use>
void for_steps(const Table& table, const Classes& size, const Classes& energy, double color, const Use& use) {
  const std::size_t n = size.shape(0);
  const int n_symbols = int(table.shape(1));
  if (n_symbols != gscodec::N_SYMBOLS && n_symbols != MAX_SYMBOLS)
    throw std::invalid_argument("table has " + std::to_string(n_symbols) + " steps per class, expected 8 or 9");
  double step[MAX_SYMBOLS];
  for (std::size_t i = 0; i < n; ++i) {
    const int32_t k = size.data()[i], e = energy.data()[i];
    if (k < 0 || k > gscodec::MAX_CLASS_SIZE || e < 0 || e > gscodec::MAX_CLASS_ENERGY)
      throw std::invalid_argument("a class leaves its range");
    gscodec::steps_of(table.data(), n_symbols, k, e, color, step);
    use(i, step);
  }
}

gscodec::Motion to_motion(const FrameCoder& coder, const std::optional<Mesh>& mesh, bool room) {
  gscodec::Motion motion;
  motion.room = room;
  if (mesh) {
    check_size(*mesh, coder.mesh().columns, coder.mesh().rows, "the mesh");
    check_values(*mesh, gscodec::MAX_MOTION, "a motion");
    motion.mesh.assign(mesh->data(), mesh->data() + mesh->size());
  }
  return motion;
}

std::vector<Gaussian> to_gaussians(const FrameCoder& coder, const Symbols& symbols, const Classes& size,
                                   const Classes& energy, const Flags& room, const Drifts& drift) {
  const std::size_t n = symbols.shape(0), n_symbols = coder.n_symbols();
  check_columns(symbols, n_symbols, "symbols");
  check_length(size, n, "size_class");
  check_length(energy, n, "energy_class");
  check_length(room, n, "is_room");
  check_length(drift, n, "drift");
  std::vector<Gaussian> out(n);
  for (std::size_t i = 0; i < n; ++i) {
    std::copy_n(symbols.data() + i * n_symbols, n_symbols, out[i].s.begin());
    out[i].size_class = size.data()[i];
    out[i].energy_class = energy.data()[i];
    out[i].is_room = room.data()[i];
    std::copy_n(drift.data() + 2 * i, 2, out[i].drift.begin());
    if (out[i].size_class < 0 || out[i].size_class > gscodec::MAX_CLASS_SIZE || out[i].energy_class < 0 ||
        out[i].energy_class > gscodec::MAX_CLASS_ENERGY)
      throw std::invalid_argument("a class leaves its range");
  }
  return out;
}

// Work on a coder's own data: other threads may run meanwhile.
template <typename Work>
auto released(Work work) {
  nb::gil_scoped_release release;
  return work();
}

nb::bytes to_bytes(const std::vector<uint8_t>& v) {
  return nb::bytes(reinterpret_cast<const char*>(v.data()), v.size());
}

nb::tuple to_arrays(const FrameCoder& coder, const std::vector<Gaussian>& gaussians) {
  const std::size_t n = gaussians.size(), n_symbols = coder.n_symbols();
  int32_t *symbols, *size, *energy, *drift;
  bool* room;
  auto a = make_array<int32_t>({n, n_symbols}, &symbols);
  auto b = make_array<int32_t>({n}, &size);
  auto c = make_array<int32_t>({n}, &energy);
  auto d = make_array<bool>({n}, &room);
  auto f = make_array<int32_t>({n, std::size_t(2)}, &drift);
  for (std::size_t i = 0; i < n; ++i) {
    std::copy_n(gaussians[i].s.begin(), n_symbols, symbols + i * n_symbols);
    size[i] = gaussians[i].size_class;
    energy[i] = gaussians[i].energy_class;
    room[i] = gaussians[i].is_room;
    std::copy_n(gaussians[i].drift.begin(), 2, drift + 2 * i);
  }
  return nb::make_tuple(a, b, c, d, f);
}

const uint8_t* data_of(const nb::bytes& b) { return reinterpret_cast<const uint8_t*>(b.c_str()); }

}  // namespace

NB_MODULE(_native, m) {
  m.doc() = "gscodec's adaptive entropy coder.";
  m.attr("MIN_SCALE") = gscodec::MIN_SCALE;
  m.attr("NO_WEIGHT") = gscodec::NO_WEIGHT;
  m.attr("HIGH_WEIGHT") = gscodec::HIGH_WEIGHT;
  m.attr("MAX_MOTION") = gscodec::MAX_MOTION;
  m.def(
      "dequantize",
      [](Table table, Symbols symbols, Drifts drift, Classes size, Classes energy, double color) {
        const std::size_t n = symbols.shape(0), n_symbols = table.shape(1);
        check_columns(symbols, n_symbols, "symbols");
        check_length(drift, n, "drift");
        check_length(size, n, "size_class");
        check_length(energy, n, "energy_class");
        float* out;
        auto params = make_array<float>({n, n_symbols}, &out);
        for_steps(table, size, energy, color, [&](std::size_t i, const double* step) {
          gscodec::dequantize(symbols.data() + i * n_symbols, drift.data() + 2 * i, step, int(n_symbols),
                              out + i * n_symbols);
        });
        return params;
      },
      "table"_a, "symbols"_a.noconvert(), "drift"_a.noconvert(), "size_class"_a.noconvert(),
      "energy_class"_a.noconvert(), "color"_a, "Parameters, float32 [n, 8].");
  m.def(
      "affine",
      [](Table table, Drifts drift, Classes size, Classes energy, double color, int width, int height) {
        const std::size_t n = drift.shape(0), n_symbols = table.shape(1);
        check_length(size, n, "size_class");
        check_length(energy, n, "energy_class");
        check_sides(width, height);
        double *step, *offset;
        int32_t *low, *high;
        auto a = make_array<double>({n, n_symbols}, &step);
        auto b = make_array<double>({n, n_symbols}, &offset);
        auto c = make_array<int32_t>({n, n_symbols}, &low);
        auto d = make_array<int32_t>({n, n_symbols}, &high);
        for_steps(table, size, energy, color, [&](std::size_t i, const double* s) {
          const std::size_t at = i * n_symbols;
          std::copy_n(s, n_symbols, step + at);
          gscodec::affine(drift.data() + 2 * i, s, int(n_symbols), width, height, offset + at, low + at, high + at);
        });
        return nb::make_tuple(a, b, c, d);
      },
      "table"_a, "drift"_a.noconvert(), "size_class"_a.noconvert(), "energy_class"_a.noconvert(), "color"_a, "width"_a,
      "height"_a, "Step and offset, float64 [n, 8]; lowest and highest symbol, int32 [n, 8].");
  nb::class_<FrameCoder>(m, "FrameCoder", "Codes the frames of one GOP after another; both ends keep one.")
      .def(
          "__init__",
          [](FrameCoder* self, int width, int height, bool is_older, bool normalised, nb::bytes prior) {
            check_sides(width, height);
            const int n_streams = normalised ? gscodec::N_STREAMS : gscodec::N_SUM_STREAMS;
            gscodec::Prior table;
            if (prior.size()) table = gscodec::Prior(data_of(prior), prior.size(), n_streams);
            new (self) FrameCoder(width, height, is_older, normalised, std::move(table));
          },
          "width"_a, "height"_a, "is_older"_a, "normalised"_a, "prior"_a)
      .def(
          "encode_iframe",
          [](FrameCoder& c, Symbols s, Classes k, Classes e, Flags r, Drifts d) {
            return to_bytes(released([&] { return c.encode_iframe(to_gaussians(c, s, k, e, r, d)); }));
          },
          "symbols"_a.noconvert(), "size_class"_a.noconvert(), "energy_class"_a.noconvert(), "is_room"_a.noconvert(),
          "drift"_a.noconvert())
      .def(
          "predictions",
          [](FrameCoder& c, Symbols s, Classes k, Classes e, Flags r, Drifts d) {
            return nb::object(to_arrays(c, released([&] { return c.predictions(to_gaussians(c, s, k, e, r, d)); }))[0]);
          },
          "symbols"_a.noconvert(), "size_class"_a.noconvert(), "energy_class"_a.noconvert(), "is_room"_a.noconvert(),
          "drift"_a.noconvert())
      .def(
          "encode_pframe",
          [](FrameCoder& c, Symbols s, Classes k, Classes e, Flags r, Drifts d, std::optional<Mesh> mesh, bool room,
             int n_born) {
            check_number("n_born", n_born, -1, int64_t(s.shape(0)));
            return to_bytes(released(
                [&] { return c.encode_pframe(to_gaussians(c, s, k, e, r, d), to_motion(c, mesh, room), n_born); }));
          },
          "symbols"_a.noconvert(), "size_class"_a.noconvert(), "energy_class"_a.noconvert(), "is_room"_a.noconvert(),
          "drift"_a.noconvert(), "mesh"_a.noconvert().none(), "room_moves"_a, "n_born"_a)
      .def(
          "moved", [](FrameCoder& c, Mesh mesh, bool room) { return to_arrays(c, c.moved(to_motion(c, mesh, room))); },
          "mesh"_a.noconvert(), "room_moves"_a)
      .def(
          "used_points",
          [](FrameCoder& c, bool room) {
            const std::vector<uint8_t> used = c.used_points(room);
            uint8_t* out;
            auto array = make_array<uint8_t>({std::size_t(c.mesh().rows), std::size_t(c.mesh().columns)}, &out);
            std::copy(used.begin(), used.end(), out);
            return array;
          },
          "room_moves"_a)
      .def(
          "decode_iframe",
          [](FrameCoder& c, nb::bytes b, int n) {
            check_number("n", n, 0, gscodec::MAX_GAUSSIANS);
            return to_arrays(c, released([&] { return c.decode_iframe(data_of(b), b.size(), n); }));
          },
          "data"_a, "n"_a)
      .def(
          "decode_pframe",
          [](FrameCoder& c, nb::bytes b, int most) {
            check_number("max_gaussians", most, 0, INT32_MAX);
            return to_arrays(c, released([&] { return c.decode_pframe(data_of(b), b.size(), most); }));
          },
          "data"_a, "max_gaussians"_a)
      .def("change_costs",
           [](FrameCoder& c) {
             const std::vector<float> costs = c.change_costs();
             float* out;
             auto array = make_array<float>({costs.size()}, &out);
             std::copy(costs.begin(), costs.end(), out);
             return array;
           })
      .def_prop_ro("mesh",
                   [](const FrameCoder& c) { return nb::make_tuple(c.mesh().log2, c.mesh().rows, c.mesh().columns); })
      .def_prop_ro("n_changed", &FrameCoder::n_changed)
      .def_prop_ro(
          "kept",
          [](const FrameCoder& c) {
            int32_t* out;
            auto array = make_array<int32_t>({c.kept().size()}, &out);
            std::copy(c.kept().begin(), c.kept().end(), out);
            return array;
          },
          nb::rv_policy::move)
      .def_prop_ro(
          "updated",
          [](const FrameCoder& c) {
            bool* out;
            auto array = make_array<bool>({c.updated().size()}, &out);
            std::copy(c.updated().begin(), c.updated().end(), out);
            return array;
          },
          nb::rv_policy::move)
      .def_prop_ro(
          "gaussian_bits",
          [](const FrameCoder& c) {
            double* out;
            auto array = make_array<double>({c.gaussian_bits().size()}, &out);
            std::copy(c.gaussian_bits().begin(), c.gaussian_bits().end(), out);
            return array;
          },
          nb::rv_policy::move)
      .def("copy", [](const FrameCoder& c) { return FrameCoder(c); })
      .def("decisions",
           [](FrameCoder& c) {
             const auto rows = c.decisions();
             uint32_t* out;
             auto array = make_array<uint32_t>({rows.size(), 6}, &out);
             for (std::size_t i = 0; i < rows.size(); ++i) std::copy(rows[i].begin(), rows[i].end(), out + 6 * i);
             return array;
           })
      .def(
          "weight",
          [](FrameCoder& c, int stream, int node, int input) {
            check_number("stream", stream, 0, gscodec::N_STREAMS - 1);
            check_number("node", node, 0, gscodec::N_NODES - 1);
            check_number("input", input, 0, gscodec::N_INPUTS - 1);
            return c.weight(stream, node, input);
          },
          "stream"_a, "node"_a, "input"_a)
      .def("take_bits", &FrameCoder::take_bits);
}
