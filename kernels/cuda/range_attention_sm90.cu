// Range attention forward on Hopper, bf16, width 32, 64 or 128.
//
// One block an SM, 384 threads, persistent: items (128 query rows of a head)
// are taken from a counter, longest first. Three warpgroups:
//   0  producer: one thread fills rings of K and V tiles (128 keys each, two
//      stages) and of Q tiles (two stages) by bulk tensor copies.
//   1, 2  consumers: 64 rows each. Per key tile: S = Q K^T; mask if the tile is
//      partial; online softmax; O += P V with P in registers.
// Overlap: S of tile n is issued before P V of tile n - 1 and both run while
// the softmax of tile n computes; two named barriers let one consumer issue its
// products while the other computes its softmax.
//
// Shared memory: Q[2], K[2], V[2], each 128 x C, panels of 64 (C = 32: 32)
// columns, swizzled. Barriers: full (1 arrival + bytes) and empty (8 warps) for
// each stage; `item` full and empty for the two slots through which the
// producer passes item numbers on.
// Keys that no row of the item sees may hold NaN: their rows of V are zeroed in
// shared memory, for 0 x NaN would spoil P V; their scores are replaced.

#include <algorithm>

#include "kernels/core/check.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/range_attention.h"
#include "kernels/cuda/range_tiles_sm90.cuh"
#include "kernels/cuda/tensor_map.h"

namespace rtpurbo::kernels::cuda {
namespace {

constexpr int kStages = 2;
constexpr int kScores = kTile / 2;  // score registers of a thread
constexpr int kTurn = 1;            // named barriers 1 and 2: turns

struct Rings {
  Barrier query_full[kStages], query_empty[kStages];
  Barrier key_full[kStages], key_empty[kStages];
  Barrier value_full[kStages], value_empty[kStages];
  ItemRing items;
};

template <int kWidth>
struct Shared {
  static constexpr int kTileBytes = Layout<kWidth, kTile>::kBytes;
  char* tiles;  // 1024-aligned
  __device__ char* Query(int stage) const { return tiles + stage * kTileBytes; }
  __device__ char* Key(int stage) const {
    return tiles + (kStages + stage) * kTileBytes;
  }
  __device__ char* Value(int stage) const {
    return tiles + (2 * kStages + stage) * kTileBytes;
  }
  __device__ Rings& rings() const {
    return *reinterpret_cast<Rings*>(tiles + 3 * kStages * kTileBytes);
  }
  static constexpr int kBytes = 1024 + 3 * kStages * kTileBytes + sizeof(Rings);
};

struct Maps {
  CUtensorMap q, k, v;
};

template <int kWidth>
__device__ void LoadTile(const CUtensorMap& map, char* to, Barrier* full,
                         int head, int row) {
  ArriveExpect(full, Layout<kWidth, kTile>::kBytes);
  Layout<kWidth, kTile>::Load(map, to, full, head, row);
}

// One thread: takes items and fills the rings until the items are used up.
template <int kWidth>
__device__ void Produce(const Maps& maps, const RangeTable& table, int* counter,
                        const Shared<kWidth>& shared) {
  Rings& ring = shared.rings();
  Stage<kStages> query, key, value;
  Stage<ItemRing::kSlots> slot;
  int index = static_cast<int>(blockIdx.x);
  while (true) {
    ring.items.Put(index, &slot);
    if (index >= table.num_items) {
      return;
    }
    const RangeItem item(table, index);
    const int kv = table.kv_head[item.head];
    Wait(&ring.query_empty[query.index], query.lap ^ 1);
    LoadTile<kWidth>(maps.q, shared.Query(query.index),
                     &ring.query_full[query.index], item.head, item.row);
    query.Next();
    for (int n = 0; n <= item.num_tiles; ++n) {
      if (n < item.num_tiles) {
        Wait(&ring.key_empty[key.index], key.lap ^ 1);
        LoadTile<kWidth>(maps.k, shared.Key(key.index),
                         &ring.key_full[key.index], kv, item.Key(n));
        key.Next();
      }
      if (n > 0) {
        Wait(&ring.value_empty[value.index], value.lap ^ 1);
        LoadTile<kWidth>(maps.v, shared.Value(value.index),
                         &ring.value_full[value.index], kv, item.Key(n - 1));
        value.Next();
      }
    }
    index = atomicAdd(counter, 1) + static_cast<int>(gridDim.x);
  }
}

struct Online {
  float max[2] = {kNone, kNone};
  float sum[2] = {0, 0};  // of this thread's columns
};

// S becomes P = exp2(c (S - max)); `shrink` is what older sums shrink by.
__device__ void Softmax(float c, float (&s)[kScores], Online* online,
                        float (&shrink)[2]) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float part[4] = {kNone, kNone, kNone, kNone};
#pragma unroll
    for (int i = 0; i < kScores / 2; ++i) {
      part[i % 4] = fmaxf(part[i % 4], s[i / 2 * 4 + r * 2 + i % 2]);
    }
    float max = fmaxf(fmaxf(part[0], part[1]), fmaxf(part[2], part[3]));
    max = fmaxf(max, __shfl_xor_sync(~0U, max, 1));
    max = fmaxf(max, __shfl_xor_sync(~0U, max, 2));
    max = fmaxf(max, online->max[r]);
    const float top = max == kNone ? 0.0F : max * c;
    shrink[r] = Exp2(fmaf(online->max[r], c, -top));
    online->max[r] = max;
    float sum[2] = {0, 0};
#pragma unroll
    for (int i = 0; i < kScores / 2; ++i) {
      float& score = s[i / 2 * 4 + r * 2 + i % 2];
      score = Exp2(fmaf(score, c, -top));
      sum[i % 2] += score;
    }
    online->sum[r] = fmaf(online->sum[r], shrink[r], sum[0] + sum[1]);
  }
}

