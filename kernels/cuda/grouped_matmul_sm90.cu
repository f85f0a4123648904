// One product per expert on Hopper, bf16.
//
// Persistent blocks of a producer and two consumer warpgroups. A block's tile
// is 128 x 256 of one expert: each consumer has 64 rows, in two products of 128
// columns a step. A step is 64 of k; four stages of A (16 KB) and B (32 KB).
// Tiles are counted over the experts' rows on the device, where their numbers
// are known; a tile's last rows may be a neighbour's, and are not stored.
//
// Three forms share the loop: c = a w^T (k runs along the rows of both), c = a
// w (k runs over the rows of w), and dw = a^T b (over the rows of both; rows of
// the last step that belong to the next expert are zeroed in shared memory).

#include <algorithm>

#include "kernels/core/check.h"
#include "kernels/cuda/grouped_matmul.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/range_tiles_sm90.cuh"
#include "kernels/cuda/tensor_map.h"

namespace rtpurbo::kernels::cuda {
namespace {

constexpr int kRows = 128;
constexpr int kColumns = 256;
constexpr int kHalf = kColumns / 2;
constexpr int kDepth = 64;
constexpr int kStages = 4;
constexpr int kRowBytes = 128;              // of a panel of 64 columns
constexpr int kPanel = kDepth * kRowBytes;  // 64 rows
constexpr int kABytes = kRows * kDepth * 2;
constexpr int kBBytes = kColumns * kDepth * 2;

enum class Form { kTransposedW, kPlainW, kWeightGrad };

// Sizes of one form. The k of a weight gradient is an expert's rows.
struct Problem {
  int experts;
  int m;      // rows of the result of one expert; of c: read from offset
  int n;      // columns
  int depth;  // k; of a weight gradient: read from offset
};

struct TileOf {
  int expert;
  int row;  // of the result, or of a
  int row_end;
  int column;
  int k_begin;
  int k_end;
};

// Walks the tiles of all experts in order; `index` only grows.
struct TileWalk {
  int expert = 0;
  int before = 0;  // tiles of the experts before
  template <Form kForm>
  __device__ bool Find(const Problem& problem, const std::int32_t* offset,
                       int index, TileOf* tile) {
    const int columns = (problem.n + kColumns - 1) / kColumns;
    for (; expert < problem.experts; ++expert) {
      const int begin = offset[expert];
      const int end = offset[expert + 1];
      const int rows = kForm == Form::kWeightGrad ? problem.m : end - begin;
      const int row_tiles = kForm == Form::kWeightGrad && begin == end
                                ? 0
                                : (rows + kRows - 1) / kRows;
      const int place = index - before;
      if (place < row_tiles * columns) {
        const int row = place % row_tiles * kRows;
        tile->expert = expert;
        tile->column = place / row_tiles * kColumns;
        tile->row = kForm == Form::kWeightGrad ? row : begin + row;
        tile->row_end = kForm == Form::kWeightGrad ? problem.m : end;
        tile->k_begin = kForm == Form::kWeightGrad ? begin : 0;
        tile->k_end = kForm == Form::kWeightGrad ? end : problem.depth;
        return true;
      }
      before += row_tiles * columns;
    }
    return false;
  }
};

struct Rings {
  Barrier full[kStages], empty[kStages];
};

struct Shared {
  char* tiles;
  __device__ char* A(int stage) const { return tiles + stage * kABytes; }
  __device__ char* B(int stage) const {
    return tiles + kStages * kABytes + stage * kBBytes;
  }
  __device__ Rings& rings() const {
    return *reinterpret_cast<Rings*>(tiles + kStages * (kABytes + kBBytes));
  }
  static constexpr int kBytes =
      1024 + kStages * (kABytes + kBBytes) + sizeof(Rings);
};

// A tile whose k runs along rows is one panel of `rows` rows; one whose k runs
// over rows is a panel of 64 rows for each 64 columns.
template <Form kForm>
__device__ void Produce(const CUtensorMap& map_a, const CUtensorMap& map_b,
                        const Problem& problem, const std::int32_t* offset,
                        const Shared& shared) {
  Rings& ring = shared.rings();
  Stage<kStages> stage;
  TileWalk walk;
  TileOf tile;
  for (int index = static_cast<int>(blockIdx.x);
       walk.Find<kForm>(problem, offset, index, &tile);
       index += static_cast<int>(gridDim.x)) {
    for (int k = tile.k_begin; k < tile.k_end; k += kDepth) {
      Barrier* full = &ring.full[stage.index];
      char* a = shared.A(stage.index);
      char* b = shared.B(stage.index);
      Wait(&ring.empty[stage.index], stage.lap ^ 1);
      ArriveExpect(full, kABytes + kBBytes);
      if constexpr (kForm == Form::kWeightGrad) {
        for (int p = 0; p < kRows / kDepth; ++p) {
          CopyBox(map_a, a + p * kPanel, full, tile.row + p * 64, 0, k);
        }
        for (int p = 0; p < kColumns / 64; ++p) {
          CopyBox(map_b, b + p * kPanel, full, tile.column + p * 64, 0, k);
        }
      } else {
        CopyBox(map_a, a, full, k, 0, tile.row);
        if constexpr (kForm == Form::kTransposedW) {
          CopyBox(map_b, b, full, k, 0, tile.expert * problem.n + tile.column);
        } else {
          for (int p = 0; p < kColumns / 64; ++p) {
            CopyBox(map_b, b + p * kPanel, full, tile.column + p * 64, 0,
                    tile.expert * problem.depth + k);
          }
        }
      }
      stage.Next();
    }
  }
}

// The rows from `rows` on of panels of 64 rows become zero.
__device__ void ZeroRows(char* tile, int bytes, int rows) {
  for (int i = static_cast<int>(threadIdx.x) - kGroup; i < bytes / 16;
       i += kConsumers) {
    if (i * 16 / kRowBytes % kDepth >= rows) {
      *reinterpret_cast<uint4*>(tile + 16 * i) = uint4{0, 0, 0, 0};
    }
  }
}

// One step of 64 of k for the group's 64 rows and 2 x 128 columns.
template <Form kForm>
__device__ void IssueStep(float (&low)[kHalf / 2], float (&high)[kHalf / 2],
                          const char* a, const char* b, int group, int add) {
  constexpr int kTransA = kForm == Form::kWeightGrad ? 1 : 0;
  constexpr int kTransB = kForm == Form::kTransposedW ? 0 : 1;
  // The group's rows begin a panel (a^T), or lie 64 rows further in one.
  static_assert(kPanel == kGroupRows * kRowBytes);
  const auto rows = Descriptor<kRowBytes>(
      SharedAddress(a) + group * kGroupRows * kRowBytes, kPanel);
  const auto columns = Descriptor<kRowBytes>(SharedAddress(b), kPanel);
  // 128 columns further: two panels, or 128 rows of the one panel.
  constexpr int kHalfBytes = 2 * kPanel;
  constexpr int kStepA = kTransA != 0 ? 16 * kRowBytes : 32;
  constexpr int kStepB = kTransB != 0 ? 16 * kRowBytes : 32;
#pragma unroll
  for (int step = 0; step < kDepth / 16; ++step) {
    const auto x = Advance(rows, step * kStepA);
    const auto y = Advance(columns, step * kStepB);
    WgmmaShared<kTransA, kTransB>(low, x, y, add | step);
    WgmmaShared<kTransA, kTransB>(high, x, Advance(y, kHalfBytes), add | step);
  }
  WgmmaCommit();
}

// v[i] of lane q of four becomes v[q] of lane i.
__device__ void TransposeQuad(std::uint32_t (&v)[4]) {
  const unsigned lane = threadIdx.x % 4;
#pragma unroll
  for (int i = 0; i < 4; i += 2) {
    const bool odd = (lane & 1) != 0;
    const std::uint32_t got = __shfl_xor_sync(~0U, odd ? v[i] : v[i + 1], 1);
    (odd ? v[i] : v[i + 1]) = got;
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const bool high = (lane & 2) != 0;
    const std::uint32_t got = __shfl_xor_sync(~0U, high ? v[i] : v[i + 2], 2);
    (high ? v[i] : v[i + 2]) = got;
  }
}

// 16 bytes a store: four lanes exchange four blocks of 8 columns.
__device__ void StoreHalf(const Problem& problem, const TileOf& tile, int group,
                          int column, const float (&d)[kHalf / 2],
                          BFloat16* __restrict__ c) {
  const int thread = static_cast<int>(threadIdx.x) % kGroup;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const std::int64_t row = tile.row + group * kGroupRows + thread / 32 * 16 +
                             thread % 32 / 4 + 8 * r;
#pragma unroll
    for (int j = 0; j < kHalf / 8; j += 4) {
      std::uint32_t v[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        v[i] = PackBf16(d[4 * (j + i) + 2 * r], d[4 * (j + i) + 2 * r + 1]);
      }
      TransposeQuad(v);
      const int at = column + 8 * (j + thread % 4);
      if (row < tile.row_end && at < problem.n) {
        *reinterpret_cast<uint4*>(c + row * problem.n + at) =
            uint4{v[0], v[1], v[2], v[3]};
      }
    }
  }
}

// Each element is added to once, so that the atomics leave nothing to chance:
// they only save the wait for the old value.
__device__ void AddHalf(const Problem& problem, const TileOf& tile, int group,
                        int column, const float (&d)[kHalf / 2],
                        float* __restrict__ dw) {
  const int thread = static_cast<int>(threadIdx.x) % kGroup;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const std::int64_t row = tile.row + group * kGroupRows + thread / 32 * 16 +
                             thread % 32 / 4 + 8 * r;
    if (row < tile.row_end) {
#pragma unroll
      for (int j = 0; j < kHalf / 8; ++j) {
        const int at = column + 8 * j + 2 * (thread % 4);
        if (at < problem.n) {
          atomicAdd(
              reinterpret_cast<float2*>(
                  dw +
                  (std::int64_t{tile.expert} * problem.m + row) * problem.n +
                  at),
              float2{d[4 * j + 2 * r], d[4 * j + 2 * r + 1]});
        }
      }
    }
  }
}

