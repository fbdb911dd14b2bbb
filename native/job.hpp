// A run: how the image is cut into blocks, and the order in which layers compute a block.
//
// Threads take blocks, and need nothing of each other. A block is computed from top to bottom, in steps. At each step
// every layer gives a band of 4 rows, as soon as the layer before has those that it reads:
//
//   step          t          t + 1       t + 2        a 3 x 3 convolution reads bands j and j + 1 of the layer before,
//   image         band t     t + 1       t + 2        to give band j: it lags behind by one band, and what it reads
//   1st layer     t - 1      t           t + 1        lies in a ring of two bands that are overwritten by turns
//   2nd layer     t - 2      t - 1       t
//
// So feature maps stay in the cache, from the image to its enlargement, and memory does not grow with the image. Since
// nothing is padded, no border is special: where tiles reach beyond the image, their pixels are computed from copies of
// the last pixel, or from zeros, and not used.
//
// Bits depend on where the tiles of 4 x 4 pixels lie, and on nothing else. All layers anchor them at the first pixel
// that they give; so it is the same in blocks that start at tiles, if the tiles that these read are computed in full.
// That takes one tile more for each layer, of a 3 x 3 kernel, on the right and below: see `measure`.
#pragma once
#include <atomic>

#include "finish.hpp"

namespace SUBPIXEL_ISA {

constexpr int64_t MOST_RING_BYTES = 1 << 25;  // of a block, unless one that is a chunk wide needs more
constexpr int64_t BLOCK_TILES = 192;          // across at most, so that rings of narrow layers stay in the second cache

// A block along one axis: its pixels, and the tiles of each layer (bands, vertically); 0 is the image.
struct Extent {
  int64_t length;
  int tiles[MAX_CONVOLUTIONS + 1];   // that are computed
  int cleared[MAX_CONVOLUTIONS + 1]; // and with those after them that are read, and are zeros
};

// Return what is computed of `length` pixels, after which the image goes on for `after`: what these pixels and their
// tiles need in full, as far as the image goes.
static Extent measure(const Plan &plan, int64_t length, int64_t after) {
  Extent extent = {};
  extent.length = length;
  int64_t there[MAX_CONVOLUTIONS + 1], needed = length;
  there[plan.layers] = length + after;
  for (int l = plan.layers; l > 0; l--) there[l - 1] = there[l] + 2 * plan.layer[l].radius();
  for (int l = plan.layers; l > 0; l--) {
    extent.tiles[l] = up(least(needed, there[l]), TILE);
    extent.cleared[l] = l == plan.layers ? extent.tiles[l] : extent.tiles[l + 1] + plan.reach(l + 1);
    needed = TILE * (int64_t)extent.tiles[l] + 2 * plan.layer[l].radius();
  }
  const int convolved = extent.tiles[1] + plan.reach(1), skipped = extent.tiles[plan.layers] + plan.skip_reach();
  extent.tiles[0] = extent.cleared[0] = convolved > skipped ? convolved : skipped;
  return extent;
}

// The same for a block of `tiles` tiles from pixel `first` on, in an image of `length` pixels and `extra` more.
static Extent measure_block(const Plan &plan, int64_t first, int64_t tiles, int64_t length, int64_t extra) {
  const int64_t pixels = least(tiles * TILE, length - first);
  return measure(plan, pixels, length - first - pixels + extra);
}

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

struct Job : subpixel_job {
  Plan *plan;
  subpixel_planes planes, result;
  int64_t height, width, extra;
  int threads;
  int64_t block_rows, block_columns, down, across;  // size of a block in tiles, and number of blocks
  int lag[MAX_CONVOLUTIONS + 1];                    // bands that a layer is behind the image
  std::atomic<int64_t> next;                        // block to be taken
  std::atomic<int> joined;
  std::atomic<bool> has_nan;
  Workspace *space;
  size_t bytes;  // of the workspace, for each thread

