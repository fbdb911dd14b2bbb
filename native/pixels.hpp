// Pixels of any type in memory become lines of floats, and back. A line holds values of 0..1 less one half.
#pragma once
#include <string.h>

#include "maps.hpp"
#include "subpixel.h"

namespace SUBPIXEL_ISA {

constexpr float CENTRE = 0.5f;

template <typename T>
constexpr float PEAK = T(-1);  // all bits set: the largest code
template <>
constexpr float PEAK<float> = 1;

INLINE char *pixel_at(const subpixel_planes &planes, int plane, int64_t y, int64_t x) {
  return (char *)planes.data + plane * planes.plane + y * planes.row + x * planes.pixel;
}

template <typename T>
INLINE void read_as(const char *from, int64_t step, int count, float *line) {
  constexpr float scale = 1 / PEAK<T>;
  if (step == (int64_t)sizeof(T)) {
    for (int x = 0; x < count; x++) {
      T value;
      memcpy(&value, from + x * sizeof(T), sizeof(T));
      line[x] = value * scale - CENTRE;
    }
    return;
  }
  for (int x = 0; x < count; x++, from += step) {
    T value;
    memcpy(&value, from, sizeof(T));
    line[x] = value * scale - CENTRE;
  }
}

// Read `count` pixels from column x on; those from column `width` on are copies of the last one.
static void read_line(const subpixel_planes &from, int plane, int64_t y, int64_t x, int64_t width, int count,
                      float *line) {
  const int64_t first = x < width ? x : width - 1;
  const int given = width - first < count ? (int)(width - first) : count;
  const char *data = pixel_at(from, plane, y, first);
  if (from.type == SUBPIXEL_FLOAT32) read_as<float>(data, from.pixel, given, line);
  if (from.type == SUBPIXEL_UINT8) read_as<uint8_t>(data, from.pixel, given, line);
  if (from.type == SUBPIXEL_UINT16) read_as<uint16_t>(data, from.pixel, given, line);
  for (int i = given; i < count; i++) line[i] = line[given - 1];
}

// Round half up and clip; floats stay as they are.
template <typename T>
INLINE T to_pixel(float value) {
  if constexpr (PEAK<T> == 1) return value;
  value = value * PEAK<T> + 0.5f;
  return (T)(value > PEAK<T> ? PEAK<T> : value > 0 ? value : 0);
}

template <typename T>
INLINE void store_pixels(char *to, V value) {
  if constexpr (PEAK<T> == 1) {
    memcpy(to, &value, sizeof value);
  } else {
    value = least(spread(PEAK<T>), most(V{}, value * spread(PEAK<T>) + spread(0.5f)));
    typedef typename VectorOf<int32_t, LANES>::Type Wide;
    typedef typename VectorOf<T, LANES>::Type Narrow;
    const Narrow narrow = __builtin_convertvector(__builtin_convertvector(value, Wide), Narrow);
    memcpy(to, &narrow, sizeof narrow);
  }
}

template <typename T>
INLINE bool write_as(char *to, int64_t step, int count, const float *line) {
  int x = 0;
  VectorOf<int32_t, LANES>::Type nan = {};
  for (; x + LANES <= count; x += LANES) {
    const V value = load(line + x) + spread(CENTRE);
    nan |= value != value;
    if (step == (int64_t)sizeof(T)) {
      store_pixels<T>(to + x * sizeof(T), value);
    } else {  // other planes lie between: converted together, then written one by one
      T pixels[LANES];
      store_pixels<T>((char *)pixels, value);
      UNROLL
      for (int i = 0; i < LANES; i++) memcpy(to + (x + i) * step, pixels + i, sizeof(T));
    }
  }
  bool has_nan = false;
  for (int i = 0; i < LANES; i++) has_nan |= nan[i] != 0;
  for (; x < count; x++) {
    const float value = line[x] + CENTRE;
    has_nan |= value != value;
    const T pixel = to_pixel<T>(value);
    memcpy(to + x * step, &pixel, sizeof pixel);
  }
  return has_nan;
}

// Write a line; return whether it holds NaN.
static bool write_line(const subpixel_planes &to, int plane, int64_t y, int64_t x, int count, const float *line) {
  char *data = pixel_at(to, plane, y, x);
  if (to.type == SUBPIXEL_UINT8) return write_as<uint8_t>(data, to.pixel, count, line);
  if (to.type == SUBPIXEL_UINT16) return write_as<uint16_t>(data, to.pixel, count, line);
  return write_as<float>(data, to.pixel, count, line);
}

// Transpose 4 x 4 floats in place.
INLINE void transpose(V4 r[4]) {
  const V4 a = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5), b = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
  const V4 c = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5), d = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
  r[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
  r[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
  r[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
  r[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}

// Split a line of pixels into the four columns of its tiles; `tiles` is a multiple of 4.
static void split(const float *line, int tiles, float *column, int64_t stride) {
  for (int t = 0; t < tiles; t += 4) {
    V4 r[4];
    UNROLL
    for (int i = 0; i < 4; i++) r[i] = load4(line + (t + i) * TILE);
    transpose(r);
    UNROLL
    for (int i = 0; i < 4; i++) store4(column + i * stride + t, r[i]);
  }
}

// Write streams by turns into a line: line[count * t + s] = stream[s][t]; both numbers are multiples of 4.
static void interleave(const float *stream, int64_t stride, int count, int tiles, float *line) {
  for (int s = 0; s < count; s += 4)
    for (int t = 0; t < tiles; t += 4) {
      V4 r[4];
      UNROLL
      for (int i = 0; i < 4; i++) r[i] = load4(stream + (s + i) * stride + t);
      transpose(r);
      UNROLL
      for (int i = 0; i < 4; i++) store4(line + (t + i) * count + s, r[i]);
    }
}

}  // namespace SUBPIXEL_ISA
