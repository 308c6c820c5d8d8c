// What a target and what comes with it must be before native code takes its memory at its word.
#pragma once

#include <optional>
#include <stdexcept>

#include "csrc/array_types.h"
#include "fit.h"

namespace gscodec::bindings {

// A target is laid out in tiles of the raster it was made for.
inline void check_target(const Target& target, const TiledRaster& raster) {
  check_size(std::size_t(target.width), std::size_t(target.height), raster.width, raster.height, "the target");
}

// Who is the room's, which a target with a matte asks for.
inline const bool* checked_rooms(const Target& target, const std::optional<Flags>& is_room, std::size_t n) {
  if (is_room) check_length(*is_room, n, "is_room");
  if (target.has_matte() && !is_room) throw std::invalid_argument("the target has a matte, so is_room must be given");
  return is_room ? is_room->data() : nullptr;
}

}  // namespace gscodec::bindings
