// The Python face of the adaptive coder.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <optional>

#include "arrays.h"
#include "syntax.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using gscodec::FrameCoder;
using gscodec::Gaussian;
using gscodec::make_array;
using gscodec::N_SYMBOLS;

using Symbols = nb::ndarray<const int32_t, nb::numpy, nb::shape<-1, N_SYMBOLS>, nb::c_contig, nb::device::cpu>;
using Classes = nb::ndarray<const int32_t, nb::numpy, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Flags = nb::ndarray<const bool, nb::numpy, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

using Mesh = nb::ndarray<const int32_t, nb::numpy, nb::shape<-1, -1, 2>, nb::c_contig, nb::device::cpu>;

gscodec::Motion to_motion(const std::optional<Mesh>& mesh, bool room) {
  gscodec::Motion motion;
  motion.room = room;
  if (mesh) motion.mesh.assign(mesh->data(), mesh->data() + mesh->size());
  return motion;
}

std::vector<Gaussian> to_gaussians(const Symbols& symbols, const Classes& size, const Classes& energy,
                                   const Flags& room) {
  const std::size_t n = symbols.shape(0);
  if (size.shape(0) != n || energy.shape(0) != n || room.shape(0) != n)
    throw std::invalid_argument("symbols, classes and flags differ in length");
  std::vector<Gaussian> out(n);
  for (std::size_t i = 0; i < n; ++i) {
    std::copy_n(symbols.data() + i * N_SYMBOLS, N_SYMBOLS, out[i].s.begin());
    out[i].size_class = size.data()[i];
    out[i].energy_class = energy.data()[i];
    out[i].is_room = room.data()[i];
    if (out[i].size_class < 0 || out[i].size_class > gscodec::MAX_CLASS_SIZE || out[i].energy_class < 0 ||
        out[i].energy_class > gscodec::MAX_CLASS_ENERGY)
      throw std::invalid_argument("a class leaves its range");
  }
  return out;
}

nb::bytes to_bytes(const std::vector<uint8_t>& v) {
  return nb::bytes(reinterpret_cast<const char*>(v.data()), v.size());
}

nb::tuple to_arrays(const std::vector<Gaussian>& gaussians) {
  const std::size_t n = gaussians.size();
  int32_t *symbols, *size, *energy;
  bool* room;
  auto a = make_array<int32_t>({n, std::size_t(N_SYMBOLS)}, &symbols);
  auto b = make_array<int32_t>({n}, &size);
  auto c = make_array<int32_t>({n}, &energy);
  auto d = make_array<bool>({n}, &room);
  for (std::size_t i = 0; i < n; ++i) {
    std::copy_n(gaussians[i].s.begin(), N_SYMBOLS, symbols + i * N_SYMBOLS);
    size[i] = gaussians[i].size_class;
    energy[i] = gaussians[i].energy_class;
    room[i] = gaussians[i].is_room;
  }
  return nb::make_tuple(a, b, c, d);
}

const uint8_t* data_of(const nb::bytes& b) { return reinterpret_cast<const uint8_t*>(b.c_str()); }

}  // namespace

NB_MODULE(_native, m) {
  m.doc() = "gscodec's adaptive entropy coder.";
  m.attr("MESH_LOG2") = gscodec::MESH_LOG2;
  m.attr("MAX_MOTION") = gscodec::MAX_MOTION;
  nb::class_<FrameCoder>(m, "FrameCoder", "Codes the frames of one GOP after another; both ends keep one.")
      .def(nb::init<int, int, bool>(), "width"_a, "height"_a, "trained"_a)
      .def(
          "encode_iframe",
          [](FrameCoder& c, Symbols s, Classes k, Classes e, Flags r) {
            return to_bytes(c.encode_iframe(to_gaussians(s, k, e, r)));
          },
          "symbols"_a, "size_class"_a, "energy_class"_a, "is_room"_a)
      .def(
          "encode_pframe",
          [](FrameCoder& c, Symbols s, Classes k, Classes e, Flags r, std::optional<Mesh> mesh, bool room, int n_born) {
            return to_bytes(c.encode_pframe(to_gaussians(s, k, e, r), to_motion(mesh, room), n_born));
          },
          "symbols"_a, "size_class"_a, "energy_class"_a, "is_room"_a, "mesh"_a.none(), "room_moves"_a, "n_born"_a)
      .def(
          "moved", [](FrameCoder& c, Mesh mesh, bool room) { return to_arrays(c.moved(to_motion(mesh, room))); },
          "mesh"_a, "room_moves"_a)
      .def(
          "used_points",
          [](FrameCoder& c, bool room, int columns) {
            const std::vector<uint8_t> used = c.used_points(room);
            uint8_t* out;
            auto array = make_array<uint8_t>({used.size() / columns, std::size_t(columns)}, &out);
            std::copy(used.begin(), used.end(), out);
            return array;
          },
          "room_moves"_a, "columns"_a)
      .def(
          "decode_iframe",
          [](FrameCoder& c, nb::bytes b, int n) { return to_arrays(c.decode_iframe(data_of(b), b.size(), n)); },
          "data"_a, "n"_a)
      .def(
          "decode_pframe",
          [](FrameCoder& c, nb::bytes b, int most) { return to_arrays(c.decode_pframe(data_of(b), b.size(), most)); },
          "data"_a, "max_gaussians"_a)
      .def("change_costs",
           [](FrameCoder& c) {
             const std::vector<float> costs = c.change_costs();
             float* out;
             auto array = make_array<float>({costs.size()}, &out);
             std::copy(costs.begin(), costs.end(), out);
             return array;
           })
      .def_prop_ro("n_changed", &FrameCoder::n_changed)
      .def("decisions",
           [](FrameCoder& c) {
             const auto rows = c.decisions();
             uint32_t* out;
             auto array = make_array<uint32_t>({rows.size(), 6}, &out);
             for (std::size_t i = 0; i < rows.size(); ++i) std::copy(rows[i].begin(), rows[i].end(), out + 6 * i);
             return array;
           })
      .def("weight", &FrameCoder::weight, "stream"_a, "node"_a, "input"_a)
      .def("take_bits", &FrameCoder::take_bits);
}