template <int kCount>
__device__ void Rescale(const float (&shrink)[2], float (&o)[kCount]) {
  if (__any_sync(~0U, shrink[0] != 1.0F || shrink[1] != 1.0F)) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      o[i] *= shrink[i / 2 % 2];
    }
  }
}

// O / sum to global memory, and the log-sum of each row.
template <int kWidth>
__device__ void Finish(const RangeTable& table, const RangeItem& item, int row,
                       float scale, Online online, float (&o)[kWidth / 2],
                       BFloat16* __restrict__ o_THC, float* __restrict__ lse) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float sum = online.sum[r];
    sum += __shfl_xor_sync(~0U, sum, 1);
    sum += __shfl_xor_sync(~0U, sum, 2);
    const std::int64_t t = row + 8 * r;
    if (t >= table.num_rows) {
      continue;
    }
    const float inverse = 1.0F / sum;
    BFloat16* out =
        o_THC + (t * table.num_heads + item.head) * kWidth + 2 * (lane % 4);
#pragma unroll
    for (int j = 0; j < kWidth / 8; ++j) {
      *reinterpret_cast<std::uint32_t*>(out + 8 * j) =
          PackBf16(o[4 * j + 2 * r] * inverse, o[4 * j + 2 * r + 1] * inverse);
    }
    if (lane % 4 == 0) {
      lse[std::int64_t{item.head} * table.num_rows + t] =
          online.max[r] * scale + logf(sum);
    }
  }
}

// One warpgroup: attends its 64 rows of every item to all their key tiles.
template <int kWidth>
__device__ void Consume(const RangeTable& table, float scale, int group,
                        BFloat16* __restrict__ o_THC, float* __restrict__ lse,
                        const Shared<kWidth>& shared) {
  using L = Layout<kWidth, kTile>;
  Rings& ring = shared.rings();
  Stage<kStages> query, key, value;
  Stage<ItemRing::kSlots> slot;
  const float c = scale * kLog2E;
  const int thread = static_cast<int>(threadIdx.x) % kGroup;
  const int thread_row =
      group * kGroupRows + thread / 32 * 16 + thread % 32 / 4;
  if (group == 1) {
    NamedArrive(kTurn, kConsumers);  // the first turn is group 0's
  }
  const std::uint64_t keys = L::Describe(shared.Key(0));
  const std::uint64_t values = L::Describe(shared.Value(0));
  const std::uint64_t queries =
      Advance(L::Describe(shared.Query(0)), group * kGroupRows * L::kRowBytes);
  while (true) {
    const int index = ring.items.Take(&slot);
    if (index >= table.num_items) {
      break;
    }
    const RangeItem item(table, index);
    const int row = item.row + thread_row;
    const RowBounds rows[2] = {{table, item, table.query_begin + row},
                               {table, item, table.query_begin + row + 8}};
    float o[kWidth / 2] = {};
    float s[kScores];
    std::uint32_t p[kScores / 2];
    float shrink[2];
    Online online;

    // The first tile: nothing to overlap with.
    const std::uint64_t q = Advance(queries, query.index * L::kBytes);
    Wait(&ring.query_full[query.index], query.lap);
    Wait(&ring.key_full[key.index], key.lap);
    NamedWait(kTurn + group, kConsumers);
    IssueScores<kWidth, kTile, kTile>(s, q,
                                      Advance(keys, key.index * L::kBytes));
    NamedArrive(kTurn + (group ^ 1), kConsumers);
    WgmmaWait<0>();
    PinRegisters(s);
    Release(&ring.key_empty[key.index]);
    key.Next();
    Mask(rows, table.sinks, item.Key(0), s);
    Softmax(c, s, &online, shrink);
    Pack(s, p);

    for (int n = 1; n < item.num_tiles; ++n) {
      const int tile = item.Key(n);
      Wait(&ring.key_full[key.index], key.lap);
      if (item.HasInvisible(item.Key(n - 1))) {
        Wait(&ring.value_full[value.index], value.lap);
        ZeroInvisible<kWidth>(item, table.sinks, item.Key(n - 1),
                              shared.Value(value.index));
      }
      NamedWait(kTurn + group, kConsumers);
      IssueScores<kWidth, kTile, kTile>(s, q,
                                        Advance(keys, key.index * L::kBytes));
      Wait(&ring.value_full[value.index], value.lap);
      IssueSum<kWidth, kTile>(o, p, Advance(values, value.index * L::kBytes));
      NamedArrive(kTurn + (group ^ 1), kConsumers);
      WgmmaWait<1>();
      PinRegisters(s);
      Release(&ring.key_empty[key.index]);
      key.Next();
      if (item.Partial(tile)) {
        Mask(rows, table.sinks, tile, s);
      }
      Softmax(c, s, &online, shrink);
      WgmmaWait<0>();
      PinRegisters(o);
      Release(&ring.value_empty[value.index]);
      value.Next();
      Rescale(shrink, o);
      Pack(s, p);
    }

    Release(&ring.query_empty[query.index]);
    query.Next();
    Wait(&ring.value_full[value.index], value.lap);
    if (item.HasInvisible(item.Key(item.num_tiles - 1))) {
      ZeroInvisible<kWidth>(item, table.sinks, item.Key(item.num_tiles - 1),
                            shared.Value(value.index));
    }
    IssueSum<kWidth, kTile>(o, p, Advance(values, value.index * L::kBytes));
    WgmmaWait<0>();
    PinRegisters(o);
    Release(&ring.value_empty[value.index]);
    value.Next();
    Finish<kWidth>(table, item, row, scale, online, o, o_THC, lse);
  }
  if (group == 0) {
    NamedWait(kTurn, kConsumers);  // the turn that nobody takes any more
  }
}

