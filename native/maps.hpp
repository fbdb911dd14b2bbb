// How feature maps lie in memory: in tiles of 4 x 4 pixels, and the columns of a tile apart from each other.
//
//   a row of maps:  [channel][column x mod 4][tile x / 4]        stride: floats from one column's tiles to the next
//
// So a vector holds the same column of neighbouring tiles, and no kernel ever shuffles: Winograd's transforms combine
// columns of a tile, and a convolution at column x + dx reads column (x + dx) mod 4 of tile (x + dx) / 4.
#pragma once
#include "vectors.hpp"

namespace SUBPIXEL_ISA {

constexpr int TILE = 4;                               // rows and columns that Winograd gives at once; a band's rows
constexpr int VECTORS = 3;                            // at most in a chunk; each weight serves all of them
constexpr int CHUNK = VECTORS * LANES;                // tiles of the widest chunk
constexpr int MAX_KERNEL_SIZE = 31;                   // as in network.py
constexpr int MAX_ROWS = TILE + MAX_KERNEL_SIZE - 1;  // that a band of a convolution reads

// Rows of maps, from one tile on.
struct Maps {
  float *row[MAX_ROWS];
  int64_t stride;

  float *at(int y, int channel, int x) const { return row[y] + (channel * TILE + x % TILE) * stride + x / TILE; }
};

INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
// Return length / step, rounded up.
INLINE int divide_up(int64_t length, int64_t step) { return (int)((length + step - 1) / step); }

}  // namespace SUBPIXEL_ISA
