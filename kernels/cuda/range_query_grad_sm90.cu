// dq of range attention on Hopper: dq_i = scale sum_j ds_ij k_j.
//
// The forward's items and roles: a block owns 128 query rows of a head, the
// producer streams key tiles (K and V of 128 keys, two stages) past Q and dO in
// shared memory. Per tile a consumer computes S = Q K^T and dP = dO V^T, turns
// them into dS in registers, and adds dS K. S of the next tile is issued behind
// dS K, so the products of a tile run under its neighbours' exponentials.

#include <algorithm>

#include "kernels/core/check.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/range_backward_sm90.cuh"
#include "kernels/cuda/range_tiles_sm90.cuh"
#include "kernels/cuda/tensor_map.h"

namespace rtpurbo::kernels::cuda {
namespace {

constexpr int kStages = 2;
constexpr int kScores = kTile / 2;  // registers of a thread

struct Rings {
  Barrier query_full, query_empty;
  Barrier full[kStages], empty[kStages];
  ItemRing items;
};

template <int kWidth>
struct Shared {
  static constexpr int kTileBytes = Layout<kWidth, kTile>::kBytes;
  char* tiles;
  __device__ char* Query() const { return tiles; }
  __device__ char* OutputGrad() const { return tiles + kTileBytes; }
  __device__ char* Key(int stage) const {
    return tiles + (2 + stage) * kTileBytes;
  }
  __device__ char* Value(int stage) const {
    return tiles + (2 + kStages + stage) * kTileBytes;
  }
  __device__ Rings& rings() const {
    return *reinterpret_cast<Rings*>(tiles + 2 * (1 + kStages) * kTileBytes);
  }
  static constexpr int kBytes =
      1024 + 2 * (1 + kStages) * kTileBytes + sizeof(Rings);
};

struct Maps {
  CUtensorMap q, k, v, d_o;
};

template <int kWidth>
__device__ void Produce(const Maps& maps, const RangeTable& table, int* counter,
                        const Shared<kWidth>& shared) {
  using L = Layout<kWidth, kTile>;
  Rings& ring = shared.rings();
  Stage<1> query;
  Stage<kStages> stage;
  Stage<ItemRing::kSlots> slot;
  int index = static_cast<int>(blockIdx.x);
  while (true) {
    ring.items.Put(index, &slot);
    if (index >= table.num_items) {
      return;
    }
    const RangeItem item(table, index);
    const int kv = table.kv_head[item.head];
    Wait(&ring.query_empty, query.lap ^ 1);
    ArriveExpect(&ring.query_full, 2 * L::kBytes);
    L::Load(maps.q, shared.Query(), &ring.query_full, item.head, item.row);
    L::Load(maps.d_o, shared.OutputGrad(), &ring.query_full, item.head,
            item.row);
    query.Next();
    for (int n = 0; n < item.num_tiles; ++n) {
      Barrier* full = &ring.full[stage.index];
      Wait(&ring.empty[stage.index], stage.lap ^ 1);
      ArriveExpect(full, 2 * L::kBytes);
      L::Load(maps.k, shared.Key(stage.index), full, kv, item.Key(n));
      L::Load(maps.v, shared.Value(stage.index), full, kv, item.Key(n));
      stage.Next();
    }
    index = atomicAdd(counter, 1) + static_cast<int>(gridDim.x);
  }
}

// S becomes A = exp2(c S - log_sum).
__device__ void Weights(float c, const float (&log_sum)[2],
                        float (&s)[kScores]) {
#pragma unroll
  for (int i = 0; i < kScores; ++i) {
    s[i] = Exp2(fmaf(s[i], c, -log_sum[i / 2 % 2]));
  }
}

// A becomes dS = A (dP - delta).
__device__ void ScoreGrads(const float (&dp)[kScores], const float (&delta)[2],
                           float (&s)[kScores]) {
#pragma unroll
  for (int i = 0; i < kScores; ++i) {
    s[i] *= dp[i] - delta[i / 2 % 2];
  }
}

template <int kWidth>
__device__ void StoreRows(const RangeTable& table, int head, int row,
                          float scale, const float (&dq)[kWidth / 2],
                          BFloat16* __restrict__ dq_THC) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const std::int64_t t = row + 8 * r;
    if (t < table.num_rows) {
      BFloat16* out =
          dq_THC + (t * table.num_heads + head) * kWidth + 2 * (lane % 4);
#pragma unroll
      for (int j = 0; j < kWidth / 8; ++j) {
        *reinterpret_cast<std::uint32_t*>(out + 8 * j) =
            PackBf16(dq[4 * j + 2 * r] * scale, dq[4 * j + 2 * r + 1] * scale);
      }
    }
  }
}