template <Form kForm, typename Out>
__device__ void Consume(const Problem& problem, const std::int32_t* offset,
                        int group, Out* __restrict__ out,
                        const Shared& shared) {
  Rings& ring = shared.rings();
  Stage<kStages> stage;
  TileWalk walk;
  TileOf tile;
  for (int index = static_cast<int>(blockIdx.x);
       walk.Find<kForm>(problem, offset, index, &tile);
       index += static_cast<int>(gridDim.x)) {
    float low[kHalf / 2] = {};
    float high[kHalf / 2] = {};
    int previous = -1;
    for (int k = tile.k_begin; k < tile.k_end; k += kDepth) {
      Wait(&ring.full[stage.index], stage.lap);
      if (kForm == Form::kWeightGrad && tile.k_end - k < kDepth) {
        ZeroRows(shared.A(stage.index), kABytes, tile.k_end - k);
        ZeroRows(shared.B(stage.index), kBBytes, tile.k_end - k);
        FenceAsyncProxy();
        NamedWait(kZeroed, kConsumers);
      }
      WgmmaFence();
      IssueStep<kForm>(low, high, shared.A(stage.index), shared.B(stage.index),
                       group, 1);
      WgmmaWait<1>();
      if (previous >= 0) {
        Release(&ring.empty[previous]);
      }
      previous = stage.index;
      stage.Next();
    }
    WgmmaWait<0>();
    PinRegisters(low);
    PinRegisters(high);
    if (previous >= 0) {
      Release(&ring.empty[previous]);
    }
    if constexpr (kForm == Form::kWeightGrad) {
      AddHalf(problem, tile, group, tile.column, low, out);
      AddHalf(problem, tile, group, tile.column + kHalf, high, out);
    } else {
      StoreHalf(problem, tile, group, tile.column, low, out);
      StoreHalf(problem, tile, group, tile.column + kHalf, high, out);
    }
  }
}

