// Chooses the kernels for the processor that runs, at run time.
#include "csrc/instruction_sets.h"
#include "kernels.h"

namespace gscodec {

namespace baseline {
extern const Kernels kernels;
}
#if defined(__x86_64__)
namespace x86_64_v3 {
extern const Kernels kernels;
}
namespace x86_64_v4 {
extern const Kernels kernels;
}
#endif

const Kernels* find_kernels(const char* name) {
#if defined(__x86_64__)
  return find_table(name, {&x86_64_v4::kernels, &x86_64_v3::kernels, &baseline::kernels});
#else
  return find_table(name, {&baseline::kernels});
#endif
}

}  // namespace gscodec
