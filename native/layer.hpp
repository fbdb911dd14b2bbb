// A convolution made ready: its weights in the order in which the code reads them.
#pragma once
#include "products.hpp"
#include "subpixel.h"

namespace SUBPIXEL_ISA {

struct Layer {
  int kernel_size, inputs, outputs, activation;
  bool winograd;
  int vectors;  // of tiles that are computed at once
  const float *weight, *bias, *slope;

  int radius() const { return kernel_size / 2; }
  int taps() const { return kernel_size * kernel_size; }
  // Return how many tiles, or bands, a layer reads after the one that it gives.
  int reach() const { return divide_up(kernel_size - 1, TILE); }
};

// Call `visit` with the layer's activation as a type's number; tanh counts as none, and runs afterwards.
template <typename Visit>
INLINE void with_activation(const Layer &layer, Visit visit) {
  if (layer.activation == SUBPIXEL_RELU) return visit(Number<SUBPIXEL_RELU>{});
  if (layer.activation == SUBPIXEL_SLOPED) return visit(Number<SUBPIXEL_SLOPED>{});
  visit(Number<SUBPIXEL_IDENTITY>{});
}

}  // namespace SUBPIXEL_ISA
