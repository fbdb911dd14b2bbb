// A 3 x 3 convolution by Winograd's F(4 x 4, 3 x 3): a tile of 4 x 4 pixels from one of 6 x 6, with 36 multiplications
// for each pair of channels instead of 144.
//
//   y = A' [ (G w G') * (B' d B) ] A        *: element by element, then summed over the input channels
//
// It is polynomial multiplication by values at six points: 0, a, -a, b, -b and infinity. With the usual a = 1, b = 2
// ESPCN errs by up to 8e-6; with a = 5/8, b = 3/2 by less than 3e-6, since transformed values and weights are of more
// equal sizes. All constants of B and A are exact in float32; G w G' is computed in float64.
//
// With p the five finite points and N(p) the product of p - q over the others q:
//   row p of B':  coefficients of the product of (x - q) over the other finite points q; over all for infinity
//   row p of G:   (1, p, p^2) / N(p);  (0, 0, 1) for infinity
//   row k of A':  p^k;  1 for infinity in the last row, k = 3
#pragma once
#include "activations.hpp"
#include "layer.hpp"

namespace SUBPIXEL_ISA {

constexpr int SIDE = 6, POINTS = SIDE * SIDE;
constexpr float POINT_A = 5 / 8.f, POINT_B = 3 / 2.f;

INLINE void transform_input(const V d[SIDE], V t[SIDE]) {
  constexpr float a = POINT_A, b = POINT_B, a2 = a * a, b2 = b * b;
  // What a and -a share, and b and -b: the even part and the odd part.
  const V ua = fma(spread(-b2), d[2], d[4]), va = fma(spread(-b2), d[1], d[3]);
  const V ub = fma(spread(-a2), d[2], d[4]), vb = fma(spread(-a2), d[1], d[3]);
  t[0] = fma(spread(a2 * b2), d[0], fma(spread(-a2 - b2), d[2], d[4]));
  t[1] = fma(spread(a), va, ua);
  t[2] = fma(spread(-a), va, ua);
  t[3] = fma(spread(b), vb, ub);
  t[4] = fma(spread(-b), vb, ub);
  t[5] = fma(spread(a2 * b2), d[1], fma(spread(-a2 - b2), d[3], d[5]));
}

INLINE void transform_output(const V m[SIDE], V y[TILE]) {
  constexpr float a = POINT_A, b = POINT_B, a2 = a * a, b2 = b * b;
  const V even_a = m[1] + m[2], odd_a = m[1] - m[2], even_b = m[3] + m[4], odd_b = m[3] - m[4];
  y[0] = m[0] + even_a + even_b;
  y[1] = fma(spread(a), odd_a, spread(b) * odd_b);
  y[2] = fma(spread(a2), even_a, spread(b2) * even_b);
  y[3] = fma(spread(a2 * a), odd_a, fma(spread(b2 * b), odd_b, m[5]));
}

// Pack (outputs, inputs, 3, 3) as [point][block of outputs][input][output of the block].
static void pack_winograd(const subpixel_convolution &from, float *to) {
  const double A = POINT_A, B = POINT_B, A2 = A * A, B2 = B * B;
  const double na = 2 * A2 * (A2 - B2), nb = 2 * B2 * (B2 - A2);
  const double G[SIDE][3] = {{1 / (A2 * B2), 0, 0},     {1 / na, A / na, A2 / na},  {1 / na, -A / na, A2 / na},
                             {1 / nb, B / nb, B2 / nb}, {1 / nb, -B / nb, B2 / nb}, {0, 0, 1}};
  for (int point = 0; point < POINTS; point++)
    for_blocks(from.out_channels, [&](int first, auto block) {
      for (int i = 0; i < from.in_channels; i++)
        for (int o = 0; o < block.value; o++) {
          const float *w = from.weight + ((int64_t)(first + o) * from.in_channels + i) * 9;
          double sum = 0;
          for (int t = 0; t < 9; t++) sum += G[point / SIDE][t / 3] * w[t] * G[point % SIDE][t % 3];
          *to++ = (float)sum;
        }
    });
}

// Transformed values of M vectors of tiles lie as [channel][point][tile].
template <int M>
constexpr int CHANNEL = POINTS * M * LANES;

template <int M>
static void transform_inputs(const Layer &layer, const Maps &in, float *values) {
  for (int i = 0; i < layer.inputs; i++, values += CHANNEL<M>)
    for (int v = 0; v < M; v++) {
      V half[SIDE][SIDE];
      UNROLL
      for (int x = 0; x < SIDE; x++) {
        V d[SIDE], t[SIDE];
        UNROLL
        for (int y = 0; y < SIDE; y++) d[y] = keep(load(in.at(y, i, x) + v * LANES));
        transform_input(d, t);
        UNROLL
        for (int y = 0; y < SIDE; y++) half[y][x] = t[y];
      }
      UNROLL
      for (int y = 0; y < SIDE; y++) {
        V t[SIDE];
        transform_input(half[y], t);
        UNROLL
        for (int x = 0; x < SIDE; x++) store(values + ((y * SIDE + x) * M + v) * LANES, t[x]);
      }
    }
}

template <int M>
static void multiply(const Layer &layer, const float *values, float *products) {
  const float *weight = layer.weight;
  for (int point = 0; point < POINTS; point++, values += M * LANES, products += M * LANES)
    for_blocks(layer.outputs, [&](int first, auto n) {
      constexpr int N = n.value;
      Sums<N, M> sum;
      UNROLL
      for (int o = 0; o < N; o++) UNROLL
      for (int v = 0; v < M; v++) sum[o][v] = V{};
      add_products<N, M>(sum, weight, values, CHANNEL<M>, layer.inputs);
      float *to = products + (int64_t)first * CHANNEL<M>;
      UNROLL
      for (int o = 0; o < N; o++) UNROLL
      for (int v = 0; v < M; v++) store(to + o * CHANNEL<M> + v * LANES, sum[o][v]);
      weight += N * layer.inputs;
    });
}

template <int ACTIVATION, int M>
static void transform_outputs(const Layer &layer, const float *products, const Maps &out) {
  for (int o = 0; o < layer.outputs; o++, products += CHANNEL<M>)
    for (int v = 0; v < M; v++) {
      const V bias = spread(layer.bias[o]), slope = ACTIVATION == SUBPIXEL_SLOPED ? spread(layer.slope[o]) : V{};
      V half[TILE][SIDE];
      UNROLL
      for (int x = 0; x < SIDE; x++) {
        V m[SIDE], y[TILE];
        UNROLL
        for (int p = 0; p < SIDE; p++) m[p] = load(products + ((p * SIDE + x) * M + v) * LANES);
        transform_output(m, y);
        UNROLL
        for (int p = 0; p < TILE; p++) half[p][x] = y[p];
      }
      UNROLL
      for (int y = 0; y < TILE; y++) {
        V pixel[TILE];
        transform_output(half[y], pixel);
        UNROLL
        for (int x = 0; x < TILE; x++)
          store(out.at(y, o, x) + v * LANES, activated<ACTIVATION>(pixel[x] + bias, slope));
      }
    }
}

// Convolve a band, `vectors` vectors of tiles; `scratch` is for the transformed inputs, and their products.
static void winograd(const Layer &layer, const Maps &in, const Maps &out, int vectors, float *scratch) {
  with_vectors(vectors, [&](auto m) {
    float *products = scratch + (int64_t)layer.inputs * CHANNEL<m.value>;
    transform_inputs<m.value>(layer, in, scratch);
    multiply<m.value>(layer, scratch, products);
    with_activation(layer,
                    [&](auto activation) { transform_outputs<activation.value, m.value>(layer, products, out); });
  });
  if (layer.activation == SUBPIXEL_TANH)
    for (int o = 0; o < layer.outputs; o++)
      for (int y = 0; y < TILE; y++)
        for (int x = 0; x < TILE; x++) tanh_in_place(out.at(y, o, x), vectors);
}

INLINE int64_t winograd_scratch(const Layer &layer) {
  return (int64_t)CHANNEL<VECTORS> * (layer.inputs + layer.outputs);
}

// Return how many vectors are best computed at once: VECTORS, so that they share each weight; fewer where the
// transformed values of a narrow layer stay in the first cache then. With fewer than 8 sums, multiplications wait for
// each other.
INLINE int winograd_vectors(const subpixel_convolution &c) {
  constexpr int64_t cache = 40000, least = LANES == 16 ? 1 : 2;  // bytes
  const int64_t fitting = cache / (CHANNEL<1> * (int64_t)sizeof(float) * (c.in_channels + c.out_channels));
  return fitting < least || fitting > VECTORS ? VECTORS : (int)fitting;
}

}  // namespace SUBPIXEL_ISA
