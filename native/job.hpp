// A run: the image is cut into blocks, which threads take one by one; they need nothing of each other.
#pragma once
#include <atomic>

#include "block.hpp"

namespace SUBPIXEL_ISA {

constexpr int64_t MOST_RING_BYTES = 1 << 25;  // of a block, unless one that is a chunk wide needs more
constexpr int64_t MOST_BYTES = 1 << 28;       // of the rings of all threads, with the same exception
constexpr size_t MOST_WORKSPACE = 1 << 30;    // of all threads; what needs more has fewer of them
constexpr int64_t BLOCK_TILES = 192;          // across at most, so that rings of narrow layers stay in the second cache

struct Job : subpixel_job {
  Plan *plan;
  Image image;
  int threads;
  int64_t block_rows, block_columns, down, across;  // size of a block in tiles, and number of blocks
  std::atomic<int64_t> next;                        // block to be taken
  std::atomic<int> joined;
  std::atomic<bool> has_nan;
  Workspace *space;
  size_t bytes;  // of the workspace, for each thread
};

// Return the extent of one of `count` blocks along an axis of `pixels`; the last one takes what is left.
static Extent extent_of(const Job &job, int64_t index, int64_t count, int64_t tiles, int64_t pixels) {
  const int64_t first = index * tiles * TILE, rest = pixels - first;
  const int64_t length = index == count - 1 ? rest : tiles * TILE;
  return measure(*job.plan, length, rest - length + job.image.extra);
}

static int64_t widest(const Job &job) {
  return extent_of(job, 0, job.across, job.block_columns, job.image.width).tiles[0];
}

// Tiles across that the rings have memory for.
static int64_t most_columns(const Plan &plan, int threads) {
  int64_t bytes = 0;  // of a tile
  for (int l = 0; l < plan.layers; l++)
    bytes += (int64_t)plan.ring_bands(l) * TILE * plan.maps_of(l) * TILE * sizeof(float);
  const int64_t fitting = least(least(MOST_RING_BYTES, MOST_BYTES / threads) / bytes, BLOCK_TILES);
  return fitting < CHUNK ? CHUNK : fitting;
}

// Return what a block costs, in multiplications of vectors, roughly.
static double cost(const Plan &plan, const Extent &rows, const Extent &columns) {
  double sum = 0;
  for (int l = 1; l <= plan.layers; l++) {
    const Layer &layer = plan.layer[l];
    const double pairs = (double)layer.inputs * layer.outputs;
    const double transforms = 150.0 * (layer.inputs + layer.outputs);  // 144 and 136, and loads
    const double of_tile = layer.winograd ? POINTS * pairs + transforms : TILE * TILE * layer.taps() * pairs;
    sum += of_tile * rows.tiles[l] * divide_up(columns.tiles[l], LANES);
  }
  return sum;
}

// Cut the image into blocks so that threads are done as early as can be. Neighbours compute some tiles twice, so there
// should be few blocks; they should cost the same, and be as many as the threads or a multiple.
static void cut(Job &job) {
  const Plan &plan = *job.plan;
  const int64_t rows = divide_up(job.image.height, TILE), columns = divide_up(job.image.width, TILE);
  const int64_t fewest = divide_up(columns, most_columns(plan, job.threads));
  const int beyond = plan.lag[plan.layers];  // tiles that the first layer computes beyond those of a block
  double best = -1;
  for (int64_t wanted = fewest; wanted <= least(columns, fewest + job.threads - 1); wanted++) {
    const int64_t width = divide_up(divide_up(columns, wanted) + beyond, LANES) * LANES - beyond;  // whole vectors
    const int64_t across = divide_up(columns, width);
    const Extent across_first = extent_of(job, 0, across, width, job.image.width);
    for (int64_t down = 1; down <= rows && (down == 1 || across * down <= 2 * job.threads); down++)
      // The first blocks give up rows until the last one, which computes no tiles beyond it, costs as much.
      for (int64_t height = divide_up(rows, down); height > 0; height--) {
        if ((down - 1) * height >= rows) continue;  // nothing would be left for the last one
        const double first = cost(plan, extent_of(job, 0, down, height, job.image.height), across_first);
        const double last = cost(plan, extent_of(job, down - 1, down, height, job.image.height), across_first);
        const double time = divide_up(across * down, job.threads) * (first > last ? first : last);
        if (best < 0 || time < best) {
          best = time;
          job.block_rows = height;
          job.block_columns = width;
          job.down = down;
          job.across = across;
        }
        if (last >= first) break;
      }
  }
}

constexpr int64_t MOST_PIXELS = (int64_t)1 << 30;  // along a side, so that no index of tiles overflows

static bool has_type(const subpixel_planes &planes) {
  return planes.type >= SUBPIXEL_FLOAT32 && planes.type <= SUBPIXEL_UINT16;
}

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
  if (!has_type(*planes) || !has_type(*result)) return nullptr;
  Job *job = (Job *)calloc(1, sizeof(Job));
  if (!job) return nullptr;
  job->plan = (Plan *)base;
  job->image = {*planes, *result, height, width, extra};
  job->threads = threads;
  cut(*job);
  Arena arena;
  Block block;
  lay_out(*job->plan, block, widest(*job), arena);
  job->bytes = arena.used;
  const int64_t fitting = MOST_WORKSPACE / job->bytes;
  job->threads = (int)least(least(threads, fitting ? fitting : 1), job->down * job->across);
  job->space = take_workspace(*job->plan, job->bytes * job->threads);
  return job->space ? job : (free(job), nullptr);
}

static void work(subpixel_job *base) {
  Job &job = *(Job *)base;
  const int place = job.joined.fetch_add(1);
  if (place >= job.threads) return;
  Block block;
  Arena arena = {job.space->memory + place * job.bytes, 0};
  lay_out(*job.plan, block, widest(job), arena);
  block.has_nan = false;
  for (int64_t index; (index = job.next.fetch_add(1)) < job.down * job.across;) {
    block.y = index / job.across * job.block_rows * TILE;
    block.x = index % job.across * job.block_columns * TILE;
    block.rows = extent_of(job, index / job.across, job.down, job.block_rows, job.image.height);
    block.columns = extent_of(job, index % job.across, job.across, job.block_columns, job.image.width);
    do_block(*job.plan, job.image, block);
  }
  if (block.has_nan) job.has_nan = true;
}

static int32_t free_job(subpixel_job *base) {
  Job *job = (Job *)base;
  const bool has_nan = job->has_nan;
  free(job->plan->spare.exchange(job->space));
  free(job);
  return has_nan;
}

}  // namespace SUBPIXEL_ISA
