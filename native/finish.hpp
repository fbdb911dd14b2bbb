// The end of the network: the skip is added, phases are shuffled into rows, and rows become pixels.
#pragma once
#include "pixels.hpp"
#include "plan.hpp"

namespace SUBPIXEL_ISA {

constexpr int SKIP_CHUNK = CHUNK + LANES;  // tiles of a row that the skip has interpolated vertically

// The vertical half: weighted[column of the tile][tile], for one row of output phases of one channel.
static void skip_rows(const Plan &plan, const Maps &image, int y, int channel, const float *taps, int vectors,
                      float *weighted) {
  for (int x = 0; x < TILE; x++)
    for (int v = 0; v <= vectors; v++) {
      V sum = {};
      for (int t = 0; t < plan.taps; t++) sum = fma(all(taps[t]), load(image.at(y + t, channel, x) + v * LANES), sum);
      store(weighted + x * SKIP_CHUNK + v * LANES, sum);
    }
}

// The horizontal half: adds one output phase of one column of each tile. `lead` is below TILE.
static void add_skip(const Plan &plan, const float *weighted, int lead, const float *taps, int vectors,
                     const float *from, float *to) {
  for (int v = 0; v < vectors; v++) {
    V sum = load(from + v * LANES);
    for (int t = 0; t < plan.taps; t++) {
      const int x = lead + t;
      sum = fma(all(taps[t]), load(weighted + x % TILE * SKIP_CHUNK + x / TILE + v * LANES), sum);
    }
    store(to + v * LANES, sum);
  }
}

// Scratch of `finish_row`: the skip's half, the streams that are to be shuffled, and the row.
INLINE size_t finish_scratch(const Plan &plan) {
  return TILE * SKIP_CHUNK + 2 * (size_t)plan.upscale_factor * TILE * CHUNK;
}

// One row of output phases of one channel: from the last layer's maps to a line of the enlarged plane, of
// upscale_factor * TILE pixels for each tile.
static float *finish_row(const Plan &plan, const Maps &maps, const Maps &image, int y, int channel, int phase,
                         int vectors, float *scratch) {
  const int r = plan.upscale_factor, lead = plan.skip_lead() % TILE;
  float *weighted = scratch, *streams = weighted + TILE * SKIP_CHUNK, *line = streams + r * TILE * CHUNK;
  if (plan.taps) skip_rows(plan, image, y, channel, plan.skip + phase * plan.taps, vectors, weighted);
  for (int x = 0; x < TILE; x++)
    for (int p = 0; p < r; p++) {
      const float *from = maps.at(y, (channel * r + phase) * r + p, x);
      float *to = streams + (x * r + p) * CHUNK;
      if (plan.taps)
        add_skip(plan, weighted, lead + x, plan.skip + p * plan.taps, vectors, from, to);
      else
        memcpy(to, from, vectors * sizeof(V));
    }
  interleave(streams, CHUNK, r * TILE, vectors * LANES, line);
  return line;
}

}  // namespace SUBPIXEL_ISA
