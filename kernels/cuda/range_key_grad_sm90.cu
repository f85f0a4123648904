// dk and dv of range attention on Hopper:
//   dv_j = sum_i a_ij do_i,   dk_j = scale sum_i ds_ij q_i.
//
// A block owns 128 keys of a key/value head and keeps dk and dv in registers
// while it walks, head by head of the group and in order of rows, all query
// tiles (64 rows) that may see one of its keys; so the sums over a group need
// no atomics. Roles as in the forward: a producer fills a ring of four stages
// (Q, dO and row statistics); each of two consumer warpgroups has 64 keys.
//   S^T = K Q^T, dP^T = V dO^T; A^T, dS^T in registers; dv += A^T dO,
//   dk += dS^T Q.
// Keys are rows here, so a key with NaN that no query sees spoils nothing but
// its own row, which is written as zero by selects.
//
// A tile that holds sinks of a document is visited by all its later rows: the
// longest items, which come first.

#include <algorithm>
#include <vector>

#include "kernels/core/check.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/range_backward_sm90.cuh"
#include "kernels/cuda/range_tiles_sm90.cuh"
#include "kernels/cuda/tensor_map.h"

namespace rtpurbo::kernels::cuda {
namespace {

constexpr int kStages = 4;
constexpr int kScores = kQueryTile / 2;  // registers of a thread

// Which query heads share a key/value head, and the order of items.
struct GroupTable {
  std::int16_t member[kMaxAttentionHeads];     // by key/value head
  std::int16_t begin[kMaxAttentionHeads + 1];  // into member
  std::int16_t order[kMaxAttentionHeads];      // groups with dense heads first
  int num_dense;                               // such groups
  int num_groups;
  int num_keys;  // N
};

struct KeyItem {
  int kv;
  int key;
  int last;          // the last key of the tile that any row could see
  int document;      // of it
  int document_end;  // its last position

