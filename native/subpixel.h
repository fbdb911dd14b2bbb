/* The C interface of the native engine: LR networks on the CPU, in one pass over the image, in float32. */
#ifndef SUBPIXEL_H
#define SUBPIXEL_H

#include <stdint.h>

#ifdef _WIN32
#define SUBPIXEL_API __declspec(dllexport)
#else
#define SUBPIXEL_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The activation that follows a convolution. Sloped: max(x, 0) + slope * min(x, 0), for leaky ReLU and PReLU. */
enum { SUBPIXEL_IDENTITY, SUBPIXEL_TANH, SUBPIXEL_RELU, SUBPIXEL_SLOPED };

/* The type of pixels. Integers stand for 0..1: code / 255, code / 65535. */
enum { SUBPIXEL_FLOAT32, SUBPIXEL_UINT8, SUBPIXEL_UINT16 };

/* An unpadded convolution of odd kernel size. */
typedef struct {
  int32_t kernel_size, in_channels, out_channels, activation;
  const float *weight; /* (out_channels, in_channels, kernel_size, kernel_size) */
  const float *bias;   /* (out_channels) */
  const float *slope;  /* (out_channels) where the activation is sloped, else not read */
} subpixel_convolution;

/* An LR network. The last convolution gives channels * upscale_factor**2 outputs, as PyTorch's pixel_shuffle takes
   them. The skip is a separable interpolation of the image itself: output phase (py, px) has the taps
   skip[py][ty] * skip[px][tx], which sum to one; skip_taps is 5 (bicubic), 1 (nearest), or 0 for no skip.

   Planes are taken less one half, and results are given plus one half: give the network x -> f(x + 0.5) - 0.5. */
typedef struct {
  int32_t upscale_factor, channels, convolutions, skip_taps;
  const subpixel_convolution *convolution;
  const float *skip; /* (upscale_factor, skip_taps); not read where skip_taps is 0 */
} subpixel_network;

/* Pixels in memory: the first one, the type, and the distances in bytes from each plane, row and pixel to the next. */
typedef struct {
  void *data;
  int64_t plane, row, pixel;
  int32_t type;
} subpixel_planes;

typedef struct subpixel_plan subpixel_plan; /* a network made ready for an instruction set */
typedef struct subpixel_job subpixel_job;   /* one run of it over one image */

/* Return the name of an instruction set that this processor has, the best first; NULL after the last. */
SUBPIXEL_API const char *subpixel_isa(int32_t index);

/* Make a network ready; everything is copied. NULL where the network is not valid, or memory is missing. */
SUBPIXEL_API subpixel_plan *subpixel_plan_make(const subpixel_network *network, int32_t isa_index);
SUBPIXEL_API void subpixel_plan_free(subpixel_plan *plan);

/* Begin a run over an image. With m the radius of the network, the planes are (channels, height + 2m + extra,
   width + 2m + extra), and the result is (channels, upscale_factor * height, upscale_factor * width). Both stay the
   caller's, and must live until the job is freed. At most `threads` threads will work. NULL where a size or a type is
   not valid, or memory is missing.

   Pixels of `extra`, after the context on the right and below, do not change a result beyond rounding. Where there are
   as many as the sum over the layers of 4 ceil((k - 1) / 4) - (k - 1), with k the kernel size, the result of a part of
   an image is bit for bit that of the whole, if parts start at multiples of 4 pixels. */
SUBPIXEL_API subpixel_job *subpixel_job_make(subpixel_plan *plan, const subpixel_planes *planes,
                                             const subpixel_planes *result, int64_t height, int64_t width,
                                             int64_t extra, int32_t threads);

/* Work on a job until no block of the image is left to take. Several threads may do so at once, and each may come late
   or never: the job is finished when all calls have returned. */
SUBPIXEL_API void subpixel_job_work(subpixel_job *job);

/* Free a job on which no thread works any more. Return 1 if a result was NaN, else 0. */
SUBPIXEL_API int32_t subpixel_job_free(subpixel_job *job);

#ifdef __cplusplus
}
#endif
#endif
