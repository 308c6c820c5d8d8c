// Runs the matting network on planes of floats, layer by layer.
//
// analysis/network.py says what each kind of layer does, tests/analysis/network_twin.py says the same in NumPy.
//
// Every tensor is a row of planes, one per channel (matting_kernels.h says why). A 1x1 convolution, where near all of
// the work is, sums planes as they lie. Larger kernels sum rows of planes that were copied with zeros around them; for
// stride 2 even and odd columns are copied apart, so that what a vector loads lies together in any case. A gate would
// need a pass over the picture, so it multiplies the few weights of the convolution behind it instead.
//
// Memory: a tensor's block is free again after the last layer that reads it, so that a picture stays within the cache.
#include "network.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace gscodec {

namespace {

constexpr int MAX_KERNEL = 7;
constexpr int MAX_CHANNELS = 1024;
constexpr int MAX_PIXELS_OF_LAYER = 1 << 24;

[[noreturn]] void refuse(std::size_t number, const char* what) {
  throw std::invalid_argument("layer " + std::to_string(number) + " of the network: " + what);
}

std::size_t rounded_up(std::size_t n) { return (n + MATTING_PAD - 1) / MATTING_PAD * MATTING_PAD; }

// One vector more than the pixels need: planes of a power of two would all begin in the same lines of the cache.
std::size_t plane_floats(int height, int width) { return rounded_up(std::size_t(height) * width) + MATTING_PAD; }

int halved(int side, int stride) { return (side + stride - 1) / stride; }

// Zeros in front of a row or column for a convolution that keeps its size, or halves it.
int zeros_before(int side, int kernel, int stride) {
  return std::max(0, (halved(side, stride) - 1) * stride + kernel - side) / 2;
}

}  // namespace

MattingNetwork::MattingNetwork(int h, int w, const int32_t* rows, std::size_t n_layers, const float* weights,
                               std::size_t n_weights, const MattingKernels& kernels)
    : height(h), width(w), kernels_(kernels), weights_(weights, weights + n_weights) {
  tensors_.push_back({h, w, 3, plane_floats(h, w), nullptr});
  std::size_t used = 0;
  for (std::size_t i = 0; i < n_layers; ++i) layers_.push_back(checked(rows + i * ROW, i + 1, n_weights, &used));
  if (used != n_weights) throw std::invalid_argument("the network has more weights than its layers need");
  const Tensor& last = tensors_.back();
  if (last.height != h || last.width != w || last.channels != 1)
    throw std::invalid_argument("the network's last layer is no matte of the picture's size");
  place(layers_);
}

