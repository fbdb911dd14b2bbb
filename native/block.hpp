// The order in which the layers compute a block of the image.
//
// A block is computed from top to bottom, in steps. At each step every layer gives a band of 4 rows, as soon as the
// layer before has given the rows that this one reads:
//
//   step          t          t + 1       t + 2        a 3 x 3 convolution reads bands j and j + 1 of the layer before,
//   image         band t     t + 1       t + 2        to give band j: it lags behind by one band, and what it reads
//   1st layer     t - 1      t           t + 1        lies in a ring of two bands that are overwritten by turns
//   2nd layer     t - 2      t - 1       t
//
// So feature maps stay in the cache, from the image to its enlargement, and memory does not grow with the image. Since
// nothing is padded, no border is special: where tiles reach beyond the image, their pixels are computed from copies of
// the last pixel, or from zeros, and not used.
#pragma once
#include "extent.hpp"
#include "finish.hpp"

namespace SUBPIXEL_ISA {

// A layer's output: its latest bands, from a ring in memory.
struct Ring {
  int channels, bands;
  int64_t stride;
  float *memory;

  float *row(int64_t y, int tile) const {
    const int64_t slot = y / TILE % bands * TILE + y % TILE;
    return memory + slot * channels * TILE * stride + tile;
  }
  Maps maps(int64_t y, int rows, int tile) const {
    Maps maps;
    maps.stride = stride;
    for (int i = 0; i < rows; i++) maps.row[i] = row(y + i, tile);
    return maps;
  }
};

// A run's pixels: the planes have the network's radius more on each side, and `extra` on the right and below.
struct Image {
  subpixel_planes planes, result;
  int64_t height, width, extra;
};

// A block, and the memory of the thread that computes it.
struct Block {
  int64_t y, x;  // first pixel
  Extent rows, columns;
  Ring ring[MAX_CONVOLUTIONS];
  float *scratch;
  bool has_nan;
};

// Tiles of a band that are computed at once.
struct Chunk {
  int64_t band;
  int tile, vectors;
};

static void read_image(const Plan &plan, const Image &image, const Block &block, Chunk chunk) {
  const int64_t context = 2 * plan.radius + image.extra, last = image.height + context - 1;
  const int tiles = chunk.vectors * LANES;
  for (int i = 0; i < TILE; i++) {
    const int64_t y = block.y + chunk.band * TILE + i, x = block.x + chunk.tile * TILE;
    float *to = block.ring[0].row(chunk.band * TILE + i, chunk.tile);
    for (int c = 0; c < plan.channels; c++) {
      read_line(image.planes, c, least(y, last), x, image.width + context, tiles * TILE, block.scratch);
      split(block.scratch, tiles, to + c * TILE * block.ring[0].stride, block.ring[0].stride);
    }
  }
}

static void convolve(const Plan &plan, int l, const Ring &from, const Maps &to, Chunk chunk, float *scratch) {
  const Layer &layer = plan.layer[l];
  const int lead = l == 1 ? plan.margin : 0;
  const Maps maps = from.maps(chunk.band * TILE + lead, TILE + layer.kernel_size - 1, chunk.tile);
  if (layer.winograd)
    winograd(layer, maps, to, chunk.vectors, scratch);
  else
    direct(layer, maps, to, chunk.vectors, lead);
}

// The last layer, and the end of the network.
static void give_result(const Plan &plan, const Image &image, Block &block, Chunk chunk) {
  const int l = plan.layers, r = plan.upscale_factor, lead = plan.skip_lead();
  const int64_t row_floats = (int64_t)plan.last().outputs * TILE * CHUNK;
  Maps maps, source;
  maps.stride = CHUNK;
  for (int y = 0; y < TILE; y++) maps.row[y] = block.scratch + y * row_floats;
  float *scratch = block.scratch + TILE * row_floats;
  convolve(plan, l, block.ring[l - 1], maps, chunk, scratch);
  if (plan.taps) source = block.ring[0].maps(chunk.band * TILE + lead, TILE + plan.taps - 1, chunk.tile + lead / TILE);
  const int64_t x = block.x + chunk.tile * TILE, rest = block.columns.length - chunk.tile * TILE;
  const int64_t pixels = least(chunk.vectors * LANES * TILE, rest);
  with_taps(plan.taps, [&](auto taps) {
    for (int i = 0; i < TILE && chunk.band * TILE + i < block.rows.length; i++)
      for (int c = 0; c < plan.channels; c++)
        finish_row<taps.value>(plan, maps, source, i, c, chunk.vectors, scratch, [&](int phase, const float *line) {
          const int64_t y = (block.y + chunk.band * TILE + i) * r + phase;
          block.has_nan |= write_line(image.result, c, y, x * r, (int)(pixels * r), line);
        });
  });
}

// Zeros in tiles after those that a layer gives, where the next one reads.
static void clear(const Ring &ring, int64_t band, int first, int end) {
  for (int y = 0; y < TILE && first < end; y++) {
    float *row = ring.row(band * TILE + y, 0);
    for (int plane = 0; plane < ring.channels * TILE; plane++, row += ring.stride)
      memset(row + first, 0, (end - first) * sizeof(float));
  }
}

static void do_band(const Plan &plan, const Image &image, Block &block, int l, int64_t band) {
  const bool is_beyond = band >= block.rows.tiles[l];
  const int tiles = is_beyond ? 0 : block.columns.tiles[l];
  const int vectors = l ? plan.layer[l].vectors : VECTORS;
  for (int tile = 0; tile < tiles; tile += vectors * LANES) {
    const Chunk chunk = {band, tile, (int)least(divide_up(tiles - tile, LANES), vectors)};
    if (l == 0)
      read_image(plan, image, block, chunk);
    else if (l < plan.layers)
      convolve(plan, l, block.ring[l - 1], block.ring[l].maps(band * TILE, TILE, tile), chunk, block.scratch);
    else
      give_result(plan, image, block, chunk);
  }
  if (l > 0 && l < plan.layers) clear(block.ring[l], band, tiles, block.columns.cleared[l]);
}

static void do_block(const Plan &plan, const Image &image, Block &block) {
  const int64_t steps = block.rows.tiles[plan.layers] + plan.lag[plan.layers];
  for (int64_t step = 0; step < steps; step++)
    for (int l = 0; l <= plan.layers; l++) {
      const int64_t band = step - plan.lag[l];
      if (band >= 0 && band < block.rows.cleared[l]) do_band(plan, image, block, l, band);
    }
}

static int64_t scratch_floats(const Plan &plan) {
  int64_t most = (int64_t)CHUNK * TILE;  // a line of the image
  for (int l = 1; l <= plan.layers; l++) {
    int64_t floats = plan.layer[l].winograd ? winograd_scratch(plan.layer[l]) : 0;
    if (l == plan.layers) {
      const int64_t finish = finish_scratch(plan);
      floats = (floats > finish ? floats : finish) + (int64_t)TILE * plan.last().outputs * TILE * CHUNK;
    }
    most = floats > most ? floats : most;
  }
  return (most + 15) / 16 * 16;
}

// Give a block its memory, for at most `widest` tiles across.
static void lay_out(const Plan &plan, Block &block, int64_t widest, Arena &arena) {
  // Beyond the tiles, a vector reaches by LANES, the skip by one vector more, and a kernel by at most 12 tiles. An odd
  // number of cache lines keeps the rows of a ring out of each other's places in the cache.
  const int64_t stride = (divide_up(widest + 2 * LANES + 16, 16) | 1) * 16;
  for (int l = 0; l < plan.layers; l++) {
    Ring &ring = block.ring[l];
    ring.channels = plan.maps_of(l);
    ring.bands = plan.ring_bands(l);
    ring.stride = stride;
    ring.memory = arena.take<float>((size_t)ring.bands * TILE * ring.channels * TILE * stride);
  }
  block.scratch = arena.take<float>(scratch_floats(plan));
}

}  // namespace SUBPIXEL_ISA
