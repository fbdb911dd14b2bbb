// What follows a convolution.
#pragma once
#include "subpixel.h"
#include "vectors.hpp"

namespace SUBPIXEL_ISA {

// x P(x^2) / Q(x^2), of degrees 11 and 6, within 3e-7 of tanh: the least relative error up to 8.3, where tanh is 1 to
// float32.
INLINE V tanh_of(V x) {
  constexpr float end = 8.3f;
  x = least(spread(end), most(spread(-end), x));
  const V y = x * x;
  V p = fma(y, spread(2.17983635e-11f), spread(-1.41076564e-08f));
  V q = fma(y, spread(2.34517167e-04f), spread(2.39508413e-02f));
  p = fma(p, y, spread(9.69599569e-06f));
  q = fma(q, y, spread(4.62950975e-01f));
  p = fma(p, y, spread(2.9668163e-03f));
  q = fma(q, y, spread(1.f));
  p = fma(p, y, spread(1.296179e-01f));
  p = fma(p, y, spread(1.f));
  return p * x / q;
}

// The activations that are cheap enough to apply before a result is stored; tanh would need too many registers there,
// and runs over results that are still in the first cache.
template <int ACTIVATION>
INLINE V activated(V x, V slope) {
  if constexpr (ACTIVATION == SUBPIXEL_RELU) return most(V{}, x);
  if constexpr (ACTIVATION == SUBPIXEL_SLOPED) return fma(slope, least(V{}, x), most(V{}, x));
  return x;
}

INLINE void tanh_in_place(float *values, int vectors) {
  for (int v = 0; v < vectors; v++) store(values + v * LANES, tanh_of(load(values + v * LANES)));
}

}  // namespace SUBPIXEL_ISA
