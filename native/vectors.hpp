// Vectors of floats: the few operations that differ from one instruction set to the next.
//
// All else is arithmetic on GCC's and Clang's vector types, which looks the same for each.
#pragma once
#include <stdint.h>

#if defined __x86_64__
#include <immintrin.h>
#elif defined __aarch64__
#include <arm_neon.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 64")
#endif

namespace SUBPIXEL_ISA {

#if defined __AVX512F__
constexpr int LANES = 16, REGISTERS = 32;
#elif defined __AVX2__
constexpr int LANES = 8, REGISTERS = 16;
#elif defined __aarch64__
constexpr int LANES = 4, REGISTERS = 32;
#else
constexpr int LANES = 4, REGISTERS = 16;
#endif

template <typename T, int N>
struct VectorOf {
  typedef T Type __attribute__((vector_size(N * sizeof(T))));
  typedef T Unaligned __attribute__((vector_size(N * sizeof(T)), aligned(alignof(T)), may_alias));
};
typedef VectorOf<float, LANES>::Type V;
typedef VectorOf<float, LANES>::Unaligned UnalignedV;
typedef VectorOf<float, 4>::Type V4;  // four floats, whatever LANES is: what `transpose` works on
typedef VectorOf<float, 4>::Unaligned UnalignedV4;

INLINE V load(const float *p) { return *(const UnalignedV *)p; }
INLINE void store(float *p, V v) { *(UnalignedV *)p = v; }
INLINE V4 load4(const float *p) { return *(const UnalignedV4 *)p; }
INLINE void store4(float *p, V4 v) { *(UnalignedV4 *)p = v; }
INLINE V spread(float x) { return x - V{}; }  // a sum would lose the sign of -0

// fma(a, b, c) = a b + c, rounded once, except by SSE2. `least` and `most` give b where a or b is NaN: what may be NaN
// must stand there, so that it is not lost.
#if defined __AVX512F__
INLINE V fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
INLINE V least(V a, V b) { return _mm512_min_ps(a, b); }
INLINE V most(V a, V b) { return _mm512_max_ps(a, b); }
#elif defined __AVX2__
INLINE V fma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
INLINE V least(V a, V b) { return _mm256_min_ps(a, b); }
INLINE V most(V a, V b) { return _mm256_max_ps(a, b); }
#elif defined __x86_64__
INLINE V fma(V a, V b, V c) { return a * b + c; }
INLINE V least(V a, V b) { return _mm_min_ps(a, b); }
INLINE V most(V a, V b) { return _mm_max_ps(a, b); }
#elif defined __aarch64__
INLINE V fma(V a, V b, V c) { return (V)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
INLINE V least(V a, V b) { return (V)vminq_f32((float32x4_t)a, (float32x4_t)b); }  // NaN where one is NaN
INLINE V most(V a, V b) { return (V)vmaxq_f32((float32x4_t)a, (float32x4_t)b); }
#endif

// Keep a loaded value in its register. GCC folds the load into each operation that uses it, and is bound by loads.
INLINE V keep(V v) {
#if defined __x86_64__ && !defined __clang__
  asm("" : "+v"(v));
#endif
  return v;
}

}  // namespace SUBPIXEL_ISA
