// Work for an NVIDIA GPU, written down first and then handed to its driver in one go.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace gscodec {

// One stream's commands. What is written down costs no call of the driver; `run` makes them all, and needs none of
// Python: threads that encode side by side would otherwise pass the interpreter's lock around for every launch.
class CommandQueue {
 public:
  // context, stream: the driver's handles. std::runtime_error without a driver.
  CommandQueue(uint64_t context, uint64_t stream);

  // Host memory to other host memory; what is copied must stay as it is until the next `run`.
  void copy(uint64_t to, uint64_t from, std::size_t n_bytes);

  // Page-locked host memory to the device, and back; it must stay as it is until a `run` that waits.
  void send(uint64_t device, uint64_t host, std::size_t n_bytes);
  void fetch(uint64_t host, uint64_t device, std::size_t n_bytes);
  void zero(uint64_t device, std::size_t n_bytes);

  // A kernel whose only parameter is a struct, which is copied.
  void launch(uint64_t kernel, unsigned grid_x, unsigned grid_y, unsigned threads, const void* params,
              std::size_t n_bytes, bool cooperative);

  // Makes the calls, and waits for the stream; the driver's status, 0 if all went well, of the first that failed.
  int run(bool wait);

 private:
  enum class Kind { Copy, Send, Fetch, Zero, Launch, LaunchCooperative };

  struct Command {
    Kind kind;
    unsigned grid_x, grid_y, threads;
    uint64_t to, from;   // addresses; `to` is a launch's kernel
    std::size_t amount;  // bytes; where a launch's parameters begin
  };

  void add(const Command& command);
  int make(const Command& command);

  uint64_t context_, stream_;
  int failed_ = 0;
  std::vector<Command> commands_;
  std::vector<std::byte> params_;
};

}  // namespace gscodec