  __device__ KeyItem(const RangeTable& table, const GroupTable& groups,
                     int index) {
    const int num_tiles = (groups.num_keys + kTile - 1) / kTile;
    const int dense_items = groups.num_dense * num_tiles;
    const bool dense = index < dense_items;
    const int width =
        dense ? groups.num_dense : groups.num_groups - groups.num_dense;
    const int place = dense ? index : index - dense_items;
    kv = groups.order[place % width + (dense ? 0 : groups.num_dense)];
    key = place / width * kTile;
    const int end = table.query_begin + table.num_rows;
    last = min(key + kTile, end) - 1;
    document = 0;
    document_end = end - 1;
    if (table.document != nullptr && last >= key) {
      document = table.document[last];
      int low = last;  // the last position known to be of the document
      while (low < document_end) {
        const int middle = low + (document_end - low + 1) / 2;
        if (table.document[middle] == document) {
          low = middle;
        } else {
          document_end = middle - 1;
        }
      }
    }
  }
};

// The query tiles [begin, end) of one head that may see the item's keys.
struct TileRange {
  int begin;
  int end;
  __device__ TileRange(const RangeTable& table, const KeyItem& item, int head) {
    const bool has_sinks = item.document + table.sinks > item.key;
    const int high =
        has_sinks ? item.document_end
                  : min(item.last + table.window[head], item.document_end);
    begin = max(item.key - table.query_begin, 0) / kQueryTile;
    end = high < max(item.key, table.query_begin) || item.last < item.key
              ? begin
              : (high - table.query_begin) / kQueryTile + 1;
  }
};

struct alignas(128) StageStats {
  RowStats::Tile rows;
  std::int32_t document[kQueryTile];
};

struct Rings {
  StageStats stats[kStages];
  Barrier key_full, key_empty;
  Barrier full[kStages], empty[kStages];
  ItemRing items;
};

template <int kWidth>
struct Shared {
  static constexpr int kKeyBytes = Layout<kWidth, kTile>::kBytes;
  static constexpr int kQueryBytes = Layout<kWidth, kQueryTile>::kBytes;
  char* tiles;
  __device__ char* Key() const { return tiles; }
  __device__ char* Value() const { return tiles + kKeyBytes; }
  __device__ char* Query(int stage) const {
    return tiles + 2 * kKeyBytes + stage * kQueryBytes;
  }
  __device__ char* OutputGrad(int stage) const {
    return Query(kStages + stage);
  }
  __device__ Rings& rings() const {
    return *reinterpret_cast<Rings*>(Query(2 * kStages));
  }
  static constexpr int kBytes =
      1024 + 2 * kKeyBytes + 2 * kStages * kQueryBytes + sizeof(Rings);
};

struct Maps {
  CUtensorMap q, k, v, d_o;
};
template <int kWidth>
__device__ void Produce(const Maps& maps, const RangeTable& table,
                        const GroupTable& groups, const RowStats& stats,
                        int num_items, int* counter,
                        const Shared<kWidth>& shared) {
  using K = Layout<kWidth, kTile>;
  using Q = Layout<kWidth, kQueryTile>;
  constexpr int kStageBytes =
      2 * Q::kBytes + sizeof(RowStats::Tile) + sizeof(StageStats::document);
  Rings& ring = shared.rings();
  Stage<1> keys;
  Stage<kStages> stage;
  Stage<ItemRing::kSlots> slot;
  int index = static_cast<int>(blockIdx.x);
  while (true) {
    ring.items.Put(index, &slot);
    if (index >= num_items) {
      return;
    }
    const KeyItem item(table, groups, index);
    Wait(&ring.key_empty, keys.lap ^ 1);
    ArriveExpect(&ring.key_full, 2 * K::kBytes);
    K::Load(maps.k, shared.Key(), &ring.key_full, item.kv, item.key);
    K::Load(maps.v, shared.Value(), &ring.key_full, item.kv, item.key);
    keys.Next();
    for (int m = groups.begin[item.kv]; m < groups.begin[item.kv + 1]; ++m) {
      const int head = groups.member[m];
      const TileRange range(table, item, head);
      for (int n = range.begin; n < range.end; ++n) {
        Barrier* full = &ring.full[stage.index];
        StageStats* to = &ring.stats[stage.index];
        Wait(&ring.empty[stage.index], stage.lap ^ 1);
        ArriveExpect(full, kStageBytes);
        Q::Load(maps.q, shared.Query(stage.index), full, head, n * kQueryTile);
        Q::Load(maps.d_o, shared.OutputGrad(stage.index), full, head,
                n * kQueryTile);
        CopyBytes(&stats.tiles[std::int64_t{head} * stats.num_tiles + n],
                  &to->rows, sizeof(to->rows), full);
        CopyBytes(&stats.document[std::int64_t{n} * kQueryTile], to->document,
                  sizeof(to->document), full);
        stage.Next();
      }
    }
    index = atomicAdd(counter, 1) + static_cast<int>(gridDim.x);
  }
}

// S^T becomes A^T: rows of this thread are keys, columns are query rows.
__device__ void Weights(float c, const float* log_sum, float (&s)[kScores]) {
#pragma unroll
  for (int j = 0; j < kScores / 4; ++j) {
    const float2 l = *reinterpret_cast<const float2*>(log_sum + 8 * j);
    s[4 * j] = Exp2(fmaf(s[4 * j], c, -l.x));
    s[4 * j + 1] = Exp2(fmaf(s[4 * j + 1], c, -l.y));
    s[4 * j + 2] = Exp2(fmaf(s[4 * j + 2], c, -l.x));
    s[4 * j + 3] = Exp2(fmaf(s[4 * j + 3], c, -l.y));
  }
}

__device__ void ScoreGrads(const float* delta, const float (&dp)[kScores],
                           float (&s)[kScores]) {
#pragma unroll
  for (int j = 0; j < kScores / 4; ++j) {
    const float2 d = *reinterpret_cast<const float2*>(delta + 8 * j);
    s[4 * j] *= dp[4 * j] - d.x;
    s[4 * j + 1] *= dp[4 * j + 1] - d.y;
    s[4 * j + 2] *= dp[4 * j + 2] - d.x;
    s[4 * j + 3] *= dp[4 * j + 3] - d.y;
  }
}

// Bit i: element i of the thread is visible. `key` is that of its first row,
// `position` and `document` are those of its first column.
__device__ std::uint32_t VisibleBits(int key, int position,
                                     const std::int32_t* document, int window,
                                     int sinks) {
  std::uint32_t bits = 0;
#pragma unroll
  for (int i = 0; i < kScores; ++i) {
    const int column = i / 4 * 8 + i % 2;
    const int j = key + i / 2 % 2 * 8;
    const int distance = position + column - j;
    const int begin = document[column];
    const bool visible = distance >= 0 && j >= begin &&
                         (distance <= window || j < begin + sinks);
    bits |= (visible ? 1U : 0U) << i;
  }
  return bits;
}

__device__ void Clear(std::uint32_t visible, float (&s)[kScores]) {
#pragma unroll
  for (int i = 0; i < kScores; ++i) {
    s[i] = (visible >> i & 1U) != 0 ? s[i] : 0.0F;
  }
}

template <int kWidth>
__device__ void StoreKeys(int num_keys, int num_groups, int kv, int key,
                          float scale, const float (&d)[kWidth / 2],
                          BFloat16* __restrict__ d_NGC) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const std::int64_t n = key + 8 * r;
    if (n < num_keys) {
      BFloat16* out = d_NGC + (n * num_groups + kv) * kWidth + 2 * (lane % 4);
#pragma unroll
      for (int j = 0; j < kWidth / 8; ++j) {
        *reinterpret_cast<std::uint32_t*>(out + 8 * j) =
            PackBf16(d[4 * j + 2 * r] * scale, d[4 * j + 2 * r + 1] * scale);
      }
    }
  }
}

