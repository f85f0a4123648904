// Backward of range attention on Hopper: row statistics, then the two kernels
// of range_backward_sm90.cuh.

#include "kernels/core/check.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/range_backward_sm90.cuh"
#include "kernels/cuda/range_tiles_sm90.cuh"

namespace rtpurbo::kernels::cuda {
namespace {

constexpr std::int64_t kCounters = 256;  // bytes

std::int64_t NumQueryTiles(const RangeShape& shape) {
  return (shape.T + kTile - 1) / kTile * (kTile / kQueryTile);
}

// 16 bytes of a row a lane. Rows past the end, and the selected rows of a head
// that has a slot (`first_selected`), count for nothing.
template <int kWidth>
__global__ void StatsKernel(const __grid_constant__ RangeTable table,
                            const BFloat16* __restrict__ o_THC,
                            const BFloat16* __restrict__ do_THC,
                            const float* __restrict__ lse_HT, RowStats stats) {
  constexpr int kLanes = kWidth / 8;
  const std::int64_t index =
      (std::int64_t{blockIdx.x} * kThreads + threadIdx.x) / kLanes;
  const std::int64_t t = index / table.num_heads;
  const int head = static_cast<int>(index % table.num_heads);
  if (t >= std::int64_t{stats.num_tiles} * kQueryTile) {
    return;
  }
  const bool exists = t < table.num_rows;
  float sum = 0;
  if (exists) {
    const std::int64_t offset =
        (t * table.num_heads + head) * kLanes + threadIdx.x % kLanes;
    const uint4 a = reinterpret_cast<const uint4*>(o_THC)[offset];
    const uint4 b = reinterpret_cast<const uint4*>(do_THC)[offset];
    const auto* x = reinterpret_cast<const __nv_bfloat162*>(&a);
    const auto* y = reinterpret_cast<const __nv_bfloat162*>(&b);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 u = __bfloat1622float2(x[i]);
      const float2 v = __bfloat1622float2(y[i]);
      sum = fmaf(u.x, v.x, fmaf(u.y, v.y, sum));
    }
  }
  const unsigned lanes = __activemask();
#pragma unroll
  for (int step = kLanes / 2; step > 0; step /= 2) {
    sum += __shfl_xor_sync(lanes, sum, step);
  }
  if (threadIdx.x % kLanes == 0) {
    RowStats::Tile& tile =
        stats.tiles[std::int64_t{head} * stats.num_tiles + t / kQueryTile];
    const bool counts = exists && t < table.row_limit[head];
    const auto row = t % kQueryTile;
    tile.log_sum[row] =
        counts ? lse_HT[std::int64_t{head} * table.num_rows + t] * kLog2E
               : INFINITY;
    tile.delta[row] = counts ? sum : 0.0F;
    if (head == 0) {
      stats.document[t] = table.Document(
          table.query_begin + min(static_cast<int>(t), table.num_rows - 1));
    }
  }
}

template <int kWidth>
void ComputeStats(const RangeShape& shape, const BFloat16* o,
                  const BFloat16* d_o, const float* lse, const RowStats& stats,
                  void* stream) {
  const std::int64_t lanes =
      std::int64_t{stats.num_tiles} * kQueryTile * shape.H * (kWidth / 8);
  Launch(StatsKernel<kWidth>, (lanes + kThreads - 1) / kThreads, stream,
         MakeRangeTable(shape), o, d_o, lse, stats);
}

}  // namespace

std::int64_t RangeBackwardWorkspace(const RangeShape& shape) {
  const std::int64_t tiles = NumQueryTiles(shape);
  return kCounters + tiles * shape.H * std::int64_t{sizeof(RowStats::Tile)} +
         tiles * kQueryTile * std::int64_t{sizeof(std::int32_t)};
}

void RangeAttentionBackwardSm90(const RangeShape& shape,
                                const RangeGradInputs<BFloat16>& in,
                                BFloat16* dq_THC, BFloat16* dk_NGC,
                                BFloat16* dv_NGC, void* workspace,
                                void* stream) {
  CHECK(HasRangeAttentionSm90(shape)) << "width " << shape.C;
  const auto queue = static_cast<cudaStream_t>(stream);
  const std::int64_t tiles = NumQueryTiles(shape);
  auto* bytes = static_cast<char*>(workspace);
  auto* counters = reinterpret_cast<int*>(bytes);
  auto* stats_tiles = reinterpret_cast<RowStats::Tile*>(bytes + kCounters);
  const RowStats stats = {
      stats_tiles,
      reinterpret_cast<std::int32_t*>(stats_tiles + tiles * shape.H),
      static_cast<int>(tiles)};
  CHECK(cudaMemsetAsync(counters, 0, kCounters, queue) == cudaSuccess);
  if (shape.T > 0) {
    const auto compute = shape.C == 128  ? ComputeStats<128>
                         : shape.C == 64 ? ComputeStats<64>
                                         : ComputeStats<32>;
    compute(shape, in.o_THC, in.do_THC, in.lse_HT, stats, stream);
  }
  const BackwardInputs inputs = {in.q_THC, in.k_NGC, in.v_NGC, in.do_THC,
                                 stats};
  if (dq_THC != nullptr && shape.T > 0) {
    RangeQueryGradSm90(shape, inputs, dq_THC, counters, queue);
  }
  if (dk_NGC != nullptr || dv_NGC != nullptr) {
    RangeKeyGradSm90(shape, inputs, dk_NGC, dv_NGC, counters + 1, queue);
  }
}

}  // namespace rtpurbo::kernels::cuda