template <Form kForm, typename Out>
__global__ void __launch_bounds__(kBlock, 1)
    GroupedKernel(const __grid_constant__ CUtensorMap map_a,
                  const __grid_constant__ CUtensorMap map_b, Problem problem,
                  const std::int32_t* __restrict__ offset,
                  Out* __restrict__ out) {
  extern __shared__ char memory[];
  const Shared shared{AlignTiles(memory)};
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; ++i) {
      BarrierInit(&shared.rings().full[i], 1);
      BarrierInit(&shared.rings().empty[i], kConsumerWarps);
    }
    BarrierInitFence();
  }
  __syncthreads();
  const int group = __shfl_sync(~0U, static_cast<int>(threadIdx.x) / kGroup, 0);
  if (group == 0) {
    LowerRegisters<kProducerRegisters>();
    if (threadIdx.x == 0) {
      Produce<kForm>(map_a, map_b, problem, offset, shared);
    }
  } else {
    RaiseRegisters<kConsumerRegisters>();
    Consume<kForm>(problem, offset, group - 1, out, shared);
  }
}

template <Form kForm, typename Out>
void Run(const CUtensorMap& map_a, const CUtensorMap& map_b,
         const Problem& problem, const std::int32_t* offset, Out* out,
         void* stream) {
  const auto kernel = GroupedKernel<kForm, Out>;
  CHECK(cudaFuncSetAttribute(kernel,
                             cudaFuncAttributeMaxDynamicSharedMemorySize,
                             Shared::kBytes) == cudaSuccess);
  kernel<<<NumMultiprocessors(), kBlock, Shared::kBytes,
           static_cast<cudaStream_t>(stream)>>>(map_a, map_b, problem, offset,
                                                out);
  CheckLaunch();
}

}  // namespace

