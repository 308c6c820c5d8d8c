// Which of the instruction sets that hot loops are compiled for (CMakeLists.txt) this processor has.
#pragma once

#include <cstring>
#include <initializer_list>
#include <stdexcept>
#include <string>

namespace gscodec {

inline bool can_run(const char* isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  if (std::strcmp(isa, "x86_64_v3") == 0) return v3;
  if (std::strcmp(isa, "x86_64_v4") == 0)
    return v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
#endif
  return std::strcmp(isa, "baseline") == 0;
}

// The first of these tables of functions that this processor can run and that is called `name`, or the first it can run
// at all where that is empty; null if there is none.
template <typename Table>
const Table* find_table(const char* name, std::initializer_list<const Table*> widest_first) {
  for (const Table* table : widest_first)
    if ((name[0] == '\0' || std::strcmp(name, table->name) == 0) && can_run(table->name)) return table;
  return nullptr;
}

// The table that `find` (a function that ends in find_table) has for a name from Python, which must have one.
template <typename Table>
const Table& kernels_of(const Table* (*find)(const char* name), const std::string& isa) {
  const Table* table = find(isa.c_str());
  if (!table) throw std::invalid_argument("this processor cannot run kernels '" + isa + "'");
  return *table;
}

}  // namespace gscodec
