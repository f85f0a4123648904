// What the Hopper kernels of range attention share: tiles in shared memory,
// products over whole tiles, masks.

#ifndef RTPURBO_KERNELS_CUDA_RANGE_TILES_SM90_CUH_
#define RTPURBO_KERNELS_CUDA_RANGE_TILES_SM90_CUH_

#include <cstdint>

#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/range_items.cuh"
#include "kernels/cuda/wgmma.cuh"

namespace rtpurbo::kernels::cuda {

inline constexpr int kGroup = 128;             // threads of a warpgroup
inline constexpr int kConsumers = 2 * kGroup;  // threads that compute
inline constexpr int kConsumerWarps = kConsumers / 32;
inline constexpr int kBlock = kGroup + kConsumers;
inline constexpr int kGroupRows = kTile / 2;  // rows of M of a warpgroup
inline constexpr int kZeroed = 3;             // a named barrier
inline constexpr float kLog2E = 1.4426950408889634F;
inline constexpr float kNone = -INFINITY;
// setmaxnreg: (40 + 2 x 232) x 128 registers fit in a multiprocessor.
inline constexpr int kProducerRegisters = 40;
inline constexpr int kConsumerRegisters = 232;

// A tile of kRows x kWidth bf16 in panels of 64 (width 32: 32) columns.
template <int kWidth, int kRows>
struct Layout {
  static constexpr int kRowBytes = kWidth >= 64 ? 128 : 64;  // of a panel
  static constexpr int kColumns = kRowBytes / 2;
  static constexpr int kPanels = kWidth / kColumns;
  static constexpr int kPanel = kRows * kRowBytes;
  static constexpr int kBytes = kPanels * kPanel;

  __device__ static std::uint64_t Describe(const char* tile) {
    return Descriptor<kRowBytes>(SharedAddress(tile), kPanel);
  }
  // From the tile's begin to the 16 columns of a step along the width.
  __device__ static constexpr int Step(int step) {
    return step * 32 / kRowBytes * kPanel + step * 32 % kRowBytes;
  }
  // Copies without announcing the bytes.
  __device__ static void Load(const CUtensorMap& map, char* to, Barrier* full,
                              int head, int row) {
#pragma unroll
    for (int panel = 0; panel < kPanels; ++panel) {
      CopyBox(map, to + panel * kPanel, full, panel * kColumns, head, row);
    }
  }
};

// D = A B^T, issued: both tiles' rows run along the width. `a` is advanced to
// the warpgroup's rows.
template <int kWidth, int kRowsA, int kRowsB>
__device__ inline void IssueScores(float (&d)[kRowsB / 2], std::uint64_t a,
                                   std::uint64_t b) {
  WgmmaFence();
#pragma unroll
  for (int step = 0; step < kWidth / 16; ++step) {
    WgmmaShared(d, Advance(a, Layout<kWidth, kRowsA>::Step(step)),
                Advance(b, Layout<kWidth, kRowsB>::Step(step)), step);
  }
  WgmmaCommit();
}

// D += A B, issued: A [64, kRows] in registers, B a tile of kRows rows.
template <int kWidth, int kRows>
__device__ inline void IssueSum(float (&d)[kWidth / 2],
                                const std::uint32_t (&a)[kRows / 4],
                                std::uint64_t b) {
  WgmmaFence();
#pragma unroll
  for (int step = 0; step < kRows / 16; ++step) {
    WgmmaRegisters(d, a + 4 * step,
                   Advance(b, step * 16 * Layout<kWidth, kRows>::kRowBytes));
  }
  WgmmaCommit();
}

template <int kCount>
__device__ inline void Pack(const float (&s)[kCount],
                            std::uint32_t (&p)[kCount / 2]) {
#pragma unroll
  for (int i = 0; i < kCount / 2; ++i) {
    p[i] = PackBf16(s[2 * i], s[2 * i + 1]);
  }
}

// Scores [64 query rows, kTile keys]: those that row r of this thread's two may
// not see become -infinity.
__device__ inline void Mask(const RowBounds (&rows)[2], int sinks, int key,
                            float (&s)[kTile / 2]) {
  const int base = key + 2 * (static_cast<int>(threadIdx.x) % 4);
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int right = rows[r].position - base;
    const int left = rows[r].left - base;
    const int sink_begin = rows[r].document - base;
    const int sink_end = sink_begin + sinks;
#pragma unroll
    for (int i = 0; i < kTile / 4; ++i) {
      const int column = i / 2 * 8 + i % 2;
      const bool visible =
          column <= right &&
          (column >= left || (column >= sink_begin && column < sink_end));
      float& score = s[i / 2 * 4 + r * 2 + i % 2];
      score = visible ? score : kNone;
    }
  }
}

// Both consumers zero the rows of a key or value tile that no row of the item
// sees: they may hold NaN, and 0 x NaN would spoil a sum over keys.
template <int kWidth>
__device__ inline void ZeroInvisible(const RangeItem& item, int sinks, int key,
                                     char* tile) {
  using L = Layout<kWidth, kTile>;
  constexpr int kPieces = L::kRowBytes / 16;
  for (int i = static_cast<int>(threadIdx.x) - kGroup;
       i < kTile * L::kPanels * kPieces; i += kConsumers) {
    if (!item.Visible(key + i / kPieces % kTile, sinks)) {
      *reinterpret_cast<uint4*>(tile + 16 * i) = uint4{0, 0, 0, 0};
    }
  }
  FenceAsyncProxy();
  NamedWait(kZeroed, kConsumers);
}

// One arrival for each warp.
__device__ inline void Release(Barrier* empty) {
  if (threadIdx.x % 32 == 0) {
    Arrive(empty);
  }
}

// Through which one producing thread passes item numbers on to the consumers.
struct ItemRing {
  static constexpr int kSlots = 2;
  Barrier full[kSlots], empty[kSlots];
  int item[kSlots];

  __device__ void Init() {
    for (int i = 0; i < kSlots; ++i) {
      BarrierInit(&full[i], 1);
      BarrierInit(&empty[i], kConsumerWarps);
    }
  }
  __device__ void Put(int index, Stage<kSlots>* slot) {
    Wait(&empty[slot->index], slot->lap ^ 1);
    item[slot->index] = index;
    Arrive(&full[slot->index]);
    slot->Next();
  }
  __device__ int Take(Stage<kSlots>* slot) {
    Wait(&full[slot->index], slot->lap);
    const int index = item[slot->index];
    __syncwarp();
    Release(&empty[slot->index]);
    slot->Next();
    return index;
  }
};

// The first address of dynamic shared memory that a swizzled tile may have.
__device__ inline char* AlignTiles(char* memory) {
  constexpr std::uint32_t kAlignment = 1024;
  return memory +
         (kAlignment - SharedAddress(memory) % kAlignment) % kAlignment;
}

}  // namespace rtpurbo::kernels::cuda

#endif  // RTPURBO_KERNELS_CUDA_RANGE_TILES_SM90_CUH_
