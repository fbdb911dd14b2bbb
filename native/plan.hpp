// A network made ready: its layers packed, and what they need of the image.
#pragma once
#include <stdlib.h>
#include <string.h>

#include <atomic>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#include "direct.hpp"
#include "engine.hpp"
#include "winograd.hpp"

namespace SUBPIXEL_ISA {

constexpr int MAX_CONVOLUTIONS = 128, MAX_CHANNELS = 1024, MAX_UPSCALE_FACTOR = 16;

// Memory that is handed out piece by piece. Without a base it only counts, so that the same code finds the size first.
struct Arena {
  char *base = nullptr;
  size_t used = 0;

  template <typename T>
  T *take(size_t count) {
    const size_t bytes = count * sizeof(T), whole = (bytes + 63) / 64 * 64 + GAP;
    T *piece = base ? (T *)(base + used) : nullptr;
    if (base) watch(base + used, bytes, whole);
    used += whole;
    return piece;
  }

 private:
  // AddressSanitizer sees accesses beyond a piece, where it lies in a block of memory that others share.
#ifdef __SANITIZE_ADDRESS__
  static constexpr size_t GAP = 64;
  static void watch(char *piece, size_t bytes, size_t whole) {
    ASAN_UNPOISON_MEMORY_REGION(piece, bytes);
    ASAN_POISON_MEMORY_REGION(piece + bytes, whole - bytes);
  }
#else
  static constexpr size_t GAP = 0;
  static void watch(char *, size_t, size_t) {}
#endif
};

// Memory for jobs, kept by the plan from one job to the next: to ask for it anew costs as much as a small image.
struct Workspace {
  size_t size;
  char *memory;  // of zeros at first

  static Workspace *make(size_t size) {
    char *block = (char *)calloc(1, sizeof(Workspace) + 64 + size);
    if (!block) return nullptr;
    Workspace *space = (Workspace *)block;
    space->size = size;
    space->memory = (char *)(((uintptr_t)(space + 1) + 63) & ~(uintptr_t)63);
    return space;
  }
};

struct Plan : subpixel_plan {
  int upscale_factor, channels, layers, taps;  // taps of the skip, or 0
  int radius, margin;                          // margin: what the skip reads beyond the convolutions on each side
  Layer layer[MAX_CONVOLUTIONS + 1];           // from 1 on; 0 stands for the image
  int lag[MAX_CONVOLUTIONS + 1];               // bands that a layer is behind the image
  const float *skip;                           // [phase][tap]
  char *weights;
  std::atomic<Workspace *> spare;

  const Layer &last() const { return layer[layers]; }
  // Pixels from the first one of the planes to the first one that the skip reads.
  int skip_lead() const { return radius - taps / 2; }
  // Return how many tiles, or bands, a layer reads of the one before after those that it gives.
  int reach(int l) const { return l == 1 ? divide_up(layer[1].kernel_size - 1 + margin, TILE) : layer[l].reach(); }
  int maps_of(int l) const { return l ? layer[l].outputs : channels; }
  // Return how many bands of a layer are kept, until what reads them last has done so; for the image that is the skip.
  int ring_bands(int l) const { return lag[l == 0 && taps ? layers : l + 1] - lag[l] + 1; }
};

static bool is_valid(const subpixel_network &network) {
  const int r = network.upscale_factor, n = network.convolutions, taps = network.skip_taps;
  if (r < 1 || r > MAX_UPSCALE_FACTOR || n < 1 || n > MAX_CONVOLUTIONS || network.channels < 1) return false;
  if (!network.convolution) return false;
  if (taps != 0 && ((taps != 1 && taps != 5) || !network.skip)) return false;
  int given = network.channels;
  for (int l = 0; l < n; l++) {
    const subpixel_convolution &c = network.convolution[l];
    if (c.in_channels != given || c.in_channels > MAX_CHANNELS) return false;
    if (c.out_channels < 1 || c.out_channels > MAX_CHANNELS) return false;
    if (c.kernel_size < 1 || c.kernel_size > MAX_KERNEL_SIZE || c.kernel_size % 2 == 0) return false;
    if (c.activation < SUBPIXEL_IDENTITY || c.activation > SUBPIXEL_SLOPED) return false;
    if (!c.weight || !c.bias || (c.activation == SUBPIXEL_SLOPED && !c.slope)) return false;
    given = c.out_channels;
  }
  return given == network.channels * r * r;
}

// Winograd's transforms cost more than they save where there is one channel to transform, or one to give.
static bool winograd_pays(const subpixel_convolution &c) {
  return c.kernel_size == 3 && c.in_channels > 1 && c.out_channels > 1;
}

static const float *copy(Arena &arena, const float *from, size_t count) {
  float *to = arena.take<float>(count);
  if (to && count) memcpy(to, from, count * sizeof(float));  // from may be NULL where there is no skip
  return to;
}

static Layer pack(Arena &arena, const subpixel_convolution &c, bool winograd) {
  const size_t outputs = c.out_channels, pairs = outputs * c.in_channels;
  const size_t points = winograd ? POINTS : c.kernel_size * c.kernel_size;
  float *weight = arena.take<float>(pairs * points);
  if (weight) (winograd ? pack_winograd : pack_direct)(c, weight);
  const float *bias = copy(arena, c.bias, outputs);
  const float *slope = c.activation == SUBPIXEL_SLOPED ? copy(arena, c.slope, outputs) : nullptr;
  const int vectors = winograd ? winograd_vectors(c) : VECTORS;
  return {c.kernel_size, c.in_channels, c.out_channels, c.activation, winograd, vectors, weight, bias, slope};
}

static void lay_out(Plan &plan, Arena &arena, const subpixel_network &network) {
  for (int l = 1; l <= plan.layers; l++) {
    const subpixel_convolution &c = network.convolution[l - 1];
    plan.layer[l] = pack(arena, c, winograd_pays(c) && !(l == 1 && plan.margin));
  }
  plan.skip = copy(arena, network.skip, (size_t)plan.upscale_factor * plan.taps);
}

static subpixel_plan *make_plan(const subpixel_network *network) {
  Plan *plan = is_valid(*network) ? (Plan *)calloc(1, sizeof(Plan)) : nullptr;
  if (!plan) return nullptr;
  plan->upscale_factor = network->upscale_factor;
  plan->channels = network->channels;
  plan->layers = network->convolutions;
  plan->taps = network->skip_taps;
  int radius = 0;
  for (int l = 0; l < plan->layers; l++) radius += network->convolution[l].kernel_size / 2;
  plan->radius = radius > plan->taps / 2 ? radius : plan->taps / 2;
  plan->margin = plan->radius - radius;
  Arena arena;
  lay_out(*plan, arena, *network);
  for (int l = 1; l <= plan->layers; l++) plan->lag[l] = plan->lag[l - 1] + plan->reach(l);
  plan->weights = arena.base = (char *)malloc(arena.used);
  if (!arena.base) return free(plan), nullptr;
  arena.used = 0;
  lay_out(*plan, arena, *network);
  return plan;
}

static void free_plan(subpixel_plan *base) {
  Plan *plan = (Plan *)base;
  free(plan->spare.load());
  free(plan->weights);
  free(plan);
}

}  // namespace SUBPIXEL_ISA
