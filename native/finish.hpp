// The end of the network: the skip is added, phases are shuffled into rows, and rows become pixels.
#pragma once
#include "pixels.hpp"
#include "plan.hpp"

namespace SUBPIXEL_ISA {

constexpr int SKIP_CHUNK = CHUNK + LANES;  // tiles of a row that the skip interpolates vertically

// Interpolate a row of one channel vertically: vertical[phase][column of the tile][tile], one vector more than the
// chunk has, since taps reach beyond it.
template <int TAPS>
static void skip_rows(const Plan &plan, const Maps &image, int y, int channel, int vectors, float *vertical) {
  for (int x = 0; x < TILE; x++)
    for (int v = 0; v <= vectors; v++) {
      V in[TAPS];
      for (int t = 0; t < TAPS; t++) in[t] = keep(load(image.at(y + t, channel, x) + v * LANES));
      for (int phase = 0; phase < plan.upscale_factor; phase++) {
        V sum = {};
        for (int t = 0; t < TAPS; t++) sum = fma(spread(plan.skip[phase * TAPS + t]), in[t], sum);
        store(vertical + (phase * TILE + x) * SKIP_CHUNK + v * LANES, sum);
      }
    }
}

// Interpolate horizontally and add the maps of a layer: streams[column of the tile][phase][tile].
template <int TAPS>
static void add_skip(const Plan &plan, const float *vertical, const Maps &maps, int y, int channel, int vectors,
                     float *streams) {
  const int lead = plan.skip_lead() % TILE;
  for (int x = 0; x < TILE; x++)
    for (int v = 0; v < vectors; v++) {
      V in[TAPS];
      for (int t = 0; t < TAPS; t++) {
        const int column = lead + x + t;
        in[t] = keep(load(vertical + column % TILE * SKIP_CHUNK + column / TILE + v * LANES));
      }
      for (int phase = 0; phase < plan.upscale_factor; phase++) {
        V sum = load(maps.at(y, channel + phase, x) + v * LANES);
        for (int t = 0; t < TAPS; t++) sum = fma(spread(plan.skip[phase * TAPS + t]), in[t], sum);
        store(streams + (x * plan.upscale_factor + phase) * CHUNK + v * LANES, sum);
      }
    }
}

static void copy_streams(const Plan &plan, const Maps &maps, int y, int channel, int vectors, float *streams) {
  const int r = plan.upscale_factor;
  for (int x = 0; x < TILE; x++)
    for (int phase = 0; phase < r; phase++)
      memcpy(streams + (x * r + phase) * CHUNK, maps.at(y, channel + phase, x), vectors * sizeof(V));
}

INLINE int64_t finish_scratch(const Plan &plan) {
  return (int64_t)plan.upscale_factor * TILE * (SKIP_CHUNK + 2 * CHUNK);
}

// Give the enlarged rows of one row of one channel. `visit(phase, line)` is called for each, with upscale_factor * TILE
// pixels for each tile.
template <int TAPS, typename Visit>
INLINE void finish_row(const Plan &plan, const Maps &maps, const Maps &image, int y, int channel, int vectors,
                       float *scratch, Visit visit) {
  const int r = plan.upscale_factor;
  float *vertical = scratch, *streams = vertical + r * TILE * SKIP_CHUNK, *line = streams + r * TILE * CHUNK;
  if constexpr (TAPS > 0) skip_rows<TAPS>(plan, image, y, channel, vectors, vertical);
  for (int phase = 0; phase < r; phase++) {
    const int first = (channel * r + phase) * r;
    if constexpr (TAPS > 0)
      add_skip<TAPS>(plan, vertical + phase * TILE * SKIP_CHUNK, maps, y, first, vectors, streams);
    else
      copy_streams(plan, maps, y, first, vectors, streams);
    interleave(streams, CHUNK, r * TILE, vectors * LANES, line);
    visit(phase, line);
  }
}

// Call `visit` with the number of taps as a type's number: that of bicubic interpolation, that of nearest, or 0 for no
// skip.
template <typename Visit>
INLINE void with_taps(int taps, Visit visit) {
  if (taps == 5) return visit(Number<5>{});
  if (taps == 1) return visit(Number<1>{});
  visit(Number<0>{});
}

}  // namespace SUBPIXEL_ISA
