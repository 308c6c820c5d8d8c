// The matting network: layers as analysis/network.py describes them, run on planes of floats.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "matting_kernels.h"

namespace gscodec {

// A network and the memory for one picture at a time: not for concurrent calls.
class MattingNetwork {
 public:
  static constexpr int ROW = 8;  // numbers that describe a layer

  // rows: int32 [n_layers, ROW]. Throws std::invalid_argument where they and the weights do not fit together.
  MattingNetwork(int height, int width, const int32_t* rows, std::size_t n_layers, const float* weights,
                 std::size_t n_weights, const MattingKernels& kernels);

  // picture: R'G'B' [height, width, 3]; out: [height, width].
  void run(const uint8_t* picture, float* out);

  const int height, width;

 private:
  enum class Operation : int32_t { CONV, DEPTHWISE, MEAN, MIX, UPSCALE, SPREAD, COUNT };

  // What a layer makes; number 0 is the picture. Channel c is at data + c·stride.
  struct Tensor {
    int height, width, channels;
    std::size_t stride;
    float* data;
    int pixels() const { return height * width; }
  };

  struct Layer {
    Operation operation;
    Activation activation;
    int kernel, stride, source, gate, addend;
    std::size_t weights, bias;  // where they begin
  };

  // A plane with zeros around it: `step` floats a row; with stride 2 its even columns, then from `pitch` on its odd
  // ones.
  struct Padding {
    int above, left, rows, pitch, step;
    std::size_t floats;
  };

  Layer checked(const int32_t* row, std::size_t number, std::size_t n_weights, std::size_t* used);
  void place(const std::vector<Layer>& layers);
  static Padding padding_of(const Layer& layer, const Tensor& in, const Tensor& out);
  void pad(const float* plane, const Tensor& in, int stride, const Padding& p, float* to) const;
  void set_taps(const Layer& layer, const Padding& p, const float* padded, const float** taps, int apart) const;
  void convolve(const Layer& layer, const Tensor& in, const Tensor& out);
  void convolve_planes(const Layer& layer, const Tensor& in, const Tensor& out);
  void weigh_planes(const Layer& layer, const Tensor& in, const Tensor& out);
  void upscale(const Tensor& in, const Tensor& out);
  void spread(const Tensor& in, const Tensor& out);
  void lay_out(const uint8_t* picture);

  const MattingKernels& kernels_;
  std::vector<Layer> layers_;
  std::vector<Tensor> tensors_;
  std::vector<float> weights_;
  std::vector<std::vector<float>> blocks_;  // the tensors' memory, shared by those that are not needed together
  std::vector<float> padded_, gated_, row_;
  std::vector<const float*> taps_;
};

}  // namespace gscodec
