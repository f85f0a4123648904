// Alignment KL on Hopper: what its kernels read, packed once so that every
// operand is a tile of consecutive rows.
//
// Projected rows x and y are f32, and rounding them would spoil a gradient that
// is the difference of two nearly equal weights. They are packed as two bf16
// halves, value = high + low, 16 columns each, and
//   x.y = high.high + high.low + low.high
// on tensor cores is exact to 2^-16.

#ifndef RTPURBO_KERNELS_CUDA_ALIGNMENT_KL_SM90_CUH_
#define RTPURBO_KERNELS_CUDA_ALIGNMENT_KL_SM90_CUH_

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/alignment_kl.h"
#include "kernels/cuda/range_items.cuh"
#include "kernels/cuda/range_tiles_sm90.cuh"

namespace rtpurbo::kernels::cuda {

inline constexpr int kHalves = 32;  // columns of a packed projection
inline constexpr int kMaxAlignmentSlots = 256;

// What is known of kTile rows of a slot. Rows that do not exist stand before
// all keys, in a document behind all keys.
struct AlignmentRows {
  std::int32_t position[kTile];
  std::int32_t document[kTile];
  float full[kTile];  // log-sums / ln 2
  float proj[kTile];
};

struct TileSpan {
  std::int32_t begin;
  std::int32_t end;
};

// In the workspace.
struct PackedAlignment {
  BFloat16* q_MSC;
  BFloat16* x_MSX;      // X = kHalves
  BFloat16* y_TSX;      // zeros for keys that no row sees
  AlignmentRows* rows;  // [S, row_tiles]
  TileSpan* keys;       // [row_tiles], tiles of keys that some row sees
  TileSpan* seeing;     // [key_tiles], tiles of rows that see some key
  int row_tiles;
  int key_tiles;
};

struct AlignmentHeads {
  std::int16_t head[kMaxAlignmentSlots];
  std::int16_t kv_head[kMaxAlignmentSlots];
};

PackedAlignment PlacePacked(const AlignmentShape& shape, void* workspace,
                            std::int64_t* num_bytes);
void PackAlignment(const AlignmentShape& shape, const AlignmentHeads& heads,
                   const AlignmentPointers<BFloat16>& in,
                   const PackedAlignment& packed, cudaStream_t stream);

using Halves = Layout<kHalves, kTile>;

struct AlignmentMaps {
  CUtensorMap q, x, k, y;
};

struct AlignmentArgs {
  PackedAlignment packed;
  AlignmentHeads heads;
  int S, M, T, R;
  float scale;
  float grad_scale;
  float* kl_SM;
  float* grad;  // dx_MSR or dy_TSR, or null
};

// The item of this block in each wave of blocks. Items get shorter, so every
// second wave runs backwards: who got the longest then gets the shortest.
__device__ inline int ItemOfWave(int wave) {
  const unsigned place =
      wave % 2 == 0 ? blockIdx.x : gridDim.x - 1 - blockIdx.x;
  return wave * static_cast<int>(gridDim.x) + static_cast<int>(place);
}

// The owned tile, and the tiles to stream past it.
template <bool kKeys>
struct AlignmentItem {
  int slot;
  int tile;
  TileSpan span;
  // Those that stream most come first.
  __device__ AlignmentItem(const AlignmentArgs& args, int index) {
    slot = index % args.S;
    const int place = index / args.S;
    tile = kKeys ? place : args.packed.row_tiles - 1 - place;
    span = kKeys ? args.packed.seeing[tile] : args.packed.keys[tile];
  }
  __device__ static int Count(const AlignmentArgs& args) {
    return args.S * (kKeys ? args.packed.key_tiles : args.packed.row_tiles);
  }
  __device__ AlignmentRows* Rows(const AlignmentArgs& args,
                                 int row_tile) const {
    return args.packed.rows + std::int64_t{slot} * args.packed.row_tiles +
           row_tile;
  }
};

// x.y of two tiles of halves, issued.
__device__ inline void IssueHalves(float (&p)[kTile / 2], std::uint64_t own,
                                   std::uint64_t stream) {
  constexpr int kLow = Halves::Step(1);
  WgmmaFence();
  WgmmaShared(p, own, stream, 0);
  WgmmaShared(p, own, Advance(stream, kLow), 1);
  WgmmaShared(p, Advance(own, kLow), stream, 1);
  WgmmaCommit();
}

// The owned rows of a thread: two, `at` and at + 8 of the tile.
struct OwnRows {
  int position[2];
  int document[2];
  float full[2];
  float proj[2];
  __device__ OwnRows(const AlignmentRows& rows, int at) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      position[r] = rows.position[at + 8 * r];
      document[r] = rows.document[at + 8 * r];
      full[r] = rows.full[at + 8 * r];
      proj[r] = rows.proj[at + 8 * r];
    }
  }
};

// The column of score i of this thread.
__device__ constexpr int Column(int i) {
  return i / 4 * 8 + i % 2;
}

// Whether some row of the tile does not see some key of the tile at `key`.
__device__ inline bool IsPartial(const AlignmentRows& rows, int key) {
  return key + kTile - 1 > rows.position[0] || key < rows.document[kTile - 1];
}

// Writes rows[..].proj.
void AlignmentLogSumsSm90(const AlignmentMaps& maps, const AlignmentArgs& args,
                          cudaStream_t stream);

}  // namespace rtpurbo::kernels::cuda

#endif  // RTPURBO_KERNELS_CUDA_ALIGNMENT_KL_SM90_CUH_
