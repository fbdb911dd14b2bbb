// The kernel that does the work: sums of products of weights and vectors of tiles.
//
//   sum[o][v] += sum over i of weight[i][o] * input[i][v]        o: OUTPUTS output channels, v: vectors of tiles
//
// A weight that is spread over a vector serves all vectors, and an input serves all outputs, so that the processor
// loads less often than it multiplies. All sums stay in registers.
#pragma once
#include "maps.hpp"

namespace SUBPIXEL_ISA {

constexpr int OUTPUTS = REGISTERS == 32 ? 8 : 4;  // 24 or 12 sums, beside 3 inputs and a weight

template <int N, int M>
using Sums = V[N][M];

template <int N, int M>
INLINE void add_products(Sums<N, M> &sum, const float *weight, const float *input, int64_t stride, int inputs) {
#pragma GCC unroll 1
  for (int i = 0; i < inputs; i++, weight += N, input += stride) {
    V in[M];
    UNROLL
    for (int v = 0; v < M; v++) in[v] = keep(load(input + v * LANES));
    UNROLL
    for (int o = 0; o < N; o++) {
      const V w = M > 1 ? keep(spread(weight[o])) : spread(weight[o]);  // one that serves once may stay in memory
      UNROLL
      for (int v = 0; v < M; v++) sum[o][v] = fma(w, in[v], sum[o][v]);
    }
  }
}

// Outputs are computed in blocks of OUTPUTS, and what is left in blocks of 4, 2 and 1. `visit(first, size)` is called
// for each block, with its size as a type's number, so that sums have a place in registers.
template <int N>
struct Number {
  static constexpr int value = N;
};

template <typename Visit>
INLINE void for_blocks(int outputs, Visit visit) {
  int o = 0;
  for (; o + OUTPUTS <= outputs; o += OUTPUTS) visit(o, Number<OUTPUTS>{});
  if (OUTPUTS > 4 && o + 4 <= outputs) visit(o, Number<4>{}), o += 4;
  if (o + 2 <= outputs) visit(o, Number<2>{}), o += 2;
  if (o < outputs) visit(o, Number<1>{});
}

// Call `visit` with the number of vectors, 1 to VECTORS, as a type's number.
template <typename Visit>
INLINE void with_vectors(int vectors, Visit visit) {
  static_assert(VECTORS == 3);
  if (vectors == 3) visit(Number<3>{});
  if (vectors == 2) visit(Number<2>{});
  if (vectors == 1) visit(Number<1>{});
}

}  // namespace SUBPIXEL_ISA
