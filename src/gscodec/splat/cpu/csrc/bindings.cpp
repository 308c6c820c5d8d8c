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
using namespace gscodec::bindings;
using gscodec::check_columns;
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

nb::ndarray<nb::numpy, float> copied(const float* params, std::size_t n, std::size_t n_params) {
  float* data;
  auto array = make_array<float>({n, n_params}, &data);
  std::copy_n(params, n * n_params, data);
  return array;
}

// A target is laid out in tiles of the canvas it was made for.
void check_target(const gscodec::Target& target, const Canvas& canvas) {
  check_size(std::size_t(target.width), std::size_t(target.height), canvas.width, canvas.height, "the target");
}

// Who is the room's, which a target with a matte asks for.
const bool* checked_rooms(const gscodec::Target& target, const std::optional<Flags>& is_room, std::size_t n) {
  if (is_room) check_length(*is_room, n, "is_room");
  if (target.has_matte() && !is_room) throw std::invalid_argument("the target has a matte, so is_room must be given");
  return is_room ? is_room->data() : nullptr;
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

Canvas* make_canvas(int width, int height, int threads, const std::string& isa, bool normalised) {
  check_sides(width, height);
  check_number("threads", threads, 1, MAX_THREADS);
  return new Canvas(width, height, threads, &kernels_of(isa), normalised);
}

}  // namespace