  // The layer that reads last what a layer gives; the skip reads the image.
  int reader(int layer) const { return layer == 0 && plan->taps ? plan->layers : layer + 1; }
};

// A block, and the memory of the thread that computes it.
struct Block {
  int64_t y, x;  // first pixel
  Extent rows, columns;
  Ring ring[MAX_CONVOLUTIONS];
  float *scratch;
};

// Tiles of a band that are computed at once.
struct Chunk {
  int64_t band;
  int tile, vectors;
};

static void read_image(const Job &job, const Block &block, Chunk chunk) {
  const Plan &plan = *job.plan;
  const int64_t context = 2 * plan.radius + job.extra, last = job.height + context - 1;
  const int tiles = chunk.vectors * LANES;
  for (int i = 0; i < TILE; i++) {
    const int64_t y = block.y + chunk.band * TILE + i, x = block.x + chunk.tile * TILE;
    float *to = block.ring[0].row(chunk.band * TILE + i, chunk.tile);
    for (int c = 0; c < plan.channels; c++) {
      read_line(job.planes, c, y < last ? y : last, x, job.width + context, tiles * TILE, block.scratch);
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
static void give_result(Job &job, const Block &block, Chunk chunk) {
  const Plan &plan = *job.plan;
  const int l = plan.layers, r = plan.upscale_factor, lead = plan.skip_lead();
  const int64_t row_floats = (int64_t)plan.last().outputs * TILE * CHUNK;
  Maps maps, image;
  maps.stride = CHUNK;
  for (int y = 0; y < TILE; y++) maps.row[y] = block.scratch + y * row_floats;
  float *scratch = block.scratch + TILE * row_floats;
  convolve(plan, l, block.ring[l - 1], maps, chunk, scratch);
  if (plan.taps)
    image = block.ring[0].maps(chunk.band * TILE + lead, TILE + plan.taps - 1, chunk.tile + lead / TILE);
  const int64_t x = block.x + chunk.tile * TILE, rest = block.columns.length - chunk.tile * TILE;
  const int64_t pixels = least(chunk.vectors * LANES * TILE, rest);
  bool has_nan = false;
  with_taps(plan.taps, [&](auto taps) {
    for (int i = 0; i < TILE && chunk.band * TILE + i < block.rows.length; i++)
      for (int c = 0; c < plan.channels; c++)
        finish_row<taps.value>(plan, maps, image, i, c, chunk.vectors, scratch, [&](int phase, const float *line) {
          const int64_t y = (block.y + chunk.band * TILE + i) * r + phase;
          has_nan |= write_line(job.result, c, y, x * r, (int)(pixels * r), line);
        });
  });
  if (has_nan) job.has_nan = true;
}

// Zeros in tiles after those that a layer gives, where the next one reads.
static void clear(const Ring &ring, int64_t band, int first, int end) {
  for (int y = 0; y < TILE && first < end; y++) {
    float *row = ring.row(band * TILE + y, 0);
    for (int plane = 0; plane < ring.channels * TILE; plane++, row += ring.stride)
      memset(row + first, 0, (end - first) * sizeof(float));
  }
}

static void do_band(Job &job, const Block &block, int l, int64_t band) {
  const Plan &plan = *job.plan;
  const bool is_beyond = band >= block.rows.tiles[l];
  const int tiles = is_beyond ? 0 : block.columns.tiles[l];
  for (int tile = 0; tile < tiles; tile += CHUNK) {
    const Chunk chunk = {band, tile, (int)least(up(tiles - tile, LANES), VECTORS)};
    if (l == 0)
      read_image(job, block, chunk);
    else if (l < plan.layers)
      convolve(plan, l, block.ring[l - 1], block.ring[l].maps(band * TILE, TILE, tile), chunk, block.scratch);
    else
      give_result(job, block, chunk);
  }
  if (l > 0 && l < plan.layers) clear(block.ring[l], band, tiles, block.columns.cleared[l]);
}

static void do_block(Job &job, const Block &block) {
  const int layers = job.plan->layers;
  const int64_t steps = block.rows.tiles[layers] + job.lag[layers];
  for (int64_t step = 0; step < steps; step++)
    for (int l = 0; l <= layers; l++) {
      const int64_t band = step - job.lag[l];
      if (band >= 0 && band < block.rows.cleared[l]) do_band(job, block, l, band);
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

// Give a block its memory. All blocks lie in it as one of full size does.
static void lay_out(const Job &job, Block &block, Arena &arena) {
  const Plan &plan = *job.plan;
  const int64_t widest = measure_block(plan, 0, job.block_columns, job.width, job.extra).tiles[0];
  // Vectors reach beyond the tiles, and so do the taps of the skip. An odd number of cache lines keeps the rows of a
  // ring out of each other's places in the cache.
  const int64_t stride = (up(widest + 2 * LANES + 16, 16) | 1) * 16;
  for (int l = 0; l < plan.layers; l++) {
    Ring &ring = block.ring[l];
    ring.channels = l ? plan.layer[l].outputs : plan.channels;
    ring.bands = job.lag[job.reader(l)] - job.lag[l] + 1;
    ring.stride = stride;
    ring.memory = arena.take<float>((size_t)ring.bands * TILE * ring.channels * TILE * stride);
  }
  block.scratch = arena.take<float>(scratch_floats(plan));
}

static void set_lags(Job &job) {
  const Plan &plan = *job.plan;
  for (int l = 1; l <= plan.layers; l++) job.lag[l] = job.lag[l - 1] + plan.reach(l);
  int &last = job.lag[plan.layers];
  if (last < plan.skip_reach()) last = plan.skip_reach();
}

// Tiles across that the rings have memory for.
static int64_t most_columns(const Job &job) {
  const Plan &plan = *job.plan;
  int64_t bytes = 0;
  for (int l = 0; l < plan.layers; l++) {
    const int channels = l ? plan.layer[l].outputs : plan.channels;
    bytes += (int64_t)(job.lag[job.reader(l)] - job.lag[l] + 1) * TILE * channels * TILE * sizeof(float);
  }
  const int64_t fitting = least(MOST_RING_BYTES / bytes, BLOCK_TILES);
  return fitting < CHUNK ? CHUNK : fitting;
}

// Return what a block costs, in multiplications of vectors, roughly.
static double cost(const Plan &plan, const Extent &rows, const Extent &columns) {
  double sum = 0;
  for (int l = 1; l <= plan.layers; l++) {
    const Layer &layer = plan.layer[l];
    const double pairs = (double)layer.inputs * layer.outputs, transforms = 150.0 * (layer.inputs + layer.outputs);
    const double of_tile = layer.winograd ? POINTS * pairs + transforms : TILE * TILE * layer.taps() * pairs;
    sum += of_tile * rows.tiles[l] * up(columns.tiles[l], LANES);
  }
  return sum;
}

// Cut the image into blocks, so that threads are done as early as can be: neighbours compute some tiles twice, so there
// should be few blocks, of equal cost, and as many as threads or a multiple.
static void cut(Job &job) {
  const Plan &plan = *job.plan;
  const int64_t rows = up(job.height, TILE), columns = up(job.width, TILE), least_across = up(columns, most_columns(job));
  double best = -1;
  for (int64_t across = least_across; across <= least(columns, least_across + job.threads - 1); across++)
    for (int64_t down = 1; down <= least(rows, job.threads); down++) {
      const int64_t height = up(rows, down), width = up(columns, across), blocks = up(rows, height) * up(columns, width);
      const double time = up(blocks, job.threads) * cost(plan, measure_block(plan, 0, height, job.height, job.extra),
                                                         measure_block(plan, 0, width, job.width, job.extra));
      if (best < 0 || time < best) {
        best = time;
        job.block_rows = height;
        job.block_columns = width;
      }
    }
  job.down = up(rows, job.block_rows);
  job.across = up(columns, job.block_columns);
}

constexpr int64_t MOST_PIXELS = (int64_t)1 << 30;  // along a side, so that no index of tiles overflows

static Workspace *take_workspace(Plan &plan, size_t size) {
  Workspace *space = plan.spare.exchange(nullptr);
  if (space && space->size >= size) return space;
  free(space);
  return Workspace::make(size);
}

static subpixel_job *make_job(subpixel_plan *base, const subpixel_planes *planes, const subpixel_planes *result,
                              int64_t height, int64_t width, int64_t extra, int32_t threads) {
  if (height < 1 || width < 1 || extra < 0 || threads < 1 || threads > 1024) return nullptr;
  if (height > MOST_PIXELS || width > MOST_PIXELS || extra > MOST_PIXELS) return nullptr;
  Job *job = (Job *)calloc(1, sizeof(Job));
  if (!job) return nullptr;
  job->plan = (Plan *)base;
  job->planes = *planes;
  job->result = *result;
  job->height = height;
  job->width = width;
  job->extra = extra;
  job->threads = threads;
  set_lags(*job);
  cut(*job);
  Arena arena;
  Block block;
  lay_out(*job, block, arena);
  job->bytes = arena.used;
  job->threads = (int)least(threads, job->down * job->across);
  job->space = take_workspace(*job->plan, job->bytes * job->threads);
  return job->space ? job : (free(job), nullptr);
}

static void work(subpixel_job *base) {
  Job &job = *(Job *)base;
  const int place = job.joined.fetch_add(1);
  if (place >= job.threads) return;
  Block block;
  Arena arena = {job.space->memory + place * job.bytes, 0};
  lay_out(job, block, arena);
  for (int64_t index; (index = job.next.fetch_add(1)) < job.down * job.across;) {
    block.y = index / job.across * job.block_rows * TILE;
    block.x = index % job.across * job.block_columns * TILE;
    block.rows = measure_block(*job.plan, block.y, job.block_rows, job.height, job.extra);
    block.columns = measure_block(*job.plan, block.x, job.block_columns, job.width, job.extra);
    do_block(job, block);
  }
}

static int32_t free_job(subpixel_job *base) {
  Job *job = (Job *)base;
  const bool has_nan = job->has_nan;
  free(job->plan->spare.exchange(job->space));
  free(job);
  return has_nan;
}

}  // namespace SUBPIXEL_ISA
