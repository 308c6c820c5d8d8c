#include "command_queue.h"

#include <dlfcn.h>

#include <cstring>
#include <stdexcept>
#include <string>

namespace gscodec {
namespace {

constexpr std::size_t MOST = 256;      // commands that wait for a run
constexpr std::size_t ALIGNMENT = 16;  // of a struct of parameters
constexpr const char* DRIVER = "libcuda.so.1";

// The driver's functions, declared here so that neither building nor running needs CUDA's headers.
struct Driver {
  int (*set_context)(uint64_t);
  int (*send)(uint64_t, const void*, std::size_t, uint64_t);
  int (*fetch)(void*, uint64_t, std::size_t, uint64_t);
  int (*zero)(uint64_t, unsigned char, std::size_t, uint64_t);
  int (*launch)(uint64_t, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, uint64_t, void**,
                void**);
  int (*launch_cooperative)(uint64_t, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, uint64_t,
                            void**);
  int (*wait)(uint64_t);
};

template <typename Function>
void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (!function) throw std::runtime_error(std::string(DRIVER) + " has no " + name);
}

const Driver& driver() {
  static const Driver found = [] {
    void* library = dlopen(DRIVER, RTLD_NOW);
    if (!library) throw std::runtime_error(std::string(DRIVER) + " cannot be loaded");
    Driver d;
    find(library, "cuCtxSetCurrent", d.set_context);
    find(library, "cuMemcpyHtoDAsync_v2", d.send);
    find(library, "cuMemcpyDtoHAsync_v2", d.fetch);
    find(library, "cuMemsetD8Async", d.zero);
    find(library, "cuLaunchKernel", d.launch);
    find(library, "cuLaunchCooperativeKernel", d.launch_cooperative);
    find(library, "cuStreamSynchronize", d.wait);
    return d;
  }();
  return found;
}

void* host(uint64_t address) { return reinterpret_cast<void*>(static_cast<std::uintptr_t>(address)); }

}  // namespace

CommandQueue::CommandQueue(uint64_t context, uint64_t stream) : context_(context), stream_(stream) { driver(); }

void CommandQueue::copy(uint64_t to, uint64_t from, std::size_t n_bytes) {
  if (n_bytes) add({Kind::Copy, 0, 0, 0, to, from, n_bytes});
}

void CommandQueue::send(uint64_t device, uint64_t from, std::size_t n_bytes) {
  if (n_bytes) add({Kind::Send, 0, 0, 0, device, from, n_bytes});
}

void CommandQueue::fetch(uint64_t to, uint64_t device, std::size_t n_bytes) {
  if (n_bytes) add({Kind::Fetch, 0, 0, 0, to, device, n_bytes});
}

void CommandQueue::zero(uint64_t device, std::size_t n_bytes) {
  if (n_bytes) add({Kind::Zero, 0, 0, 0, device, 0, n_bytes});
}

void CommandQueue::launch(uint64_t kernel, unsigned grid_x, unsigned grid_y, unsigned threads, const void* params,
                          std::size_t n_bytes, bool cooperative) {
  if (grid_x == 0 || grid_y == 0) return;
  const std::size_t begin = params_.size();
  params_.resize(begin + (n_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
  std::memcpy(params_.data() + begin, params, n_bytes);
  add({cooperative ? Kind::LaunchCooperative : Kind::Launch, grid_x, grid_y, threads, kernel, 0, begin});
}

void CommandQueue::add(const Command& command) {
  commands_.push_back(command);
  if (commands_.size() < MOST) return;
  const int status = run(false);
  if (failed_ == 0) failed_ = status;  // for the next run to tell
}

int CommandQueue::make(const Command& c) {
  const Driver& d = driver();
  switch (c.kind) {
    case Kind::Copy:
      std::memcpy(host(c.to), host(c.from), c.amount);
      return 0;
    case Kind::Send:
      return d.send(c.to, host(c.from), c.amount, stream_);
    case Kind::Fetch:
      return d.fetch(host(c.to), c.from, c.amount, stream_);
    case Kind::Zero:
      return d.zero(c.to, 0, c.amount, stream_);
    case Kind::Launch:
    case Kind::LaunchCooperative:
      break;
  }
  void* params[] = {params_.data() + c.amount};
  if (c.kind == Kind::Launch)
    return d.launch(c.to, c.grid_x, c.grid_y, 1, c.threads, 1, 1, 0, stream_, params, nullptr);
  return d.launch_cooperative(c.to, c.grid_x, c.grid_y, 1, c.threads, 1, 1, 0, stream_, params);
}

int CommandQueue::run(bool wait) {
  const Driver& d = driver();
  int status = failed_;
  failed_ = 0;
  if (status == 0) status = d.set_context(context_);
  for (const Command& command : commands_)
    if (status == 0) status = make(command);
  commands_.clear();
  params_.clear();
  if (status == 0 && wait) status = d.wait(stream_);
  return status;
}

}  // namespace gscodec
