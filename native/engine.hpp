// What an instruction set's engine offers to the C interface.
#pragma once
#include "subpixel.h"

struct Engine {
  const char *name;
  subpixel_plan *(*make_plan)(const subpixel_network *network);
  void (*free_plan)(subpixel_plan *plan);
  subpixel_job *(*make_job)(subpixel_plan *plan, const subpixel_planes *planes, const subpixel_planes *result,
                            int64_t height, int64_t width, int64_t extra, int32_t threads);
  void (*work)(subpixel_job *job);
  int32_t (*free_job)(subpixel_job *job);
};

struct subpixel_plan {
  const Engine *engine;
};

struct subpixel_job {
  const Engine *engine;
};
