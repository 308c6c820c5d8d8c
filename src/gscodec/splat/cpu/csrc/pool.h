// A few worker threads that sleep when there is nothing to do.
//
// Spinning workers make everything slower as soon as another process wants a core, so a worker
// waits on an atomic (a futex on Linux) and the caller takes part in the work itself.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace gscodec {

class Pool {
 public:
  explicit Pool(int threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
  }
  ~Pool() {
    stop_ = true;
    generation_.fetch_add(1);
    generation_.notify_all();
    for (auto& t : workers_) t.join();
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return int(workers_.size()) + 1; }

  // Calls body(begin, end) over [0, n) in pieces of `grain`, on all threads; returns when all are done.
  // The pieces do not depend on the number of threads, so neither may a result.
  template <typename Body>
  void run(int n, int grain, const Body& body) {
    if (workers_.empty() || n <= grain) {
      if (n > 0) body(0, n);
      return;
    }
    const std::function<void()> job = [&] {
      for (int begin; (begin = next_.fetch_add(grain)) < n;) body(begin, begin + grain < n ? begin + grain : n);
    };
    next_ = 0;
    job_ = &job;
    busy_ = int(workers_.size());
    generation_.fetch_add(1);
    generation_.notify_all();
    job();
    for (int left; (left = busy_.load()) != 0;) busy_.wait(left);
  }

 private:
  void work() {
    uint32_t seen = 0;
    for (;;) {
      generation_.wait(seen);
      seen = generation_.load();
      if (stop_) return;
      (*job_)();
      if (busy_.fetch_sub(1) == 1) busy_.notify_one();
    }
  }

  std::vector<std::thread> workers_;
  std::atomic<uint32_t> generation_{0};
  std::atomic<int> next_{0}, busy_{0};
  std::atomic<bool> stop_{false};
  const std::function<void()>* job_ = nullptr;
};

}  // namespace gscodec
