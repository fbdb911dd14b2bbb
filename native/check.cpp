// Holds the library against values that were computed elsewhere, where no Python runs: under valgrind, or under an
// emulator of another processor (`.ci/run`). The argument is a file that `tests/native_cases.py` writes.
//
// Prints, for each instruction set, the largest difference from the file's float64 results; fails over 5e-6, and where
// results of integers are off by more than rounding. A case in the file:
//     int32 upscale_factor, channels, convolutions, skip_taps, height, width, extra, type
//     each convolution: int32 kernel_size, in_channels, out_channels, activation; its weight, bias, slope
//     skip; pixels of the type; results in float64, which are 0..1 for the codes of integers
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "subpixel.h"

static const double TOLERANCE = 5e-6;
static const int MAX_CONVOLUTIONS = 128;

static void require(bool condition, const char *message) {
  if (condition) return;
  fprintf(stderr, "%s\n", message);
  exit(2);
}

// Each array has a block of its own, so that valgrind sees reads beyond it.
static void *blocks[4 * MAX_CONVOLUTIONS + 16];
static int used = 0;

static void *memory(size_t bytes) {
  void *block = blocks[used++] = malloc(bytes);
  require(block || !bytes, "there must be memory for a case; there is not.");
  return block;
}

static void free_memory() {
  while (used > 0) free(blocks[--used]);
}

template <typename T>
static const T *read(FILE *file, int64_t count) {
  T *values = (T *)memory(count * sizeof(T));
  require(fread(values, sizeof(T), count, file) == (size_t)count, "the file must hold whole cases.");
  return values;
}

static int size_of(int32_t type) { return type == SUBPIXEL_FLOAT32 ? 4 : type == SUBPIXEL_UINT16 ? 2 : 1; }

static subpixel_planes planes(const void *data, int64_t height, int64_t width, int32_t type) {
  const int64_t pixel = size_of(type);
  return {(void *)data, height * width * pixel, width * pixel, pixel, type};
}

// The distance of a result from a value of 0..1; what rounding to a code explains is none.
static double difference(const void *results, int64_t index, int32_t type, double expected) {
  if (type == SUBPIXEL_FLOAT32) return fabs(((const float *)results)[index] - expected);
  const double top = type == SUBPIXEL_UINT16 ? 65535 : 255;
  const double code = type == SUBPIXEL_UINT16 ? ((const uint16_t *)results)[index] : ((const uint8_t *)results)[index];
  return fmax(0, fabs(code / top - fmin(fmax(expected, 0), 1)) - 0.5 / top);
}

struct Case {
  subpixel_network network;
  int64_t height, width, extra, radius;
  int32_t type;
  const void *pixels;
  const double *expected;
};

static Case read_case(FILE *file, const int32_t *head) {
  require(head[2] > 0 && head[2] <= MAX_CONVOLUTIONS, "a case must have 1 to 128 convolutions.");
  subpixel_convolution *layers = (subpixel_convolution *)memory(head[2] * sizeof(subpixel_convolution));
  int64_t radius = 0;
  for (int i = 0; i < head[2]; i++) {
    const int32_t *shape = read<int32_t>(file, 4);
    const int64_t size = shape[0], inputs = shape[1], outputs = shape[2];
    const float *weight = read<float>(file, outputs * inputs * size * size), *bias = read<float>(file, outputs);
    layers[i] = {shape[0],
                 shape[1],
                 shape[2],
                 shape[3],
                 weight,
                 bias,
                 shape[3] == SUBPIXEL_SLOPED ? read<float>(file, outputs) : nullptr};
    radius += size / 2;
  }
  const float *skip = read<float>(file, head[0] * head[3]);
  if (head[3] / 2 > radius) radius = head[3] / 2;
  const int64_t height = head[4], width = head[5], extra = head[6], factor = head[0], channels = head[1];
  const int64_t pixels = channels * (height + 2 * radius + extra) * (width + 2 * radius + extra);
  const uint8_t *bytes = read<uint8_t>(file, pixels * size_of(head[7]));
  const double *expected = read<double>(file, channels * factor * height * factor * width);
  return {{head[0], head[1], head[2], head[3], layers, skip}, height, width, extra, radius, head[7], bytes, expected};
}

static double largest_difference(const Case &c, int32_t isa, int32_t type) {
  const int64_t factor = c.network.upscale_factor, around = 2 * c.radius + c.extra;
  const int64_t count = c.network.channels * factor * c.height * factor * c.width;
  void *results = memory(count * size_of(type));
  subpixel_plan *plan = subpixel_plan_make(&c.network, isa);
  require(plan, "a network must be valid; one is not.");
  const subpixel_planes in = planes(c.pixels, c.height + around, c.width + around, c.type);
  const subpixel_planes out = planes(results, factor * c.height, factor * c.width, type);
  subpixel_job *job = subpixel_job_make(plan, &in, &out, c.height, c.width, c.extra, 2);
  require(job, "a job must be made; it is not.");
  subpixel_job_work(job);
  require(subpixel_job_free(job) == 0, "results must be numbers; one is NaN.");
  subpixel_plan_free(plan);
  double largest = 0;
  for (int64_t i = 0; i < count; i++) {
    const double distance = difference(results, i, type, c.expected[i]);
    if (distance > largest) largest = distance;
  }
  return largest;
}

int main(int count, char **arguments) {
  FILE *file = count == 2 ? fopen(arguments[1], "rb") : nullptr;
  require(file, "check must be called with a file of cases.");
  double largest[8] = {};
  int cases = 0;
  int32_t head[8];
  for (; fread(head, sizeof head, 1, file) == 1; cases++) {
    const Case c = read_case(file, head);
    for (int isa = 0; subpixel_isa(isa); isa++) {
      largest[isa] = fmax(largest[isa], largest_difference(c, isa, SUBPIXEL_FLOAT32));
      largest[isa] = fmax(largest[isa], largest_difference(c, isa, c.type));
    }
    free_memory();
  }
  require(cases > 0, "the file must hold a case; it holds none.");
  bool right = true;
  for (int isa = 0; subpixel_isa(isa); isa++) {
    printf("%-8s %d cases, largest difference %.2e\n", subpixel_isa(isa), cases, largest[isa]);
    right = right && largest[isa] <= TOLERANCE;
  }
  fclose(file);
  return right ? 0 : 1;
}
