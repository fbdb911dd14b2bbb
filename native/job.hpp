// A run: the order in which layers compute the bands of an image, and where they keep them.
//
// The image is cut into strips of columns, so that memory does not grow with it; a strip is computed from top to bottom
// in steps. At each step every layer gives a band of 4 rows, as soon as the layer before has those that it reads:
//
//   step          t          t + 1       t + 2        a 3 x 3 convolution reads bands j and j + 1 of the layer before,
//   image         band t     t + 1       t + 2        to give band j: it lags behind by one band, and what it reads
//   1st layer     t - 1      t           t + 1        lies in a ring of two bands that are overwritten by turns
//   2nd layer     t - 2      t - 1       t
//
// So feature maps stay in the cache, from the image to its enlargement. A step of a layer is cut into chunks of tiles,
// which threads share. Since nothing is padded, no border is special: where tiles reach beyond the image, their pixels
// are computed from copies of the last pixel, or from zeros, and not used.
//
// Bits depend on where the tiles of 4 x 4 pixels lie, and on nothing else. All layers anchor them at the first pixel
// that they give; so it is the same in strips that start at tiles, if those that they read are computed in full. That
// takes one tile more for each layer, of a 3 x 3 kernel, on the right and below: see `measure`.
#pragma once
#include "finish.hpp"
#include "queue.hpp"

