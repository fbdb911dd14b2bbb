// The C interface, and the choice of an instruction set that the processor has.
//
// The processor itself is asked what it can do; its name proves nothing, since virtual machines hide instructions, and
// the compilers' own __builtin_cpu_supports has denied AVX2 to machines that have it.
#include "engine.hpp"

#if defined __x86_64__
#include <cpuid.h>
namespace sse2 {
extern const Engine engine;
}
namespace avx2 {
extern const Engine engine;
}
namespace avx512 {
extern const Engine engine;
}

// What the operating system saves when it changes threads: registers that it does not save cannot be used.
static uint64_t saved_by_the_system() {
  uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low | (uint64_t)high << 32;
}

static bool has(uint32_t bits, uint32_t wanted) { return (bits & wanted) == wanted; }

struct Processor {
  bool avx2 = false, avx512 = false;

  Processor() {
    uint32_t eax, ebx, ecx, edx;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !has(ecx, bit_OSXSAVE | bit_AVX | bit_FMA)) return;
    // Bits of the register XCR0: SSE and AVX; with them the mask registers and both parts of ZMM.
    const uint64_t saved = saved_by_the_system(), ymm = 0x6, zmm = 0xe6;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return;
    avx2 = (saved & ymm) == ymm && has(ebx, bit_AVX2);
    avx512 = avx2 && (saved & zmm) == zmm && has(ebx, bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL);
  }
};

static const Engine *engine_at(int32_t index) {
  const Processor processor;
  const Engine *found[3] = {};  // the best first
  int count = 0;
  if (processor.avx512) found[count++] = &avx512::engine;
  if (processor.avx2) found[count++] = &avx2::engine;
  found[count++] = &sse2::engine;
  return index >= 0 && index < count ? found[index] : nullptr;
}
#else
namespace neon {
extern const Engine engine;
}

static const Engine *engine_at(int32_t index) { return index == 0 ? &neon::engine : nullptr; }
#endif

const char *subpixel_isa(int32_t index) {
  const Engine *engine = engine_at(index);
  return engine ? engine->name : nullptr;
}

subpixel_plan *subpixel_plan_make(const subpixel_network *network, int32_t isa_index) {
  const Engine *engine = engine_at(isa_index);
  subpixel_plan *plan = engine ? engine->make_plan(network) : nullptr;
  if (plan) plan->engine = engine;
  return plan;
}

void subpixel_plan_free(subpixel_plan *plan) { plan->engine->free_plan(plan); }

subpixel_job *subpixel_job_make(subpixel_plan *plan, const subpixel_planes *planes, const subpixel_planes *result,
                                int64_t height, int64_t width, int64_t extra, int32_t threads) {
  subpixel_job *job = plan->engine->make_job(plan, planes, result, height, width, extra, threads);
  if (job) job->engine = plan->engine;
  return job;
}

void subpixel_job_work(subpixel_job *job) { job->engine->work(job); }

int32_t subpixel_job_free(subpixel_job *job) { return job->engine->free_job(job); }
