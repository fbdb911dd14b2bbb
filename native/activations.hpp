// What follows a convolution.
#pragma once
#include "subpixel.h"
#include "vectors.hpp"

namespace SUBPIXEL_ISA {

// A rational function of degree 13 over 6, accurate to float32; beyond 7.905 the function is 1 to float32.
INLINE V tanh_of(V x) {
  constexpr float end = 7.90531110763549805f;
  x = least(all(end), most(all(-end), x));
  const V y = x * x;
  V p = fma(y, all(-2.76076847742355e-16f), all(2.00018790482477e-13f));
  V q = fma(y, all(1.19825839466702e-06f), all(1.18534705686654e-04f));
  p = fma(p, y, all(-8.60467152213735e-11f));
  q = fma(q, y, all(2.26843463243900e-03f));
  p = fma(p, y, all(5.12229709037114e-08f));
  q = fma(q, y, all(4.89352518554385e-03f));
  p = fma(p, y, all(1.48572235717979e-05f));
  p = fma(p, y, all(6.37261928875436e-04f));
  p = fma(p, y, all(4.89352455891786e-03f));
  return p * x / q;
}

// The activations that are cheap enough to apply before a result is stored; tanh would need too many registers there,
// and runs over results that are still in the first cache.
template <int ACTIVATION> INLINE V activated(V x, V slope) {
  if constexpr (ACTIVATION == SUBPIXEL_RELU) return most(V{}, x);
  if constexpr (ACTIVATION == SUBPIXEL_SLOPED) return fma(slope, least(V{}, x), most(V{}, x));
  return x;
}

INLINE void tanh_in_place(float *values, int vectors) {
  for (int v = 0; v < vectors; v++) store(values + v * LANES, tanh_of(load(values + v * LANES)));
}

}  // namespace SUBPIXEL_ISA