// Reads one row, adds its tensor, counts its weights.
MattingNetwork::Layer MattingNetwork::checked(const int32_t* row, std::size_t number, std::size_t n_weights,
                                              std::size_t* used) {
  const auto below = [&](int32_t value, int32_t end) { return value >= 0 && value < end; };
  const int32_t made = int32_t(number), channels = row[7];
  if (!below(row[0], int32_t(Operation::COUNT)) || !below(row[1], int32_t(Activation::COUNT)))
    refuse(number, "unknown operation or activation");
  if (!below(row[4], made) || !below(row[5], made) || !below(row[6], made))
    refuse(number, "it reads a layer that is not made before it");
  if (!below(channels - 1, MAX_CHANNELS)) refuse(number, "its number of channels is out of range");
  Layer layer{Operation(row[0]), Activation(row[1]), row[2], row[3], row[4], row[5], row[6], 0, 0};
  const Tensor& in = tensors_[layer.source];
  const bool convolution = layer.operation == Operation::CONV || layer.operation == Operation::DEPTHWISE;
  if (!below(layer.kernel - 1, MAX_KERNEL) || layer.kernel % 2 == 0 || !below(layer.stride - 1, 2) ||
      (!convolution && (layer.kernel != 1 || layer.stride != 1 || layer.activation != Activation::NONE)))
    refuse(number, "its kernel, stride or activation is out of range");
  const bool squeezed = layer.operation == Operation::CONV && layer.kernel == 1 && layer.stride == 1;
  const bool mix = layer.operation == Operation::MIX;
  if (mix && (!layer.gate || !layer.addend)) refuse(number, "a mix needs a gate and an addend");
  if (layer.gate) {
    const Tensor& gate = tensors_[layer.gate];
    if (!(squeezed || mix) || gate.pixels() != 1 || gate.channels != in.channels)
      refuse(number, "its gate does not fit its source");
  }
  Tensor out{in.height, in.width, channels, 0, nullptr};
  int32_t wanted = in.channels;
  switch (layer.operation) {
    case Operation::MEAN:
      out.height = out.width = 1;
      break;
    case Operation::UPSCALE:
      out.height *= 2, out.width *= 2;
      break;
    case Operation::SPREAD:
      if (in.channels != 4) refuse(number, "what is spread has four channels");
      out.height *= 2, out.width *= 2, wanted = 1;
      break;
    default:
      out.height = halved(in.height, layer.stride), out.width = halved(in.width, layer.stride);
      if (layer.operation == Operation::CONV) wanted = channels;
  }
  if (int64_t(out.height) * out.width > MAX_PIXELS_OF_LAYER) refuse(number, "its picture is too large");
  if (channels != wanted) refuse(number, "its number of channels does not fit its source");
  if (layer.addend) {
    const Tensor& addend = tensors_[layer.addend];
    const Tensor& like = layer.operation == Operation::MEAN ? in : out;
    if (addend.height != like.height || addend.width != like.width || addend.channels != like.channels ||
        layer.operation == Operation::UPSCALE || layer.operation == Operation::SPREAD)
      refuse(number, "its addend has another shape");
  }
  if (convolution) {
    const std::size_t taps = std::size_t(layer.kernel) * layer.kernel * channels;
    layer.weights = *used;
    layer.bias = *used + taps * (layer.operation == Operation::CONV ? in.channels : 1);
    *used = layer.bias + channels;
    if (*used > n_weights) refuse(number, "the file has too few weights");
  }
  out.stride = plane_floats(out.height, out.width);
  tensors_.push_back(out);
  return layer;
}

// Gives every tensor its memory, and the scratch theirs.
void MattingNetwork::place(const std::vector<Layer>& layers) {
  std::vector<std::size_t> last_use(tensors_.size(), tensors_.size());
  for (std::size_t i = 0; i < layers.size(); ++i)
    for (const int read : {layers[i].source, layers[i].gate, layers[i].addend})
      last_use[std::size_t(read)] = i + 1;  // of tensor 0 too where there is no gate: it only lives longer
  std::vector<std::size_t> block_of(tensors_.size()), free_blocks;
  std::size_t padded = 0, gated = 0, taps = 0, row = 0;
  for (std::size_t t = 0; t < tensors_.size(); ++t) {
    const Tensor& made = tensors_[t];
    const std::size_t floats = made.channels * made.stride;
    auto best = free_blocks.end();
    for (auto it = free_blocks.begin(); it != free_blocks.end(); ++it)
      if (blocks_[*it].size() >= floats && (best == free_blocks.end() || blocks_[*it].size() < blocks_[*best].size()))
        best = it;
    if (best != free_blocks.end()) {
      block_of[t] = *best;
      free_blocks.erase(best);
    } else {
      block_of[t] = blocks_.size();
      blocks_.emplace_back(floats);
    }
    for (std::size_t read = 0; read < t; ++read)
      if (last_use[read] == t) free_blocks.push_back(block_of[read]);
    if (t == 0) continue;
    const Layer& layer = layers[t - 1];
    const Tensor& in = tensors_[layer.source];
    if (layer.operation == Operation::CONV || layer.operation == Operation::DEPTHWISE)
      padded = std::max(padded, padding_of(layer, in, made).floats *
                                    (layer.operation == Operation::CONV ? std::size_t(in.channels) : 1));
    gated = std::max(gated, std::size_t(in.channels) * made.channels);
    taps = std::max(taps, std::size_t(layer.kernel) * layer.kernel * in.channels);
    row = std::max(row, std::size_t(in.width) + 2 + MATTING_PAD);
  }
  for (std::size_t t = 0; t < tensors_.size(); ++t) tensors_[t].data = blocks_[block_of[t]].data();
  padded_.resize(padded + MATTING_PAD), gated_.resize(gated), taps_.resize(taps), row_.resize(row);
}