template <int kWidth>
__device__ void Consume(const RangeTable& table, const GroupTable& groups,
                        int num_items, float scale, int group,
                        BFloat16* __restrict__ dk_NGC,
                        BFloat16* __restrict__ dv_NGC,
                        const Shared<kWidth>& shared) {
  using K = Layout<kWidth, kTile>;
  using Q = Layout<kWidth, kQueryTile>;
  Rings& ring = shared.rings();
  Stage<1> kv_stage;
  Stage<kStages> stage;
  Stage<ItemRing::kSlots> slot;
  const float c = scale * kLog2E;
  const int thread = static_cast<int>(threadIdx.x) % kGroup;
  const int group_key = group * kGroupRows + thread / 32 * 16 + thread % 32 / 4;
  const int first_column = 2 * (thread % 4);
  const int keys_begin = group * kGroupRows * K::kRowBytes;
  const auto keys = Advance(K::Describe(shared.Key()), keys_begin);
  const auto values = Advance(K::Describe(shared.Value()), keys_begin);
  const auto queries = Q::Describe(shared.Query(0));
  const auto d_outputs = Q::Describe(shared.OutputGrad(0));
  while (true) {
    const int index = ring.items.Take(&slot);
    if (index >= num_items) {
      break;
    }
    const KeyItem item(table, groups, index);
    float dk[kWidth / 2] = {};
    float dv[kWidth / 2] = {};
    float s[kScores];
    float dp[kScores];
    std::uint32_t a16[kScores / 2];
    std::uint32_t ds16[kScores / 2];
    int previous = -1;
    Wait(&ring.key_full, kv_stage.lap);
    for (int m = groups.begin[item.kv]; m < groups.begin[item.kv + 1]; ++m) {
      const int head = groups.member[m];
      const int window = table.window[head];
      const TileRange range(table, item, head);
      for (int n = range.begin; n < range.end; ++n) {
        const StageStats& stats = ring.stats[stage.index];
        const int position = table.query_begin + n * kQueryTile;
        const int offset = stage.index * Q::kBytes;
        Wait(&ring.full[stage.index], stage.lap);
        IssueScores<kWidth, kTile, kQueryTile>(s, keys,
                                               Advance(queries, offset));
        WgmmaWait<1>();  // the sums of the tile before
        PinRegisters(dk);
        PinRegisters(dv);
        if (previous >= 0) {
          Release(&ring.empty[previous]);
        }
        IssueScores<kWidth, kTile, kQueryTile>(dp, values,
                                               Advance(d_outputs, offset));
        WgmmaWait<1>();
        PinRegisters(s);
        Weights(c, stats.rows.log_sum + first_column, s);
        const bool partial = position < item.key + kTile - 1 ||
                             position + kQueryTile - 1 - item.key > window ||
                             stats.document[kQueryTile - 1] > item.key;
        std::uint32_t visible = ~0U;
        if (partial) {
          visible =
              VisibleBits(item.key + group_key, position + first_column,
                          stats.document + first_column, window, table.sinks);
          Clear(visible, s);
        }
        WgmmaWait<0>();
        PinRegisters(dp);
        Pack(s, a16);
        ScoreGrads(stats.rows.delta + first_column, dp, s);
        if (partial) {
          Clear(visible, s);
        }
        Pack(s, ds16);
        IssueSum<kWidth, kQueryTile>(dv, a16, Advance(d_outputs, offset));
        IssueSum<kWidth, kQueryTile>(dk, ds16, Advance(queries, offset));
        previous = stage.index;
        stage.Next();
      }
    }
    WgmmaWait<0>();
    PinRegisters(dk);
    PinRegisters(dv);
    if (previous >= 0) {
      Release(&ring.empty[previous]);
    }
    Release(&ring.key_empty);
    kv_stage.Next();
    const int key = item.key + group_key;
    if (dk_NGC != nullptr) {
      StoreKeys<kWidth>(groups.num_keys, groups.num_groups, item.kv, key, scale,
                        dk, dk_NGC);
    }
    if (dv_NGC != nullptr) {
      StoreKeys<kWidth>(groups.num_keys, groups.num_groups, item.kv, key, 1.0F,
                        dv, dv_NGC);
    }
  }
}