template <int kWidth>
__device__ void Consume(const RangeTable& table, float scale, int group,
                        const RowStats& stats, BFloat16* __restrict__ dq_THC,
                        const Shared<kWidth>& shared) {
  using L = Layout<kWidth, kTile>;
  Rings& ring = shared.rings();
  Stage<1> query;
  Stage<kStages> stage;
  Stage<ItemRing::kSlots> slot;
  const float c = scale * kLog2E;
  const int thread = static_cast<int>(threadIdx.x) % kGroup;
  const int group_row = thread / 32 * 16 + thread % 32 / 4;
  const int rows_begin = group * kGroupRows * L::kRowBytes;
  const auto queries = Advance(L::Describe(shared.Query()), rows_begin);
  const auto d_outputs = Advance(L::Describe(shared.OutputGrad()), rows_begin);
  const auto keys = L::Describe(shared.Key(0));
  const auto values = L::Describe(shared.Value(0));
  while (true) {
    const int index = ring.items.Take(&slot);
    if (index >= table.num_items) {
      break;
    }
    const RangeItem item(table, index);
    const int row = item.row + group * kGroupRows + group_row;
    const RowBounds rows[2] = {{table, item, table.query_begin + row},
                               {table, item, table.query_begin + row + 8}};
    const RowStats::Tile& tile =
        stats.tiles[std::int64_t{item.head} * stats.num_tiles +
                    item.row / kQueryTile + group];
    const float log_sum[2] = {tile.log_sum[group_row],
                              tile.log_sum[group_row + 8]};
    const float delta[2] = {tile.delta[group_row], tile.delta[group_row + 8]};
    float dq[kWidth / 2] = {};
    float s[kScores];
    float dp[kScores];
    std::uint32_t ds[kScores / 2];
    int previous = 0;
    Wait(&ring.query_full, query.lap);
    for (int n = 0; n < item.num_tiles; ++n) {
      const int key = item.Key(n);
      Wait(&ring.full[stage.index], stage.lap);
      if (item.HasInvisible(key)) {
        ZeroInvisible<kWidth>(item, table.sinks, key, shared.Key(stage.index));
        ZeroInvisible<kWidth>(item, table.sinks, key,
                              shared.Value(stage.index));
      }
      const int offset = stage.index * L::kBytes;
      IssueScores<kWidth, kTile, kTile>(s, queries, Advance(keys, offset));
      WgmmaWait<1>();  // dS K of the tile before
      PinRegisters(dq);
      if (n > 0) {
        Release(&ring.empty[previous]);
      }
      IssueScores<kWidth, kTile, kTile>(dp, d_outputs, Advance(values, offset));
      WgmmaWait<1>();
      PinRegisters(s);
      if (item.Partial(key)) {
        Mask(rows, table.sinks, key, s);
      }
      Weights(c, log_sum, s);
      WgmmaWait<0>();
      PinRegisters(dp);
      ScoreGrads(dp, delta, s);
      Pack(s, ds);
      IssueSum<kWidth, kTile>(dq, ds, Advance(keys, offset));
      previous = stage.index;
      stage.Next();
    }
    WgmmaWait<0>();
    PinRegisters(dq);
    Release(&ring.empty[previous]);
    Release(&ring.query_empty);
    query.Next();
    StoreRows<kWidth>(table, item.head, row, scale, dq, dq_THC);
  }
}

template <int kWidth>
__global__ void __launch_bounds__(kBlock, 1)
    QueryGradKernel(const __grid_constant__ Maps maps,
                    const __grid_constant__ RangeTable table, float scale,
                    RowStats stats, BFloat16* __restrict__ dq_THC,
                    int* counter) {
  extern __shared__ char memory[];
  const Shared<kWidth> shared{AlignTiles(memory)};
  if (threadIdx.x == 0) {
    Rings& ring = shared.rings();
    BarrierInit(&ring.query_full, 1);
    BarrierInit(&ring.query_empty, kConsumerWarps);
    for (int i = 0; i < kStages; ++i) {
      BarrierInit(&ring.full[i], 1);
      BarrierInit(&ring.empty[i], kConsumerWarps);
    }
    ring.items.Init();
    BarrierInitFence();
  }
  __syncthreads();
  const int group = __shfl_sync(~0U, static_cast<int>(threadIdx.x) / kGroup, 0);
  if (group == 0) {
    LowerRegisters<kProducerRegisters>();
    if (threadIdx.x == 0) {
      Produce<kWidth>(maps, table, counter, shared);
    }
  } else {
    RaiseRegisters<kConsumerRegisters>();
    Consume<kWidth>(table, scale, group - 1, stats, dq_THC, shared);
  }
}

template <int kWidth>
void QueryGrad(const RangeShape& shape, const BackwardInputs& in, BFloat16* dq,
               int* counter, cudaStream_t stream) {
  const RangeTable table = MakeRangeTable(shape);
  const std::int64_t keys = shape.query_begin + shape.T;
  const Maps maps = {MakeTensorMap(in.q_THC, shape.T, shape.H, kWidth, kTile),
                     MakeTensorMap(in.k_NGC, keys, shape.G, kWidth, kTile),
                     MakeTensorMap(in.v_NGC, keys, shape.G, kWidth, kTile),
                     MakeTensorMap(in.do_THC, shape.T, shape.H, kWidth, kTile)};
  constexpr int kBytes = Shared<kWidth>::kBytes;
  CHECK(cudaFuncSetAttribute(QueryGradKernel<kWidth>,
                             cudaFuncAttributeMaxDynamicSharedMemorySize,
                             kBytes) == cudaSuccess);
  const int blocks = std::min(NumMultiprocessors(), table.num_items);
  QueryGradKernel<kWidth><<<blocks, kBlock, kBytes, stream>>>(
      maps, table, shape.scale, in.stats, dq, counter);
  CheckLaunch();
}

}  // namespace

void RangeQueryGradSm90(const RangeShape& shape, const BackwardInputs& in,
                        BFloat16* dq_THC, int* counter, cudaStream_t stream) {
  const auto run = shape.C == 128  ? QueryGrad<128>
                   : shape.C == 64 ? QueryGrad<64>
                                   : QueryGrad<32>;
  run(shape, in, dq_THC, counter, stream);
}

}  // namespace rtpurbo::kernels::cuda