void MattingNetwork::run(const uint8_t* picture, float* out) {
  lay_out(picture);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    const Tensor &in = tensors_[layer.source], &made = tensors_[i + 1];
    const Tensor *gate = layer.gate ? &tensors_[layer.gate] : nullptr,
                 *addend = layer.addend ? &tensors_[layer.addend] : nullptr;
    switch (layer.operation) {
      case Operation::CONV:
        if (layer.kernel == 1 && layer.stride == 1)
          convolve_planes(layer, in, made);
        else
          convolve(layer, in, made);
        break;
      case Operation::DEPTHWISE:
        weigh_planes(layer, in, made);
        break;
      case Operation::MEAN:
        for (int c = 0; c < in.channels; ++c) {
          float total = kernels_.sum(in.data + c * in.stride, in.pixels());
          if (addend) total += kernels_.sum(addend->data + c * addend->stride, in.pixels());
          made.data[c * made.stride] = total / float(in.pixels());
        }
        break;
      case Operation::MIX:
        for (int c = 0; c < in.channels; ++c)
          kernels_.mix(in.data + c * in.stride, gate->data[c * gate->stride], addend->data + c * addend->stride,
                       in.pixels(), made.data + c * made.stride);
        break;
      case Operation::UPSCALE:
        upscale(in, made);
        break;
      default:
        spread(in, made);
    }
  }
  const Tensor& last = tensors_.back();
  std::copy_n(last.data, last.pixels(), out);
}

void MattingNetwork::lay_out(const uint8_t* picture) {
  const Tensor& planes = tensors_.front();
  float *red = planes.data, *green = red + planes.stride, *blue = green + planes.stride;
  for (int i = 0; i < planes.pixels(); ++i) {
    red[i] = float(picture[3 * i]) * (1.0f / 255.0f);
    green[i] = float(picture[3 * i + 1]) * (1.0f / 255.0f);
    blue[i] = float(picture[3 * i + 2]) * (1.0f / 255.0f);
  }
}

void MattingNetwork::convolve_planes(const Layer& layer, const Tensor& in, const Tensor& out) {
  const float* weights = weights_.data() + layer.weights;
  if (layer.gate) {
    const Tensor& gate = tensors_[layer.gate];
    for (int k = 0; k < in.channels; ++k)
      for (int c = 0; c < out.channels; ++c)
        gated_[std::size_t(k) * out.channels + c] = weights[k * out.channels + c] * gate.data[k * gate.stride];
    weights = gated_.data();
  }
  for (int k = 0; k < in.channels; ++k) taps_[k] = in.data + k * in.stride;
  kernels_.combine(taps_.data(), in.channels, weights, weights_.data() + layer.bias, out.channels, out.pixels(),
                   layer.activation, layer.addend ? tensors_[layer.addend].data : nullptr, out.data, out.stride);
}

MattingNetwork::Padding MattingNetwork::padding_of(const Layer& layer, const Tensor& in, const Tensor& out) {
  Padding p;
  p.above = zeros_before(in.height, layer.kernel, layer.stride);
  p.left = zeros_before(in.width, layer.kernel, layer.stride);
  p.rows = (out.height - 1) * layer.stride + layer.kernel;
  p.pitch = int(rounded_up(out.width)) + layer.kernel + MATTING_PAD;
  p.step = p.pitch * layer.stride;
  p.floats = std::size_t(p.rows) * p.step;
  return p;
}

