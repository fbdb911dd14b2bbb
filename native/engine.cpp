// The engine of one instruction set: compiled once for each, in a namespace of its own, with -DSUBPIXEL_ISA=its name.
#include "job.hpp"

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)

namespace SUBPIXEL_ISA {

extern const Engine engine;
const Engine engine = {TEXT(SUBPIXEL_ISA), make_plan, free_plan, make_job, work, free_job};

}  // namespace SUBPIXEL_ISA
