// Selection of key blocks in one launch, without sorting.
//
// A thread block scores a piece of the key blocks of one row (slot and query):
// a warp reduces each to its maximum m and the sum l of exp(p - m) and writes
// both to scratch. The thread block of a row that finishes last (a counter)
// reads them back from L2 and selects: a histogram of block masses in 64-bit
// fixed point below the row's true maximum, so that sums do not depend on
// order, then the bins from the top until the mass is reached.

#include <algorithm>

#include "kernels/core/check.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/select_scores.cuh"
#include "kernels/cuda/select_top_p.h"

namespace rtpurbo::kernels::cuda {
namespace select {

struct Tops {
  float order;  // highest order, highest m
  float maximum;
};

__device__ Tops FindTops(const Args& args, const Row& row,
                         const float2* score) {
  Tops tops = {kNone, kNone};
  for (std::int64_t b = row.first + threadIdx.x; b <= row.last; b += kThreads) {
    const float2 value = __ldcg(score + b);
    tops.order = fmaxf(tops.order, OrderOf(args, value));
    tops.maximum = fmaxf(tops.maximum, value.x);
  }
  tops.order = BlockReduce(tops.order, Max{});
  tops.maximum = BlockReduce(tops.maximum, Max{});
  return tops;
}

// How many bins from the top reach the mass. By the whole block.
__device__ int BinsToKeep(const Args& args, const Row& row, const float2* score,
                          const Tops& tops) {
  __shared__ Weight weight[kBins];
  __shared__ Weight total;
  __shared__ int bins;
  for (int i = static_cast<int>(threadIdx.x); i < kBins; i += kThreads) {
    weight[i] = 0;
  }
  __syncthreads();
  Weight last = 0;  // of the last bin, where most blocks fall
  for (std::int64_t b = row.first + threadIdx.x; b <= row.last; b += kThreads) {
    const float2 value = __ldcg(score + b);
    const Weight own = WeightOf(value, tops.maximum);
    const int bin = BinOf(OrderOf(args, value), tops.order);
    if (bin == kBins - 1) {
      last += own;
    } else {
      atomicAdd(&weight[bin], own);
    }
  }
  if (last != 0) {
    atomicAdd(&weight[kBins - 1], last);
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    total = 0;
    for (const Weight own : weight) {
      total += own;
    }
    const auto enough = static_cast<Weight>(
        ceil(args.shape.top_p * static_cast<double>(total)));
    Weight sum = 0;
    bins = 0;
    while (bins < kBins && (args.shape.top_p >= 1 || sum < enough)) {
      sum += weight[bins++];
    }
  }
  __syncthreads();
  return bins;
}

// Keys of the blocks that are not forced and not below the threshold.
__device__ std::int64_t KeysFrom(const Args& args, const Row& row,
                                 const float2* score, unsigned threshold) {
  __shared__ unsigned long long sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    sum = 0;
  }
  __syncthreads();
  unsigned long long own = 0;
  for (std::int64_t b = row.first + threadIdx.x; b <= row.last; b += kThreads) {
    if (!row.Forced(args.shape, b) &&
        Sortable(OrderOf(args, __ldcg(score + b))) >= threshold) {
      own += static_cast<unsigned>(row.Keys(b));
    }
  }
  atomicAdd(&sum, own);
  __syncthreads();
  return static_cast<std::int64_t>(sum);
}

__device__ std::int64_t ForcedKeys(const Args& args, const Row& row) {
  std::int64_t keys = 0;
  // Forced blocks are at the ends: walk from both until one is not.
  std::int64_t b = row.first;
  for (; b <= row.last && row.Forced(args.shape, b); ++b) {
    keys += row.Keys(b);
  }
  for (std::int64_t e = row.last; e > b && row.Forced(args.shape, e); --e) {
    keys += row.Keys(e);
  }
  return keys;
}

// Top-k: blocks above `threshold` are kept, and of those at it the first until
// `missing` keys are there.
struct Cut {
  unsigned threshold;
  std::int64_t equal_end;  // blocks at the threshold below this index
};

__device__ Cut FindCut(const Args& args, const Row& row, const float2* score) {
  __shared__ std::int64_t equal_end;
  const std::int64_t missing =
      min(args.shape.top_k, row.position + 1) - ForcedKeys(args, row);
  if (missing <= 0) {
    return {~0U, 0};
  }
  unsigned threshold = 0;  // the highest that still gives enough
  for (int bit = 31; bit >= 0; --bit) {
    const unsigned higher = threshold | 1U << bit;
    if (KeysFrom(args, row, score, higher) >= missing) {
      threshold = higher;
    }
  }
  const std::int64_t above = KeysFrom(args, row, score, threshold + 1);
  if (threadIdx.x == 0) {
    std::int64_t keys = above;
    std::int64_t b = row.first;
    for (; b <= row.last && keys < missing; ++b) {
      if (!row.Forced(args.shape, b) &&
          Sortable(OrderOf(args, __ldcg(score + b))) == threshold) {
        keys += row.Keys(b);
      }
    }
    equal_end = b;
  }
  __syncthreads();
  return {threshold, equal_end};
}

// By the last thread block of the row.
__device__ void Select(const Args& args, const Row& row) {
  __shared__ int kept[2];
  const float2* score = args.score + row.index * args.num_blocks;
  const Tops tops = FindTops(args, row, score);
  const bool by_count = args.shape.top_k_rule;
  const int bins = by_count ? 0 : BinsToKeep(args, row, score, tops);
  const Cut cut = by_count ? FindCut(args, row, score) : Cut{0, 0};
  if (threadIdx.x == 0) {
    kept[0] = 0;
    kept[1] = 0;
  }
  __syncthreads();
  std::int32_t* mask = args.mask_SMB + row.index * args.shape.words;
  const std::int64_t lanes = args.shape.words * kWarpSize;
#pragma unroll 4
  for (std::int64_t b = threadIdx.x; b < lanes; b += kThreads) {
    bool keep = false;
    if (b >= row.first && b <= row.last) {
      const float order = OrderOf(args, __ldcg(score + b));
      const unsigned rank = Sortable(order);
      keep = by_count ? rank > cut.threshold ||
                            (rank == cut.threshold && b < cut.equal_end)
                      : BinOf(order, tops.order) < bins;
      keep = keep || row.Forced(args.shape, b);
    }
    const unsigned word = __ballot_sync(~0U, keep);
    if (threadIdx.x % kWarpSize == 0) {
      mask[b / kWarpSize] = static_cast<std::int32_t>(word);
    }
    if (keep && args.kept_SM2 != nullptr) {
      atomicAdd(&kept[0], row.Keys(b));
      atomicAdd(&kept[1], 1);
    }
  }
  __syncthreads();
  if (threadIdx.x < 2 && args.kept_SM2 != nullptr) {
    args.kept_SM2[row.index * 2 + threadIdx.x] = kept[threadIdx.x];
  }
}

template <int kQuads>
__global__ void SelectKernel(const __grid_constant__ Args args) {
  __shared__ bool is_last;
  const Row row(args, blockIdx.x);
  float4 x = {};
  if constexpr (kQuads > 1) {
    const std::int64_t m = row.index % args.shape.M;
    x = *reinterpret_cast<const float4*>(
        args.x_MSR + (m * args.shape.S + row.s) * args.shape.R +
        threadIdx.x % kQuads * 4);
  }
  const std::int64_t begin = std::int64_t{blockIdx.y} * args.piece_blocks;
  const std::int64_t end = min(begin + args.piece_blocks, row.last + 1);
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  float2* score = args.score + row.index * args.num_blocks;
  for (std::int64_t b = max(begin, row.first) + warp; b < end; b += kWarps) {
    const float2 value = ScoreBlock<kQuads>(args, row, x, b);
    if (threadIdx.x % kWarpSize == 0) {
      score[b] = value;
    }
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    const int before = atomicAdd(&args.done[row.index], 1);
    is_last = before == static_cast<int>(gridDim.y) - 1;
    __threadfence();
  }
  __syncthreads();
  if (is_last) {
    Select(args, row);
  }
}

std::int64_t NumBlocks(const SelectShape& shape) {
  return (shape.query_begin + shape.M - 1) / shape.block + 1;
}

}  // namespace select