// Copies a plane into zeros: those around it stay.
void MattingNetwork::pad(const float* plane, const Tensor& in, int stride, const Padding& p, float* to) const {
  const int rows = std::min(in.height, p.rows - p.above);
  for (int y = 0; y < rows; ++y, plane += in.width) {
    float* row = to + std::size_t(y + p.above) * p.step;
    if (stride == 1) {
      std::copy_n(plane, in.width, row + p.left);
      continue;
    }
    const int next = p.left + 1;
    kernels_.part(plane, in.width, row + p.left % 2 * p.pitch + p.left / 2, row + next % 2 * p.pitch + next / 2);
  }
}

// Where the sources of a layer's first output lie in a padded plane, kernel² of them.
void MattingNetwork::set_taps(const Layer& layer, const Padding& p, const float* padded, const float** taps,
                              int apart) const {
  for (int dy = 0; dy < layer.kernel; ++dy)
    for (int dx = 0; dx < layer.kernel; ++dx, taps += apart)
      *taps = padded + std::size_t(dy) * p.step + dx % layer.stride * p.pitch + dx / layer.stride;
}

void MattingNetwork::convolve(const Layer& layer, const Tensor& in, const Tensor& out) {
  const Padding p = padding_of(layer, in, out);
  const int n_taps = layer.kernel * layer.kernel * in.channels;
  std::fill_n(padded_.data(), p.floats * in.channels, 0.0f);
  for (int c = 0; c < in.channels; ++c) {
    float* padded = padded_.data() + c * p.floats;
    pad(in.data + c * in.stride, in, layer.stride, p, padded);
    set_taps(layer, p, padded, taps_.data() + c, in.channels);
  }
  for (int y = 0; y < out.height; ++y) {
    const std::size_t at = std::size_t(y) * out.width;
    kernels_.combine(taps_.data(), n_taps, weights_.data() + layer.weights, weights_.data() + layer.bias, out.channels,
                     out.width, layer.activation, layer.addend ? tensors_[layer.addend].data + at : nullptr,
                     out.data + at, out.stride);
    for (int k = 0; k < n_taps; ++k) taps_[k] += layer.stride * p.step;
  }
}

void MattingNetwork::weigh_planes(const Layer& layer, const Tensor& in, const Tensor& out) {
  const Padding p = padding_of(layer, in, out);
  std::fill_n(padded_.data(), p.floats, 0.0f);
  set_taps(layer, p, padded_.data(), taps_.data(), 1);
  const WeighedRows rows{out.width, out.height, layer.stride * p.step, layer.kernel * layer.kernel};
  for (int c = 0; c < in.channels; ++c) {
    pad(in.data + c * in.stride, in, layer.stride, p, padded_.data());
    kernels_.weigh(taps_.data(), rows, weights_.data() + layer.weights + c, in.channels, weights_[layer.bias + c],
                   layer.activation, layer.addend ? tensors_[layer.addend].data + c * out.stride : nullptr,
                   out.data + c * out.stride);
  }
}

void MattingNetwork::upscale(const Tensor& in, const Tensor& out) {
  for (int c = 0; c < in.channels; ++c)
    for (int y = 0; y < out.height; ++y) {
      const float* plane = in.data + c * in.stride;
      const int near = y / 2, far = std::clamp(near + (y % 2 ? 1 : -1), 0, in.height - 1);
      kernels_.upscale_row(plane + std::size_t(near) * in.width, plane + std::size_t(far) * in.width, in.width,
                           row_.data(), out.data + c * out.stride + std::size_t(y) * out.width);
    }
}

void MattingNetwork::spread(const Tensor& in, const Tensor& out) {
  for (int y = 0; y < out.height; ++y) {
    const float* even = in.data + (y % 2) * 2 * in.stride + std::size_t(y / 2) * in.width;
    kernels_.interleave(even, even + in.stride, in.width, out.data + std::size_t(y) * out.width);
  }
}

}  // namespace gscodec
