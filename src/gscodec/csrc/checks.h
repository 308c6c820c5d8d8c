// What arrays and numbers from Python must be before native code takes their memory at its word.
//
// Types, and lengths that never change, are part of the bindings' signatures: nanobind answers with a TypeError. What
// depends on another argument is checked here, for both native modules, and ends in a ValueError that says what was
// found and what was expected. A binding calls these before it allocates and before it lets go of the interpreter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace gscodec {

constexpr int MAX_PIXELS = 1 << 28;      // of a picture: 32-bit indices of its tiles' floats must not overflow
constexpr int MAX_POINTS = 1 << 20;      // of a mesh
constexpr int MAX_THREADS = 1 << 10;     // of a pool
constexpr int32_t FAR_SYMBOL = 1 << 29;  // differences of two such symbols still fit into 32 bits

inline void check_number(const char* name, int64_t value, int64_t low, int64_t high) {
  if (value < low || value > high)
    throw std::invalid_argument(std::string(name) + " is " + std::to_string(value) + ", expected " +
                                std::to_string(low) + " to " + std::to_string(high));
}

// Every side is positive, and together they are no more than memory can be indexed with.
inline void check_sides(int width, int height) {
  if (width < 1 || height < 1 || width > MAX_PIXELS / height)
    throw std::invalid_argument("width and height must be positive and of at most " + std::to_string(MAX_PIXELS) +
                                " pixels, not " + std::to_string(width) + "x" + std::to_string(height));
}

inline void check_size(std::size_t width, std::size_t height, int wanted_width, int wanted_height, const char* name) {
  if (width != std::size_t(wanted_width) || height != std::size_t(wanted_height))
    throw std::invalid_argument(std::string(name) + " is " + std::to_string(width) + "x" + std::to_string(height) +
                                ", expected " + std::to_string(wanted_width) + "x" + std::to_string(wanted_height));
}

// The first two axes of an array: rows of a picture, and its columns.
template <typename Array>
void check_size(const Array& a, int width, int height, const char* name) {
  check_size(a.shape(1), a.shape(0), width, height, name);
}

// The first axis: one row for each Gaussian, point or region.
template <typename Array>
void check_length(const Array& a, std::size_t n, const char* name) {
  if (a.shape(0) != n)
    throw std::invalid_argument(std::string(name) + " has another length: " + std::to_string(a.shape(0)) +
                                ", expected " + std::to_string(n));
}

// The second axis: as many numbers for each Gaussian as its blend has.
template <typename Array>
void check_columns(const Array& a, std::size_t n, const char* name) {
  if (a.shape(1) != n)
    throw std::invalid_argument(std::string(name) + " has " + std::to_string(a.shape(1)) +
                                " numbers per Gaussian, expected " + std::to_string(n));
}

// Every number lies within ±most, which no NaN does: such numbers become indices.
template <typename Array, typename Number>
void check_values(const Array& a, Number most, const char* name) {
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!(a.data()[i] >= -most && a.data()[i] <= most))
      throw std::invalid_argument(std::string(name) + " leaves its range, which ends at " + std::to_string(most));
}

}  // namespace gscodec