template <int kWidth>
__global__ void __launch_bounds__(kBlock, 1)
    KeyGradKernel(const __grid_constant__ Maps maps,
                  const __grid_constant__ RangeTable table,
                  const __grid_constant__ GroupTable groups, int num_items,
                  float scale, RowStats stats, BFloat16* __restrict__ dk_NGC,
                  BFloat16* __restrict__ dv_NGC, int* counter) {
  extern __shared__ char memory[];
  const Shared<kWidth> shared{AlignTiles(memory)};
  if (threadIdx.x == 0) {
    Rings& ring = shared.rings();
    BarrierInit(&ring.key_full, 1);
    BarrierInit(&ring.key_empty, kConsumerWarps);
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
      Produce<kWidth>(maps, table, groups, stats, num_items, counter, shared);
    }
  } else {
    RaiseRegisters<kConsumerRegisters>();
    Consume<kWidth>(table, groups, num_items, scale, group - 1, dk_NGC, dv_NGC,
                    shared);
  }
}

GroupTable MakeGroupTable(const RangeShape& shape, const RangeTable& table) {
  CHECK(shape.G <= kMaxAttentionHeads) << shape.G << " key/value heads";
  GroupTable groups = {};
  std::vector<std::int16_t> local;
  const std::int64_t keys = shape.query_begin + shape.T;
  int count = 0;
  for (int g = 0; g < shape.G; ++g) {
    groups.begin[g] = static_cast<std::int16_t>(count);
    bool dense = false;
    for (int h = 0; h < shape.H; ++h) {
      if (shape.kv_head_H[h] == g) {
        groups.member[count++] = static_cast<std::int16_t>(h);
        dense = dense || table.window[h] >= keys;
      }
    }
    const auto id = static_cast<std::int16_t>(g);
    if (dense) {
      groups.order[groups.num_dense++] = id;
    } else {
      local.push_back(id);
    }
  }
  groups.begin[shape.G] = static_cast<std::int16_t>(count);
  std::copy(local.begin(), local.end(), groups.order + groups.num_dense);
  groups.num_groups = shape.G;
  groups.num_keys = static_cast<int>(shape.N);
  return groups;
}

template <int kWidth>
void KeyGrad(const RangeShape& shape, const BackwardInputs& in, BFloat16* dk,
             BFloat16* dv, int* counter, cudaStream_t stream) {
  const RangeTable table = MakeRangeTable(shape);
  const GroupTable groups = MakeGroupTable(shape, table);
  const std::int64_t keys = shape.query_begin + shape.T;
  const Maps maps = {
      MakeTensorMap(in.q_THC, shape.T, shape.H, kWidth, kQueryTile),
      MakeTensorMap(in.k_NGC, keys, shape.G, kWidth, kTile),
      MakeTensorMap(in.v_NGC, keys, shape.G, kWidth, kTile),
      MakeTensorMap(in.do_THC, shape.T, shape.H, kWidth, kQueryTile)};
  constexpr int kBytes = Shared<kWidth>::kBytes;
  CHECK(cudaFuncSetAttribute(KeyGradKernel<kWidth>,
                             cudaFuncAttributeMaxDynamicSharedMemorySize,
                             kBytes) == cudaSuccess);
  const int num_items =
      static_cast<int>((shape.N + kTile - 1) / kTile * shape.G);
  const int blocks = std::min(NumMultiprocessors(), num_items);
  KeyGradKernel<kWidth><<<blocks, kBlock, kBytes, stream>>>(
      maps, table, groups, num_items, shape.scale, in.stats, dk, dv, counter);
  CheckLaunch();
}

}  // namespace

void RangeKeyGradSm90(const RangeShape& shape, const BackwardInputs& in,
                      BFloat16* dk_NGC, BFloat16* dv_NGC, int* counter,
                      cudaStream_t stream) {
  if (shape.T == 0) {
    const auto bytes = static_cast<std::size_t>(shape.N) * shape.G * shape.C *
                       sizeof(BFloat16);
    CHECK(dk_NGC == nullptr ||
          cudaMemsetAsync(dk_NGC, 0, bytes, stream) == cudaSuccess);
    CHECK(dv_NGC == nullptr ||
          cudaMemsetAsync(dv_NGC, 0, bytes, stream) == cudaSuccess);
    return;
  }
  const auto run = shape.C == 128  ? KeyGrad<128>
                   : shape.C == 64 ? KeyGrad<64>
                                   : KeyGrad<32>;
  run(shape, in, dk_NGC, dv_NGC, counter, stream);
}

}  // namespace rtpurbo::kernels::cuda
