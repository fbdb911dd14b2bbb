/* The peak rate of one core in float32: multiply-adds of vectors that never leave their registers. */

/* Independent chains keep every unit busy: a multiply-add takes 4 cycles, and up to 4 start in a cycle. Where
   there are 16 registers, two of them hold the constants, and 2 units need no more than 8 chains. */
#if defined(__AVX512F__)
enum { BYTES = 64, CHAINS = 16 };
#elif defined(__AVX__)
enum { BYTES = 32, CHAINS = 12 };
#elif defined(__ARM_NEON)
enum { BYTES = 16, CHAINS = 16 };
#else
enum { BYTES = 16, CHAINS = 12 };
#endif

typedef float vector __attribute__((vector_size(BYTES)));

const double operations_of_a_step = 2.0 * CHAINS * BYTES / sizeof(float);

/* Run the chains, and return their sum, without which a compiler would leave them out. */
float probe(long long steps) {
    const vector half = (vector){0} + 0.5f, one = (vector){0} + 1.0f;
    vector chain[CHAINS], sum = {0};
    for (int i = 0; i < CHAINS; i++) chain[i] = one * (float)i;
    for (long long step = 0; step < steps; step++)
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS; i++) chain[i] = chain[i] * half + one; /* tends to 2: no value overflows */
    for (int i = 0; i < CHAINS; i++) sum += chain[i];
    return sum[0];
}