namespace SUBPIXEL_ISA {

constexpr size_t MOST_RING_BYTES = 1 << 25;  // of a strip's rings, unless a strip of one chunk needs more
constexpr int64_t STRIP_TILES = 192;         // so that rings of narrow layers stay in the second cache

// Tiles of each layer along one axis (bands, vertically); 0 is the image.
struct Extent {
  int tiles[MAX_CONVOLUTIONS + 1];   // that are computed
  int cleared[MAX_CONVOLUTIONS + 1]; // and with those after them that are read, and are zeros
};

// Find what is computed: what the result and its tiles need in full, if the image goes so far.
static Extent measure(const Plan &plan, int64_t length, int64_t extra) {
  Extent extent = {};
  int64_t there[MAX_CONVOLUTIONS + 1];
  there[0] = length + 2 * plan.radius + extra - 2 * plan.margin;
  for (int l = 1; l <= plan.layers; l++) there[l] = there[l - 1] - 2 * plan.layer[l].radius();
  int64_t needed = length;
  for (int l = plan.layers; l > 0; l--) {
    extent.tiles[l] = up(needed < there[l] ? needed : there[l], TILE);
    extent.cleared[l] = l == plan.layers ? extent.tiles[l] : extent.tiles[l + 1] + plan.reach(l + 1);
    needed = TILE * (int64_t)extent.tiles[l] + 2 * plan.layer[l].radius();
  }
  const int convolved = extent.tiles[1] + plan.reach(1), skipped = extent.tiles[plan.layers] + plan.skip_reach();
  extent.tiles[0] = extent.cleared[0] = convolved > skipped ? convolved : skipped;
  return extent;
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
  int threads, strip_tiles, chunks, steps, strips;
  int lag[MAX_CONVOLUTIONS + 1];  // bands that a layer is behind the image
  Extent rows;
  Ring ring[MAX_CONVOLUTIONS];
  float *scratch;
  int64_t scratch_size;
  Queue queue;
  std::atomic<int> joined;
  std::atomic<bool> has_nan;
  Workspace *space;

  int64_t items_of_step() const { return (int64_t)(plan->layers + 1) * chunks; }
  int64_t items_of_strip() const { return items_of_step() * steps; }
};

// One chunk of tiles of one band of one layer, in one strip.
struct Item {
  int64_t index;
  int strip, step, layer, chunk;
  int64_t band;
  int tile, vectors;
  bool is_last;  // of the chunks of its band
};

static Extent columns_of(const Job &job, int strip) {
  const int64_t first = (int64_t)strip * job.strip_tiles * TILE, rest = job.width - first;
  const int64_t most = (int64_t)job.strip_tiles * TILE, length = rest < most ? rest : most;
  return measure(*job.plan, length, job.extra + rest - length);
}

static Item item_at(const Job &job, int64_t index) {
  Item item = {};
  const int64_t of_step = job.items_of_step(), of_strip = job.items_of_strip(), within = index % of_step;
  item.index = index;
  item.strip = (int)(index / of_strip);
  item.step = (int)(index % of_strip / of_step);
  item.layer = (int)(within / job.chunks);
  item.chunk = (int)(within % job.chunks);
  item.band = item.step - job.lag[item.layer];
  item.tile = item.chunk * CHUNK;
  return item;
}

// Return the last item that must be finished before one begins.
static int64_t needed_by(const Job &job, const Item &item) {
  const int l = item.layer, n = job.chunks;
  int64_t needed = (int64_t)item.strip * job.items_of_strip() - 1;  // strips share their rings
  auto at_least = [&](int64_t index) { needed = index > needed ? index : needed; };
  at_least(item.index - job.queue.size);
  if (l > 0) {  // it reads chunks of the layer before
    const bool is_last = l == job.plan->layers;
    const int reach = is_last && job.plan->skip_reach() > job.plan->reach(l) ? job.plan->skip_reach() : job.plan->reach(l);
    const int64_t last = ((int64_t)item.tile + CHUNK + reach - 1) / CHUNK;
    at_least(item.index - item.chunk - n + (last < n ? last : n - 1));
  }
  if (item.step > 0 && l < job.plan->layers) {  // it overwrites what was read at the step before
    const int reader = l == 0 && job.plan->taps ? job.plan->layers : l + 1;
    at_least(item.index + (int64_t)(reader - l) * n - job.items_of_step());
  }
  return needed;
}

static void read_image(const Job &job, const Item &item, float *line) {
  const Plan &plan = *job.plan;
  const int64_t context = 2 * plan.radius + job.extra, x = ((int64_t)item.strip * job.strip_tiles + item.tile) * TILE;
  const int64_t last = job.height + context - 1;
  const int tiles = item.vectors * LANES;
  for (int i = 0; i < TILE; i++) {
    const int64_t y = item.band * TILE + i;
    float *to = job.ring[0].row(y, item.tile);
    for (int c = 0; c < plan.channels; c++) {
      read_line(job.planes, c, y < last ? y : last, x, job.width + context, tiles * TILE, line);
      split(line, tiles, to + c * TILE * job.ring[0].stride, job.ring[0].stride);
    }
  }
}

static void convolve(const Plan &plan, const Item &item, const Ring &from, const Maps &to, float *scratch) {
  const Layer &layer = plan.layer[item.layer];
  const int lead = item.layer == 1 ? plan.margin : 0;
  const Maps maps = from.maps(item.band * TILE + lead, TILE + layer.kernel_size - 1, item.tile);
  if (layer.winograd)
    winograd(layer, maps, to, item.vectors, scratch);
  else
    direct(layer, maps, to, item.vectors, lead);
}

// Zeros after the tiles that a layer gives, where the next one reads.
static void clear(const Ring &ring, const Item &item, int first, int end) {
  for (int y = 0; y < TILE; y++) {
    float *row = ring.row(item.band * TILE + y, 0);
    for (int plane = 0; plane < ring.channels * TILE; plane++, row += ring.stride)
      for (int tile = first; tile < end; tile++) row[tile] = 0;
  }
}

static void give_result(Job &job, const Item &item, const Maps &maps, float *scratch) {
  const Plan &plan = *job.plan;
  const int r = plan.upscale_factor;
  const int64_t x = ((int64_t)item.strip * job.strip_tiles + item.tile) * TILE, rest = job.width - x;
  const int64_t strip_rest = ((int64_t)job.strip_tiles - item.tile) * TILE;
  int64_t pixels = (int64_t)item.vectors * LANES * TILE;
  if (pixels > rest) pixels = rest;
  if (pixels > strip_rest) pixels = strip_rest;
  const int lead = plan.skip_lead();
  Maps image = {};
  if (plan.taps)
    image = job.ring[0].maps(item.band * TILE + lead, TILE + plan.taps - 1, item.tile + lead / TILE);
  bool has_nan = false;
  with_taps(plan.taps, [&](auto taps) {
    for (int y = 0; y < TILE && item.band * TILE + y < job.height; y++)
      for (int c = 0; c < plan.channels; c++)
        finish_row<taps.value>(plan, maps, image, y, c, item.vectors, scratch, [&](int phase, const float *line) {
          const int64_t row = (item.band * TILE + y) * r + phase;
          has_nan |= write_line(job.result, c, row, x * r, (int)(pixels * r), line);
        });
  });
  if (has_nan) job.has_nan = true;
}

static void do_item(Job &job, Item &item, const Extent &columns, float *scratch) {
  const Plan &plan = *job.plan;
  const int l = item.layer, tiles = columns.tiles[l], last = (tiles - 1) / CHUNK;
  if (item.band < 0 || item.band >= job.rows.cleared[l] || item.chunk > last) return;
  item.vectors = up(tiles - item.tile, LANES);
  if (item.vectors > VECTORS) item.vectors = VECTORS;
  const bool is_beyond = item.band >= job.rows.tiles[l];
  if (l == 0) return read_image(job, item, scratch);
  if (l == plan.layers) {
    Maps maps;
    maps.stride = CHUNK;
    for (int y = 0; y < TILE; y++) maps.row[y] = scratch + (int64_t)y * plan.last().outputs * TILE * CHUNK;
    float *rest = scratch + (int64_t)TILE * plan.last().outputs * TILE * CHUNK;
    convolve(plan, item, job.ring[l - 1], maps, rest);
    return give_result(job, item, maps, rest);
  }
  const Ring &ring = job.ring[l];
  const int end = item.tile + item.vectors * LANES < tiles ? item.tile + item.vectors * LANES : tiles;
  if (is_beyond)
    clear(ring, item, item.tile, end);
  else
    convolve(plan, item, job.ring[l - 1], ring.maps(item.band * TILE, TILE, item.tile), scratch);
  if (item.chunk == last) clear(ring, item, tiles, columns.cleared[l]);
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

static void lay_out(Job &job, Arena &arena) {
  const Plan &plan = *job.plan;
  const Extent columns = columns_of(job, 0);
  // Vectors reach beyond the tiles, and so do the taps of the skip. An odd number of cache lines keeps the rows of a
  // ring out of each other's places in the cache.
  const int64_t stride = (up(columns.tiles[0] + 2 * LANES + 16, 16) | 1) * 16;
  for (int l = 0; l < plan.layers; l++) {
    Ring &ring = job.ring[l];
    ring.channels = l ? plan.layer[l].outputs : plan.channels;
    const int reader = l == 0 && plan.taps ? plan.layers : l + 1;
    ring.bands = job.lag[reader] - job.lag[l] + 1;
    ring.stride = stride;
    ring.memory = arena.take<float>((size_t)ring.bands * TILE * ring.channels * TILE * stride);
  }
  job.scratch_size = scratch_floats(plan);
  job.scratch = arena.take<float>(job.scratch_size * job.threads);
  job.queue.mark = arena.take<std::atomic<int64_t>>(job.queue.size);
}

// Cut the image into equal strips, of as many tiles as the rings have memory for.
static void cut(Job &job) {
  const Plan &plan = *job.plan;
  int64_t bytes = 0;
  for (int l = 0; l < plan.layers; l++) {
    const int reader = l == 0 && plan.taps ? plan.layers : l + 1;
    const int channels = l ? plan.layer[l].outputs : plan.channels;
    bytes += (int64_t)(job.lag[reader] - job.lag[l] + 1) * TILE * channels * TILE * sizeof(float);
  }
  const int64_t enough = 2 * CHUNK * (int64_t)job.threads;  // that no thread waits for others
  int64_t most = MOST_RING_BYTES / bytes, wanted = enough > STRIP_TILES ? enough : STRIP_TILES;
  if (most > wanted) most = wanted;
  if (most < CHUNK) most = CHUNK;
  const int64_t tiles = (job.width + TILE - 1) / TILE, strips = (tiles + most - 1) / most;
  job.strip_tiles = (int)((tiles + strips - 1) / strips);
  job.strips = (int)((tiles + job.strip_tiles - 1) / job.strip_tiles);
}

static void set_lags(Job &job) {
  const Plan &plan = *job.plan;
  job.lag[0] = 0;
  for (int l = 1; l <= plan.layers; l++) job.lag[l] = job.lag[l - 1] + plan.reach(l);
  int &last = job.lag[plan.layers];
  if (last < plan.skip_reach()) last = plan.skip_reach();
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
  job->rows = measure(*job->plan, height, extra);
  job->steps = job->rows.tiles[job->plan->layers] + job->lag[job->plan->layers];
  job->chunks = up(columns_of(*job, 0).tiles[0], CHUNK);
  job->queue.items = job->items_of_strip() * job->strips;
  job->queue.size = job->items_of_step() + threads;
  Arena arena;
  lay_out(*job, arena);
  job->space = take_workspace(*job->plan, arena.used);
  if (!job->space) return free(job), nullptr;
  arena = {job->space->memory, 0};
  lay_out(*job, arena);
  memset((void *)job->queue.mark, 0, job->queue.size * sizeof *job->queue.mark);
  return job;
}

static void work(subpixel_job *base) {
  Job &job = *(Job *)base;
  const int place = job.joined.fetch_add(1);
  if (place >= job.threads) return;
  float *scratch = job.scratch + place * job.scratch_size;
  int strip = -1;
  Extent columns = {};
  for (int64_t index; (index = job.queue.take()) >= 0;) {
    Item item = item_at(job, index);
    if (item.strip != strip) columns = columns_of(job, strip = item.strip);
    job.queue.wait_for(needed_by(job, item));
    do_item(job, item, columns, scratch);
    job.queue.finish(index);
  }
  job.queue.wait_for(job.queue.items - 1);
}

static int32_t free_job(subpixel_job *base) {
  Job *job = (Job *)base;
  const bool has_nan = job->has_nan;
  free(job->plan->spare.exchange(job->space));
  free(job);
  return has_nan;
}

}  // namespace SUBPIXEL_ISA
