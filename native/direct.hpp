// A convolution of any kernel size, tap by tap.
#pragma once
#include "activations.hpp"
#include "layer.hpp"

namespace SUBPIXEL_ISA {

// Pack (outputs, inputs, k, k) as [block of outputs][tap][input][output of the block].
static void pack_direct(const subpixel_convolution &from, float *to) {
  const int taps = from.kernel_size * from.kernel_size, inputs = from.in_channels;
  for_blocks(from.out_channels, [&](int first, auto block) {
    for (int tap = 0; tap < taps; tap++)
      for (int i = 0; i < inputs; i++)
        for (int o = 0; o < block.value; o++) *to++ = from.weight[((int64_t)(first + o) * inputs + i) * taps + tap];
  });
}

// Convolve one row, one column of each tile, for one block of outputs.
template <int ACTIVATION, int N, int M>
INLINE void direct_block(const Layer &layer, const float *const *tap, int64_t stride, int first, float *out,
                         int64_t out_stride) {
  const int taps = layer.kernel_size * layer.kernel_size;
  const float *weight = layer.weight + (int64_t)first * taps * layer.inputs;
  Sums<N, M> sum;
  UNROLL
  for (int o = 0; o < N; o++) UNROLL
  for (int v = 0; v < M; v++) sum[o][v] = spread(layer.bias[first + o]);
#pragma GCC unroll 1
  for (int t = 0; t < taps; t++, weight += (int64_t)N * layer.inputs)
    add_products<N, M>(sum, weight, tap[t], stride, layer.inputs);
  UNROLL
  for (int o = 0; o < N; o++) {
    const V slope = ACTIVATION == SUBPIXEL_SLOPED ? spread(layer.slope[first + o]) : V{};
    UNROLL
    for (int v = 0; v < M; v++) store(out + o * out_stride + v * LANES, activated<ACTIVATION>(sum[o][v], slope));
  }
}

// Convolve a band, `vectors` vectors of tiles. The kernel's first column is `lead` pixels after the first one of `in`.
static void direct(const Layer &layer, const Maps &in, const Maps &out, int vectors, int lead) {
  const int k = layer.kernel_size;
  const float *tap[MAX_KERNEL_SIZE * MAX_KERNEL_SIZE];
  for (int y = 0; y < TILE; y++)
    for (int x = 0; x < TILE; x++) {
      for (int t = 0; t < k * k; t++) tap[t] = in.at(y + t / k, 0, x + lead + t % k);
      with_activation(layer, [&](auto activation) {
        with_vectors(vectors, [&](auto m) {
          for_blocks(layer.outputs, [&](int first, auto n) {
            direct_block<activation.value, n.value, m.value>(layer, tap, TILE * in.stride, first, out.at(y, first, x),
                                                             TILE * out.stride);
          });
        });
      });
      if (layer.activation == SUBPIXEL_TANH)
        for (int o = 0; o < layer.outputs; o++) tanh_in_place(out.at(y, o, x), vectors);
    }
}

}  // namespace SUBPIXEL_ISA
