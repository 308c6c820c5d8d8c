// NumPy arrays that own their memory, for both native modules' bindings.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstddef>
#include <initializer_list>

namespace gscodec {

// An uninitialised array of this shape; *data points at its first element.
template <typename T>
nanobind::ndarray<nanobind::numpy, T> make_array(std::initializer_list<std::size_t> shape, T** data) {
  std::size_t size = 1;
  for (std::size_t s : shape) size *= s;
  *data = new T[size > 0 ? size : 1];
  nanobind::capsule owner(*data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
  return nanobind::ndarray<nanobind::numpy, T>(*data, shape, owner);
}

}  // namespace gscodec
