// The Python face of the tiled rasteriser and its fit. What each entry asks of its arguments: the types below, and
// checks.h.
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
#include "ceiling.h"
#include "csrc/array_types.h"
#include "csrc/instruction_sets.h"
#include "fit.h"
#include "splat/cuda/csrc/command_queue.h"
#include "target_checks.h"
#include "tiled_raster.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using gscodec::make_array;
using gscodec::N_COLORS;
using gscodec::TiledRaster;
using namespace gscodec::bindings;
using gscodec::check_columns;
using gscodec::check_length;
using gscodec::check_number;
using gscodec::check_sides;
using gscodec::check_size;
using gscodec::MAX_THREADS;

using ParamsInOut = nb::ndarray<float, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Background = nb::ndarray<const float, nb::numpy, nb::shape<N_COLORS>, nb::c_contig, nb::device::cpu>;
using Indices = nb::ndarray<const uint32_t, nb::numpy, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

nb::ndarray<nb::numpy, float> copied(const float* params, std::size_t n, std::size_t n_params) {
  float* data;
  auto array = make_array<float>({n, n_params}, &data);
  std::copy_n(params, n * n_params, data);
  return array;
}

const uint32_t* checked(const std::optional<Indices>& active, std::size_t n) {
  if (!active) return nullptr;
  for (std::size_t i = 0; i < active->shape(0); ++i)
    if (active->data()[i] >= n) throw std::out_of_range("an active index is past the last Gaussian");
  return active->data();
}

TiledRaster* make_raster(int width, int height, int threads, const std::string& isa, bool normalised) {
  check_sides(width, height);
  check_number("threads", threads, 1, MAX_THREADS);
  return new TiledRaster(width, height, threads, &gscodec::kernels_of(gscodec::find_kernels, isa), normalised);
}

}  // namespace

NB_MODULE(_native, m) {
  m.doc() = "gscodec's rasteriser and fit on the CPU, and the queue of a GPU's commands.";
  m.attr("RADIUS_SQ") = gscodec::RADIUS_SQ;
  m.attr("EDGE") = gscodec::EDGE;
  m.attr("WEIGHT_ENERGY") = gscodec::WEIGHT_ENERGY;
  m.attr("MIN_SCALE") = gscodec::MIN_SCALE;
  m.attr("GROUND") = gscodec::GROUND;
  m.attr("MAX_LOG_WEIGHT") = gscodec::MAX_LOG_WEIGHT;
  m.attr("ABSENT_LOG_WEIGHT") = gscodec::ABSENT_LOG_WEIGHT;

  nb::class_<gscodec::Target>(m, "Target",
                              "A picture to fit, with the weight of each pixel; belongs to one TiledRaster.")
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

  nb::class_<TiledRaster>(m, "TiledRaster",
                          "A picture size with its tiles, threads and kernels. Not for concurrent calls.")
      .def(nb::new_(&make_raster), "width"_a, "height"_a, "threads"_a = 1, "isa"_a = "", "normalised"_a = false)
      .def_ro("width", &TiledRaster::width)
      .def_ro("height", &TiledRaster::height)
      .def_prop_ro("threads", [](const TiledRaster& c) { return c.pool.threads(); })
      .def_prop_ro("isa", [](const TiledRaster& c) { return c.kernels.name; })
      .def(
          "ceiling_ns",
          [](const TiledRaster& c) {
            nb::gil_scoped_release release;
            const gscodec::Ceiling ceiling = gscodec::measure_ceiling(c.kernels);
            return std::make_tuple(ceiling.forward_ns, ceiling.backward_ns);
          },
          "Nanoseconds of a Gaussian at a pixel, forward and backward, with nothing in the way.")
      .def(
          "target",
          [](const TiledRaster& c, Picture picture, Plane weight, std::optional<Plane> matte, float matte_weight) {
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
          [](TiledRaster& c, Params params) {
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
          [](TiledRaster& c, Params params, Matrix matrix, Background ground) {
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
          [](TiledRaster& c, Params params, Flags is_room, Matrix matrix, Background ground, Background background) {
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
          [](TiledRaster& c, Params params, Picture residual) {
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
          [](TiledRaster& c, const gscodec::Target& target, ParamsInOut params, std::optional<Indices> active,
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
          [](TiledRaster& c, const gscodec::Target& target, ParamsInOut params, std::optional<Indices> active,
             int sweeps, float ridge) {
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
          [](TiledRaster& c, const gscodec::Target& target, Params params) {
            check_target(target, c);
            check_columns(params, c.n_params, "params");
            nb::gil_scoped_release release;
            return gscodec::loss(c, target, params.data(), int(params.shape(0)));
          },
          "target"_a, "params"_a, "Sum of weight times squared difference.")
      .def(
          "residual",
          [](TiledRaster& c, const gscodec::Target& target, Params params) {
            check_target(target, c);
            check_columns(params, c.n_params, "params");
            float* out;
            auto array = make_array<float>({std::size_t(c.height), std::size_t(c.width), 4}, &out);
            nb::gil_scoped_release release;
            gscodec::residual(c, target, params.data(), int(params.shape(0)), out);
            return array;
          },
          "target"_a, "params"_a, "Target minus picture, and weight: [H, W, 4].")
      .def(
          "curvatures",
          [](TiledRaster& c, const gscodec::Target& target, Params params) {
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
          [](TiledRaster& c, Params params) {
            check_columns(params, c.n_params, "params");
            float* out;
            auto array = make_array<float>({std::size_t(c.height), std::size_t(c.width)}, &out);
            nb::gil_scoped_release release;
            c.weights(params.data(), int(params.shape(0)), out);
            return array;
          },
          "params"_a, "Sums of the weights, [H, W].");

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
}
