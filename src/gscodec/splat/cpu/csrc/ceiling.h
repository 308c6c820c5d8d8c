// How fast the kernels run when nothing stands in their way: the yardstick of `gscodec bench kernels`.
#pragma once

#include "kernels.h"

namespace gscodec {

struct Ceiling {
  double forward_ns, backward_ns;  // of one Gaussian at one pixel, on one thread
};

// Times `accumulate` and `gather` on one tile that stays in L1 and that every Gaussian covers wholly, so that
// no pixel is looked at in vain and no memory is waited for. Takes about a twentieth of a second.
Ceiling measure_ceiling(const Kernels& kernels);

}  // namespace gscodec