namespace {

bool IsAligned(const void* p) {
  return reinterpret_cast<std::uintptr_t>(p) % 16 == 0;
}

}  // namespace

std::int64_t SelectWorkspace(const SelectShape& shape) {
  const std::int64_t rows = shape.S * shape.M;
  return rows * (select::NumBlocks(shape) * std::int64_t{sizeof(float2)} +
                 std::int64_t{sizeof(int)});
}

void SelectTopP(const SelectShape& shape, const float* x_MSR,
                const float* y_NSR, const std::int32_t* document_N,
                std::int32_t* mask_SMB, std::int32_t* kept_SM2, void* workspace,
                void* stream) {
  const std::int64_t rows = shape.S * shape.M;
  if (rows == 0) {
    return;
  }
  auto* score = static_cast<float2*>(workspace);
  auto* done = reinterpret_cast<int*>(score + rows * select::NumBlocks(shape));
  const std::int64_t piece =
      std::max<std::int64_t>(1, select::kPieceKeys / shape.block);
  const select::Args args = {shape,      x_MSR,    y_NSR,
                             document_N, mask_SMB, kept_SM2,
                             score,      done,     select::NumBlocks(shape),
                             piece};
  const auto queue = static_cast<cudaStream_t>(stream);
  CHECK(cudaMemsetAsync(done, 0, static_cast<std::size_t>(rows) * sizeof(int),
                        queue) == cudaSuccess);
  // All rows of a piece run side by side: they share its lines.
  const dim3 grid(
      static_cast<unsigned>(rows),
      static_cast<unsigned>((select::NumBlocks(shape) + piece - 1) / piece));
  const bool quads = IsAligned(x_MSR) && IsAligned(y_NSR);
  const auto kernel = quads && shape.R == 8    ? select::SelectKernel<2>
                      : quads && shape.R == 16 ? select::SelectKernel<4>
                      : quads && shape.R == 32 ? select::SelectKernel<8>
                                               : select::SelectKernel<1>;
  kernel<<<grid, kThreads, 0, queue>>>(args);
  CheckLaunch();
}

}  // namespace rtpurbo::kernels::cuda
