// How far a block reaches in each layer.
//
// Bits depend on where the tiles of 4 x 4 pixels lie, and on nothing else. Each layer anchors its tiles at the first
// pixel that it gives. So tiles lie alike in every block that starts at one, and round alike if all that they read is
// computed in full: for a 3 x 3 kernel, one tile more of the layer before on the right and below; see `measure`.
#pragma once
#include "plan.hpp"

namespace SUBPIXEL_ISA {

// A block along one axis: its pixels, and the tiles of each layer (bands, vertically); 0 is the image.
struct Extent {
  int64_t length;
  int tiles[MAX_CONVOLUTIONS + 1];    // that are computed
  int cleared[MAX_CONVOLUTIONS + 1];  // that are computed, and after them those that are only read: zeros
};

// Return what is computed of `length` pixels, after which the image goes on for `after`: what these pixels and their
// tiles need in full, as far as the image goes.
static Extent measure(const Plan &plan, int64_t length, int64_t after) {
  Extent extent = {};
  extent.length = length;
  int64_t pixels[MAX_CONVOLUTIONS + 1], needed = length;
  pixels[plan.layers] = length + after;
  for (int l = plan.layers; l > 0; l--) pixels[l - 1] = pixels[l] + 2 * plan.layer[l].radius();
  for (int l = plan.layers; l > 0; l--) {
    extent.tiles[l] = divide_up(least(needed, pixels[l]), TILE);
    extent.cleared[l] = l == plan.layers ? extent.tiles[l] : extent.tiles[l + 1] + plan.reach(l + 1);
    needed = TILE * (int64_t)extent.tiles[l] + 2 * plan.layer[l].radius();
  }
  extent.tiles[0] = extent.cleared[0] = extent.tiles[1] + plan.reach(1);  // no skip reaches further
  return extent;
}

}  // namespace SUBPIXEL_ISA