bool HasGroupedMatmulSm90(const void* a, const void* b, std::int64_t width_a,
                          std::int64_t width_b) {
  constexpr std::int64_t kMultiple = 8;  // elements in 16 bytes
  const auto addresses =
      reinterpret_cast<std::uintptr_t>(a) | reinterpret_cast<std::uintptr_t>(b);
  return IsHopper() && width_a % kMultiple == 0 && width_b % kMultiple == 0 &&
         width_a >= 64 && width_b >= 64 && addresses % 16 == 0;
}

void GroupedMatmulSm90(const GroupedShape& shape, const BFloat16* a_NK,
                       const std::int32_t* offset_E, const BFloat16* w_EXY,
                       BFloat16* c_NM, void* stream) {
  const Problem problem = {static_cast<int>(shape.E), 0,
                           static_cast<int>(shape.M),
                           static_cast<int>(shape.K)};
  const CUtensorMap a = MakeTensorMap(a_NK, shape.N, 1, shape.K, kRows);
  if (shape.trans_w) {
    Run<Form::kTransposedW>(
        a, MakeTensorMap(w_EXY, shape.E * shape.M, 1, shape.K, kColumns),
        problem, offset_E, c_NM, stream);
  } else {
    Run<Form::kPlainW>(
        a, MakeTensorMap(w_EXY, shape.E * shape.K, 1, shape.M, kDepth), problem,
        offset_E, c_NM, stream);
  }
}

void GroupedMatmulWeightGradSm90(const GroupedGradShape& shape,
                                 const BFloat16* a_NX, const BFloat16* b_NY,
                                 const std::int32_t* offset_E, float* dw_EXY,
                                 void* stream) {
  const Problem problem = {static_cast<int>(shape.E), static_cast<int>(shape.X),
                           static_cast<int>(shape.Y), 0};
  Run<Form::kWeightGrad>(MakeTensorMap(a_NX, shape.N, 1, shape.X, kDepth),
                         MakeTensorMap(b_NY, shape.N, 1, shape.Y, kDepth),
                         problem, offset_E, dw_EXY, stream);
}

}  // namespace rtpurbo::kernels::cuda
