// What blocks of one cooperative launch share: their barrier, the card's clock, sums over a warp.
//
// Invariant: all blocks of a group are resident, as the launch is cooperative, and all reach every barrier.
#pragma once

#include "raster.cuh"

#ifndef GS_LOAD_ACQUIRE
#define GS_LOAD_ACQUIRE(value, address) \
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(address) : "memory")
#endif

namespace gscodec {

// The blocks that work on one picture, and their barrier.
struct Group {
  unsigned* arrived;  // zero at the launch
  int rank, size;
  unsigned expected;
};

// The card's clock, for deadlines; 0 where this is not compiled for one.
GS_DEVICE unsigned long long nanoseconds() {
  unsigned long long time = 0;
#ifdef __CUDA_ARCH__
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(time));
#endif
  return time;
}

// Waits for all blocks of the group; then the first warp asks ask() and every thread learns the answer. One
// warp reads what all blocks want to know: they would queue for it.
template <typename Ask>
GS_DEVICE bool sync(Group& group, const Ask& ask) {
  bool answer = false;
  __syncthreads();
  if (warp_id() == 0) {
    if (group.size > 1) {
      group.expected += unsigned(group.size);
      if (threadIdx.x == 0) {
        __threadfence();
        atomicAdd(group.arrived, 1u);
        unsigned arrived;
        do GS_LOAD_ACQUIRE(arrived, group.arrived);
        while (arrived < group.expected);
      }
      __syncwarp();
    }
    answer = ask();
  }
  return __syncthreads_or(answer);
}

GS_DEVICE void sync(Group& group) {
  sync(group, [] { return false; });
}

template <typename T>
GS_DEVICE T warp_sum(T x) {
  for (int bit = 16; bit >= 1; bit /= 2) x += __shfl_xor_sync(ALL, x, bit);
  return x;
}

}  // namespace gscodec
