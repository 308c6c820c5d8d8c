// Chooses the kernels for the processor that runs, at run time.
#include "csrc/instruction_sets.h"
#include "matting_kernels.h"
#include "mesh_kernels.h"

namespace gscodec {

namespace baseline {
extern const MattingKernels matting_kernels;
extern const MeshKernels mesh_kernels;
}  // namespace baseline
#if defined(__x86_64__)
namespace x86_64_v3 {
extern const MattingKernels matting_kernels;
extern const MeshKernels mesh_kernels;
}  // namespace x86_64_v3
namespace x86_64_v4 {
extern const MattingKernels matting_kernels;
extern const MeshKernels mesh_kernels;
}  // namespace x86_64_v4
#endif

const MattingKernels* find_matting_kernels(const char* name) {
#if defined(__x86_64__)
  return find_table(name, {&x86_64_v4::matting_kernels, &x86_64_v3::matting_kernels, &baseline::matting_kernels});
#else
  return find_table(name, {&baseline::matting_kernels});
#endif
}

const MeshKernels* find_mesh_kernels(const char* name) {
#if defined(__x86_64__)
  return find_table(name, {&x86_64_v4::mesh_kernels, &x86_64_v3::mesh_kernels, &baseline::mesh_kernels});
#else
  return find_table(name, {&baseline::mesh_kernels});
#endif
}

}  // namespace gscodec
