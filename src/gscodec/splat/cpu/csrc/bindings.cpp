// The Python face of the native core. What each entry asks of its arguments: the types below, and checks.h.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "csrc/arrays.h"
#include "bindings.h"
#include "tiled_raster.h"
#include "ceiling.h"
#include "splat/cuda/csrc/command_queue.h"
#include "fit.h"
#include "analysis/csrc/mesh_motion.h"
#include "rdo/csrc/pursuit.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using gscodec::Canvas;
using gscodec::make_array;
using gscodec::N_COLORS;
using gscodec::N_PARAMS;
using namespace gscodec::bindings;
using gscodec::check_length;
using gscodec::check_number;
using gscodec::check_sides;
using gscodec::check_size;
using gscodec::check_values;
using gscodec::FAR_SYMBOL;
using gscodec::MAX_POINTS;
using gscodec::MAX_THREADS;

constexpr float FARTHEST = 1e30f;  // of a point from the picture, pixels; what lies outside counts at its edge
constexpr float FARTHEST_MOTION = 65536.0f;  // that a mesh may want, in its units

nb::ndarray<nb::numpy, float> copied(const float* params, std::size_t n) {
  float* data;
  auto array = make_array<float>({n, std::size_t(N_PARAMS)}, &data);
  std::copy_n(params, n * N_PARAMS, data);
  return array;
}

// A target is laid out in tiles of the canvas it was made for.
void check_target(const gscodec::Target& target, const Canvas& canvas) {
  check_size(std::size_t(target.width), std::size_t(target.height), canvas.width, canvas.height, "the target");
}

const uint32_t* checked(const std::optional<Indices>& active, std::size_t n) {
  if (!active) return nullptr;
  for (std::size_t i = 0; i < active->shape(0); ++i)
    if (active->data()[i] >= n) throw std::out_of_range("an active index is past the last Gaussian");
  return active->data();
}

const gscodec::Kernels& kernels_of(const std::string& isa) {
  const gscodec::Kernels* kernels = gscodec::find_kernels(isa.c_str());
  if (!kernels) throw std::invalid_argument("this processor cannot run kernels '" + isa + "'");
  return *kernels;
}

Canvas* make_canvas(int width, int height, int threads, const std::string& isa) {
  check_sides(width, height);
  check_number("threads", threads, 1, MAX_THREADS);
  return new Canvas(width, height, threads, &kernels_of(isa));
}

}  // namespace