NB_MODULE(_native, m) {
  m.doc() = "gscodec's native core: rasteriser, fit, superpixels.";
  m.attr("RADIUS_SQ") = gscodec::RADIUS_SQ;
  m.attr("EDGE") = gscodec::EDGE;
  m.attr("WEIGHT_ENERGY") = gscodec::WEIGHT_ENERGY;
  m.attr("MIN_SCALE") = gscodec::MIN_SCALE;
  m.attr("GROUND") = gscodec::GROUND;
  m.attr("MAX_LOG_WEIGHT") = gscodec::MAX_LOG_WEIGHT;

  nb::class_<gscodec::Target>(m, "Target", "A picture to fit, with the weight of each pixel; belongs to one Canvas.")
      .def_ro("roi_pixels", &gscodec::Target::roi_pixels, "Pixels whose weight is above one half.");

  nb::class_<gscodec::FitOptions>(m, "FitOptions")
      .def(nb::init<>())
      .def_rw("iterations", &gscodec::FitOptions::iterations)
      .def_rw("rate_mean", &gscodec::FitOptions::rate_mean)
      .def_rw("rate_shape", &gscodec::FitOptions::rate_shape)
      .def_rw("rate_color", &gscodec::FitOptions::rate_color)
      .def_rw("rate_weight", &gscodec::FitOptions::rate_weight)
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
      .def(nb::new_(&make_canvas), "width"_a, "height"_a, "threads"_a = 1, "isa"_a = "", "normalised"_a = false)
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
          [](const Canvas& c, Picture picture, Plane weight, std::optional<Plane> matte, float matte_weight) {
            check_size(picture, c.width, c.height, "picture");
            check_size(weight, c.width, c.height, "weight");
            if (matte) check_size(*matte, c.width, c.height, "matte");
            if (matte && !c.normalised) throw std::invalid_argument("only the normalised blend can fit a matte");
            nb::gil_scoped_release release;
            return new gscodec::Target(c, picture.data(), weight.data(), matte ? matte->data() : nullptr, matte_weight);
          },
          "picture"_a, "weight"_a, "matte"_a = nb::none(), "matte_weight"_a = 0.0f, nb::rv_policy::take_ownership)
      .def(
          "render",
          [](Canvas& c, Params params) {
            check_columns(params, c.n_params, "params");
            float* out;
            auto array = make_array<float>({std::size_t(c.height), std::size_t(c.width), N_COLORS}, &out);
            nb::gil_scoped_release release;
            c.render(params.data(), int(params.shape(0)), out);
            return array;
          },
          "params"_a)
      .def(
          "render_rgb8",
          [](Canvas& c, Params params, Matrix matrix, Background ground) {
            check_columns(params, c.n_params, "params");
            uint8_t* rgb;
            auto picture = make_array<uint8_t>({std::size_t(c.height), std::size_t(c.width), N_COLORS}, &rgb);
            nb::gil_scoped_release release;
            c.render_rgb8(params.data(), int(params.shape(0)), matrix.data(), ground.data(), rgb);
            return picture;
          },
          "params"_a, "matrix"_a, "ground"_a)
      .def(
          "render_person",
          [](Canvas& c, Params params, Flags is_room, Matrix matrix, Background ground, Background background) {
            check_columns(params, c.n_params, "params");
            check_length(is_room, params.shape(0), "is_room");
            uint8_t *rgb, *alpha;
            const std::size_t h = c.height, w = c.width;
            auto picture = make_array<uint8_t>({h, w, N_COLORS}, &rgb);
            auto mask = make_array<uint8_t>({h, w}, &alpha);
            {
              nb::gil_scoped_release release;
              c.render_person(params.data(), is_room.data(), int(params.shape(0)), matrix.data(), ground.data(),
                              background.data(), rgb, alpha);
            }
            return nb::make_tuple(picture, mask);
          },
          "params"_a, "is_room"_a.noconvert(), "matrix"_a, "ground"_a, "background"_a)
      .def(
          "gradients",
          [](Canvas& c, Params params, Picture residual) {
            check_columns(params, c.n_params, "params");
            check_size(residual, c.width, c.height, "residual");
            float* out;
            auto array = make_array<float>({params.shape(0), std::size_t(c.n_params)}, &out);
            nb::gil_scoped_release release;
            c.gradients(params.data(), int(params.shape(0)), residual.data(), out);
            return array;
          },
          "params"_a, "residual"_a)
      .def(
          "fit",
          [](Canvas& c, const gscodec::Target& target, ParamsInOut params, std::optional<Indices> active,
             const gscodec::FitOptions& options, std::optional<nb::callable> project, std::optional<Flags> is_room) {
            check_target(target, c);
            check_columns(params, c.n_params, "params");
            const bool* rooms = checked_rooms(target, is_room, params.shape(0));
            const uint32_t* index = checked(active, params.shape(0));
            const std::size_t count = active ? active->shape(0) : params.shape(0), n_params = c.n_params;
            gscodec::Project hook;
            if (project)
              hook = [&](const float* now, const float* gradients, float* drawn) {
                nb::gil_scoped_acquire acquire;
                const nb::object made = (*project)(copied(now, count, n_params), copied(gradients, count, n_params));
                Params array;
                if (!nb::try_cast(made, array)) throw nb::type_error("project must return float32 [n, n_params]");
                check_length(array, count, "what project returned");
                check_columns(array, c.n_params, "what project returned");
                std::copy_n(array.data(), count * n_params, drawn);
              };
            nb::gil_scoped_release release;
            return gscodec::fit(c, target, params.data(), int(params.shape(0)), rooms, index, int(count), options,
                                hook);
          },
          "target"_a, "params"_a.noconvert(), "active"_a.none(), "options"_a, "project"_a = nb::none(),
          "is_room"_a = nb::none())
      .def(
          "solve_colors",
          [](Canvas& c, const gscodec::Target& target, ParamsInOut params, std::optional<Indices> active, int sweeps,
             float ridge) {
            check_target(target, c);
            check_columns(params, c.n_params, "params");
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
            check_columns(params, c.n_params, "params");
            nb::gil_scoped_release release;
            return gscodec::loss(c, target, params.data(), int(params.shape(0)));
          },
          "target"_a, "params"_a, "Sum of weight times squared difference.")
      .def(
          "rest",
          [](Canvas& c, const gscodec::Target& target, Params params) {
            check_target(target, c);
            check_columns(params, c.n_params, "params");
            float* out;
            auto array = make_array<float>({std::size_t(c.height), std::size_t(c.width), 4}, &out);
            nb::gil_scoped_release release;
            gscodec::rest(c, target, params.data(), int(params.shape(0)), out);
            return array;
          },
          "target"_a, "params"_a, "Target minus picture, and weight: [H, W, 4].")
      .def(
          "curvatures",
          [](Canvas& c, const gscodec::Target& target, Params params) {
            check_target(target, c);
            check_columns(params, c.n_params, "params");
            float* out;
            constexpr std::size_t columns = sizeof(gscodec::Curvature) / sizeof(float);
            auto array = make_array<float>({params.shape(0), columns}, &out);
            nb::gil_scoped_release release;
            c.curvatures(params.data(), int(params.shape(0)), target.weight.data(),
                         reinterpret_cast<gscodec::Curvature*>(out));
            return array;
          },
          "target"_a, "params"_a,
          "What each Gaussian's second derivatives are made of, float32 [n, 10]: columns as kernels.h, Curvature.")
      .def(
          "weights",
          [](Canvas& c, Params params) {
            check_columns(params, c.n_params, "params");
            float* out;
            auto array = make_array<float>({std::size_t(c.height), std::size_t(c.width)}, &out);
            nb::gil_scoped_release release;
            c.weights(params.data(), int(params.shape(0)), out);
            return array;
          },
          "params"_a, "Sums of the weights, [H, W].")
      .def(
          "pursue",
          [](Canvas& c, const gscodec::Target& target, SymbolsInOut symbols, Symbols base, Steps step, Steps offset,
             Symbols low, Symbols high, std::optional<Params> others, Rates rates, GroupRates groups,
             std::optional<Costs> first, const gscodec::PursuitOptions& options, std::optional<Flags> is_room,
             std::optional<Flags> others_room) {
            check_target(target, c);
            const std::size_t n = symbols.shape(0), n_params = c.n_params;
            const bool* rooms = checked_rooms(target, is_room, n);
            const bool* other_rooms = others ? checked_rooms(target, others_room, others->shape(0)) : nullptr;
            const std::size_t n_groups = c.normalised ? gscodec::N_GROUPS : gscodec::N_GROUPS - 1;
            check_columns(symbols, c.n_params, "symbols");
            check_columns(base, c.n_params, "base");
            check_columns(step, c.n_params, "step");
            check_columns(offset, c.n_params, "offset");
            check_columns(low, c.n_params, "low");
            check_columns(high, c.n_params, "high");
            if (others) check_columns(*others, c.n_params, "others");
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
            const gscodec::OtherGaussians rest{others ? others->data() : nullptr, other_rooms,
                                               others ? int(others->shape(0)) : 0};
            return gscodec::pursue(c, target, arrays, rooms, int(n), rest, rate, options);
          },
          "target"_a, "symbols"_a.noconvert(), "base"_a.noconvert(), "step"_a, "offset"_a, "low"_a.noconvert(),
          "high"_a.noconvert(), "others"_a.none(), "rates"_a, "groups"_a, "first"_a.none(), "options"_a,
          "is_room"_a = nb::none(), "others_room"_a = nb::none());

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
  gscodec::bind_matting(m);
}