template <int kWidth>
__global__ void __launch_bounds__(kBlock, 1)
    ForwardKernel(const __grid_constant__ Maps maps,
                  const __grid_constant__ RangeTable table, float scale,
                  BFloat16* __restrict__ o_THC, float* __restrict__ lse_HT,
                  int* counter) {
  extern __shared__ char memory[];
  const Shared<kWidth> shared{AlignTiles(memory)};
  if (threadIdx.x == 0) {
    Rings& ring = shared.rings();
    for (int i = 0; i < kStages; ++i) {
      BarrierInit(&ring.query_full[i], 1);
      BarrierInit(&ring.key_full[i], 1);
      BarrierInit(&ring.value_full[i], 1);
      BarrierInit(&ring.query_empty[i], kConsumerWarps);
      BarrierInit(&ring.key_empty[i], kConsumerWarps);
      BarrierInit(&ring.value_empty[i], kConsumerWarps);
    }
    ring.items.Init();
    BarrierInitFence();
    PrefetchMap(maps.q);
    PrefetchMap(maps.k);
    PrefetchMap(maps.v);
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
    Consume<kWidth>(table, scale, group - 1, o_THC, lse_HT, shared);
  }
}

template <int kWidth>
void Forward(const RangeShape& shape, const BFloat16* q, const BFloat16* k,
             const BFloat16* v, BFloat16* o, float* lse, int* counter,
             cudaStream_t stream) {
  const RangeTable table = MakeRangeTable(shape);
  const std::int64_t keys = shape.query_begin + shape.T;  // the rest is unseen
  const Maps maps = {MakeTensorMap(q, shape.T, shape.H, kWidth, kTile),
                     MakeTensorMap(k, keys, shape.G, kWidth, kTile),
                     MakeTensorMap(v, keys, shape.G, kWidth, kTile)};
  constexpr int kBytes = Shared<kWidth>::kBytes;
  CHECK(cudaFuncSetAttribute(ForwardKernel<kWidth>,
                             cudaFuncAttributeMaxDynamicSharedMemorySize,
                             kBytes) == cudaSuccess);
  CHECK(cudaMemsetAsync(counter, 0, sizeof(int), stream) == cudaSuccess);
  const int blocks = std::min(NumMultiprocessors(), table.num_items);
  ForwardKernel<kWidth><<<blocks, kBlock, kBytes, stream>>>(
      maps, table, shape.scale, o, lse, counter);
  CheckLaunch();
}

}  // namespace

void RangeAttentionForwardSm90(const RangeShape& shape, const BFloat16* q_THC,
                               const BFloat16* k_NGC, const BFloat16* v_NGC,
                               BFloat16* o_THC, float* lse_HT, void* workspace,
                               void* stream) {
  if (shape.T == 0 || shape.H == 0) {
    return;
  }
  CHECK(HasRangeAttentionSm90(shape)) << "width " << shape.C;
  const auto forward = shape.C == 128  ? Forward<128>
                       : shape.C == 64 ? Forward<64>
                                       : Forward<32>;
  forward(shape, q_THC, k_NGC, v_NGC, o_THC, lse_HT,
          static_cast<int*>(workspace), static_cast<cudaStream_t>(stream));
}

}  // namespace rtpurbo::kernels::cuda