NB_MODULE(_native, m) {
  m.doc() = "gscodec's native core: rasteriser, fit, superpixels.";
  m.attr("RADIUS_SQ") = gscodec::RADIUS_SQ;
  m.attr("EDGE") = gscodec::EDGE;
  m.attr("WEIGHT_ENERGY") = gscodec::WEIGHT_ENERGY;
  m.attr("MIN_SCALE") = gscodec::MIN_SCALE;

  nb::class_<gscodec::Target>(m, "Target", "A picture to fit, with the weight of each pixel; belongs to one Canvas.")
      .def_ro("roi_pixels", &gscodec::Target::roi_pixels, "Pixels whose weight is above one half.");

  nb::class_<gscodec::FitOptions>(m, "FitOptions")
      .def(nb::init<>())
      .def_rw("iterations", &gscodec::FitOptions::iterations)
      .def_rw("rate_mean", &gscodec::FitOptions::rate_mean)
      .def_rw("rate_shape", &gscodec::FitOptions::rate_shape)
      .def_rw("rate_color", &gscodec::FitOptions::rate_color)
      .def_rw("final_rate", &gscodec::FitOptions::final_rate)
      .def_rw("beta1", &gscodec::FitOptions::beta1)
      .def_rw("beta2", &gscodec::FitOptions::beta2)
      .def_rw("target_mse", &gscodec::FitOptions::target_mse)
      .def_rw("deadline_s", &gscodec::FitOptions::deadline_s)
      .def_rw("plateau", &gscodec::FitOptions::plateau)
      .def_rw("natural", &gscodec::FitOptions::natural);

  nb::class_<gscodec::FitResult>(m, "FitResult")
      .def_ro("iterations", &gscodec::FitResult::iterations)
      .def_ro("loss", &gscodec::FitResult::loss)
      .def_ro("roi_mse", &gscodec::FitResult::roi_mse)
      .def_ro("finite", &gscodec::FitResult::finite);

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

  nb::class_<Canvas>(m, "Canvas", "A picture size with its tiles, threads and kernels. Not for concurrent calls.")
      .def(nb::new_(&make_canvas), "width"_a, "height"_a, "threads"_a = 1, "isa"_a = "")
      .def_ro("width", &Canvas::width)
      .def_ro("height", &Canvas::height)
      .def_prop_ro("threads", [](const Canvas& c) { return c.pool.threads(); })
      .def_prop_ro("isa", [](const Canvas& c) { return c.kernels.name; })
      .def(
          "ceiling_ns",
          [](const Canvas& c) {
            nb::gil_scoped_release release;
            const gscodec::Ceiling ceiling = gscodec::measure_ceiling(c.kernels);
            return std::make_tuple(ceiling.forward_ns, ceiling.backward_ns);
          },
          "Nanoseconds of a Gaussian at a pixel, forward and backward, with nothing in the way.")
      .def(
          "target",
          [](const Canvas& c, Picture picture, Plane weight) {
            check_size(picture, c.width, c.height, "picture");
            check_size(weight, c.width, c.height, "weight");
            nb::gil_scoped_release release;
            return new gscodec::Target(c, picture.data(), weight.data());
          },
          "picture"_a, "weight"_a, nb::rv_policy::take_ownership)
      .def(
          "render",
          [](Canvas& c, Params params) {
            float* out;
            auto array = make_array<float>({std::size_t(c.height), std::size_t(c.width), N_COLORS}, &out);
            nb::gil_scoped_release release;
            c.render(params.data(), int(params.shape(0)), out);
            return array;
          },
          "params"_a)
      .def(
          "render_rgb8",
          [](Canvas& c, Params params, Matrix matrix, std::optional<Background> background) {
            uint8_t *rgb, *alpha = nullptr;
            const std::size_t h = c.height, w = c.width;
            auto picture = make_array<uint8_t>({h, w, N_COLORS}, &rgb);
            auto mask = make_array<uint8_t>({background ? h : 0, w}, &alpha);
            {
              nb::gil_scoped_release release;
              c.render_rgb8(params.data(), int(params.shape(0)), matrix.data(), rgb,
                            background ? background->data() : nullptr, background ? alpha : nullptr);
            }
            return nb::make_tuple(picture, mask);
          },
          "params"_a, "matrix"_a, "background"_a = nb::none())
      .def(
          "gradients",
          [](Canvas& c, Params params, Picture residual) {
            check_size(residual, c.width, c.height, "residual");
            float* out;
            auto array = make_array<float>({params.shape(0), std::size_t(N_PARAMS)}, &out);
            nb::gil_scoped_release release;
            c.gradients(params.data(), int(params.shape(0)), residual.data(), out);
            return array;
          },
          "params"_a, "residual"_a)
      .def(
          "fit",
          [](Canvas& c, const gscodec::Target& target, ParamsInOut params, std::optional<Indices> active,
             const gscodec::FitOptions& options, std::optional<nb::callable> project) {
            check_target(target, c);
            const uint32_t* index = checked(active, params.shape(0));
            const std::size_t count = active ? active->shape(0) : params.shape(0);
            gscodec::Project hook;
            if (project)
              hook = [&](const float* now, const float* gradients, float* drawn) {
                nb::gil_scoped_acquire acquire;
                const nb::object made = (*project)(copied(now, count), copied(gradients, count));
                Params array;
                if (!nb::try_cast(made, array)) throw nb::type_error("project must return float32 [n, 8]");
                check_length(array, count, "what project returned");
                std::copy_n(array.data(), count * N_PARAMS, drawn);
              };
            nb::gil_scoped_release release;
            return gscodec::fit(c, target, params.data(), int(params.shape(0)), index, int(count), options, hook);
          },
          "target"_a, "params"_a.noconvert(), "active"_a.none(), "options"_a, "project"_a = nb::none())
      .def(
          "solve_colors",
          [](Canvas& c, const gscodec::Target& target, ParamsInOut params, std::optional<Indices> active, int sweeps,
             float ridge) {
            check_target(target, c);
            const uint32_t* index = checked(active, params.shape(0));
            nb::gil_scoped_release release;
            return gscodec::solve_colors(c, target, params.data(), int(params.shape(0)), index,
                                         active ? int(active->shape(0)) : 0, sweeps, ridge);
          },
          "target"_a, "params"_a.noconvert(), "active"_a.none(), "sweeps"_a, "ridge"_a)
      .def(
          "loss",
          [](Canvas& c, const gscodec::Target& target, Params params) {
            check_target(target, c);
            nb::gil_scoped_release release;
            return gscodec::loss(c, target, params.data(), int(params.shape(0)));
          },
          "target"_a, "params"_a, "Sum of weight times squared difference.")
      .def(
          "rest",
          [](Canvas& c, const gscodec::Target& target, Params params) {
            check_target(target, c);
            float* out;
            auto array = make_array<float>({std::size_t(c.height), std::size_t(c.width), 4}, &out);
            nb::gil_scoped_release release;
            gscodec::rest(c, target, params.data(), int(params.shape(0)), out);
            return array;
          },
          "target"_a, "params"_a, "Target minus sum, and weight: [H, W, 4].")
      .def(
          "pursue",
          [](Canvas& c, const gscodec::Target& target, SymbolsInOut symbols, Symbols base, Steps step, Steps offset,
             Symbols low, Symbols high, Rates rates, GroupRates groups, std::optional<Costs> first,
             const gscodec::PursuitOptions& options) {
            check_target(target, c);
            const std::size_t n = symbols.shape(0);
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
            std::copy_n(groups.data(), gscodec::N_GROUPS, rate.group_on);
            std::copy_n(groups.data() + gscodec::N_GROUPS, gscodec::N_GROUPS, rate.group_off);
            std::copy_n(rates.data(), N_PARAMS * gscodec::RATE_ENTRIES, &rate.cost[0][0]);
            const gscodec::SymbolArrays arrays{symbols.data(), base.data(), step.data(),
                                               offset.data(),  low.data(),  high.data()};
            nb::gil_scoped_release release;
            return gscodec::pursue(c, target, arrays, int(n), rate, options);
          },
          "target"_a, "symbols"_a.noconvert(), "base"_a.noconvert(), "step"_a, "offset"_a, "low"_a.noconvert(),
          "high"_a.noconvert(), "rates"_a, "groups"_a, "first"_a.none(), "options"_a);

  nb::class_<gscodec::MeshSearch>(m, "MeshSearch", "Motion of a clip as a mesh of displacements.")
      .def(
          "__init__",
          [](gscodec::MeshSearch* self, int width, int height, int rows, int columns, float spacing_x, float spacing_y,
             int pixels_per_step, const std::string& isa) {
            check_sides(width, height);
            if (rows < 2 || columns < 2 || !(spacing_x > 0) || !(spacing_y > 0))
              throw std::invalid_argument("a mesh has two rows and columns at least, and space between them");
            if (rows > MAX_POINTS / columns) throw std::invalid_argument("a mesh has too many points");
            if (pixels_per_step < 1) throw std::invalid_argument("pixels_per_step must be positive");
            new (self) gscodec::MeshSearch(width, height, {rows, columns, spacing_x, spacing_y}, pixels_per_step,
                                           kernels_of(isa));
          },
          "width"_a, "height"_a, "rows"_a, "columns"_a, "spacing_x"_a, "spacing_y"_a, "pixels_per_step"_a, "isa"_a = "")
      .def(
          "look",
          [](gscodec::MeshSearch& self, Mask grey) {
            check_size(grey, self.width(), self.height(), "grey");
            nb::gil_scoped_release release;
            self.look(grey.data());
          },
          "grey"_a, "The next picture, uint8 [height, width].")
      .def(
          "fit",
          [](const gscodec::MeshSearch& self, Points points) {
            check_values(points, FARTHEST, "points");
            float* data;
            auto mesh = make_array<float>({std::size_t(self.grid().rows), std::size_t(self.grid().columns), 2}, &data);
            nb::gil_scoped_release release;
            self.fit(points.data(), int(points.shape(0)), data);
            return mesh;
          },
          "points"_a, "Displacements, pixels [rows, columns, 2], from the picture before the last one to it.")
      .def(
          "choose",
          [](const gscodec::MeshSearch& self, Points points, Weights weights, Wanted wanted, Mask used, float unit,
             float lambda) {
            const std::size_t rows = self.grid().rows, columns = self.grid().columns;
            check_length(weights, points.shape(0), "weights");
            check_size(wanted, int(columns), int(rows), "wanted");
            check_size(used, int(columns), int(rows), "used");
            check_values(points, FARTHEST, "points");
            check_values(wanted, FARTHEST_MOTION, "wanted");
            int32_t* data;
            auto mesh = make_array<int32_t>({rows, columns, 2}, &data);
            nb::gil_scoped_release release;
            self.choose(points.data(), weights.data(), int(points.shape(0)), wanted.data(), used.data(), unit, lambda,
                        data);
            return mesh;
          },
          "points"_a, "weights"_a, "wanted"_a, "used"_a, "unit"_a, "lambda_"_a,
          "The whole mesh to say for a wanted one, int32 [rows, columns, 2].")
      .def(
          "drift",
          [](const gscodec::MeshSearch& self, Points points) {
            check_values(points, FARTHEST, "points");
            nb::gil_scoped_release release;
            return self.drift(points.data(), int(points.shape(0)));
          },
          "points"_a, "Most pixels that a quarter of the picture moves as a whole, around the points.")
      .def(
          "follow",
          [](const gscodec::MeshSearch& self, StridedPoints points, Flags is_room, float scale, float still) {
            check_length(is_room, points.shape(0), "is_room");
            if (!(scale > 0)) throw std::invalid_argument("scale must be positive");
            std::vector<float> own, room;
            for (std::size_t i = 0; i < points.shape(0); ++i) {
              std::vector<float>& to = is_room.data()[i] ? room : own;
              for (std::size_t k = 0; k < 2; ++k) {
                to.push_back(points(i, k) / scale);
                if (!(std::fabs(to.back()) <= FARTHEST)) throw std::invalid_argument("points leaves its range");
              }
            }
            float* data;
            auto meshes =
                make_array<float>({2, std::size_t(self.grid().rows), std::size_t(self.grid().columns), 2}, &data);
            nb::gil_scoped_release release;
            self.follow(own, room, still, data);
            return meshes;
          },
          "points"_a, "is_room"_a.noconvert(), "scale"_a, "still"_a,
          "Displacements [2, rows, columns, 2] around what is not the room's, and around all points; points are of a "
          "picture so many times as large. The second are 0 where the room drifts by no more than `still`.");
  using gscodec::CommandQueue;
  nb::class_<CommandQueue>(m, "CommandQueue", "Commands of one CUDA stream, handed to the driver all at once.")
      .def(nb::init<uint64_t, uint64_t>(), "context"_a, "stream"_a)
      .def("copy", &CommandQueue::copy, "to"_a, "source"_a, "n_bytes"_a)
      .def("send", &CommandQueue::send, "device"_a, "host"_a, "n_bytes"_a)
      .def("fetch", &CommandQueue::fetch, "host"_a, "device"_a, "n_bytes"_a)
      .def("zero", &CommandQueue::zero, "device"_a, "n_bytes"_a)
      .def(
          "launch",
          [](CommandQueue& self, uint64_t kernel, unsigned x, unsigned y, unsigned threads, std::uintptr_t params,
             std::size_t n_bytes, bool cooperative) {
            self.launch(kernel, x, y, threads, reinterpret_cast<const void*>(params), n_bytes, cooperative);
          },
          "kernel"_a, "grid_x"_a, "grid_y"_a, "threads"_a, "params"_a, "n_bytes"_a, "cooperative"_a,
          "params: address of a struct, the kernel's only parameter, which is copied.")
      .def("run", &CommandQueue::run, "wait"_a, nb::call_guard<nb::gil_scoped_release>(),
           "Makes the calls; the driver's status, 0 if all went well.");
  gscodec::bind_frames(m);
}
