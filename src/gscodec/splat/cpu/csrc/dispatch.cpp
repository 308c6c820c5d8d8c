// Chooses the kernels for the processor that runs, at run time.
#include <cstring>

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
  const bool any = name[0] == '\0';
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  if (v4 && v3 && (any || std::strcmp(name, x86_64_v4::kernels.name) == 0)) return &x86_64_v4::kernels;
  if (v3 && (any || std::strcmp(name, x86_64_v3::kernels.name) == 0)) return &x86_64_v3::kernels;
#endif
  if (any || std::strcmp(name, baseline::kernels.name) == 0) return &baseline::kernels;
  return nullptr;
}

}  // namespace gscodec
