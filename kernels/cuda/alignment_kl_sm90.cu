// KL of attention rows to projected rows on Hopper.
//
// One kernel in two forms. A block owns a tile of 128 rows (for kl and dx) or
// of 128 keys (for dy) of a slot, in shared memory; a producer warp streams the
// tiles of the other side past it. Two consumer warpgroups, 64 owned rows each,
// compute z = own stream^T over the head's width and p over the packed halves,
// turn them into a_proj - a_full in registers, and add its product with the
// streamed halves. Nothing is summed by atomics.

#include <algorithm>

#include "kernels/core/check.h"
#include "kernels/cuda/alignment_kl_sm90.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/range_tiles_sm90.cuh"
#include "kernels/cuda/tensor_map.h"

namespace rtpurbo::kernels::cuda {
namespace {

constexpr int kStages = 3;
constexpr int kScores = kTile / 2;  // registers of a thread
constexpr float kLn2 = 0.6931471805599453F;

struct Rings {
  Barrier own_full, own_empty;
  Barrier full[kStages], empty[kStages];
};

template <int kWidth>
struct Shared {
  static constexpr int kWide = Layout<kWidth, kTile>::kBytes;
  static constexpr int kStage =
      kWide + Halves::kBytes + int{sizeof(AlignmentRows)};
  char* tiles;
  __device__ char* Own() const { return tiles; }
  __device__ char* OwnHalves() const { return tiles + kWide; }
  // Tiles of all stages first: they must lie on multiples of 1024 bytes.
  __device__ char* Wide(int stage) const {
    return tiles + kWide + Halves::kBytes + stage * kWide;
  }
  __device__ char* StreamHalves(int stage) const {
    return Wide(kStages) + stage * Halves::kBytes;
  }
  __device__ AlignmentRows& Rows(int stage) const {
    return reinterpret_cast<AlignmentRows*>(StreamHalves(kStages))[stage];
  }
  __device__ Rings& rings() const {
    return *reinterpret_cast<Rings*>(&Rows(kStages));
  }
  static constexpr int kBytes =
      1024 + kWide + Halves::kBytes + kStages * kStage + int{sizeof(Rings)};
};

template <bool kKeys, int kWidth>
__device__ void Produce(const AlignmentMaps& maps, const AlignmentArgs& args,
                        const Shared<kWidth>& shared) {
  using L = Layout<kWidth, kTile>;
  Rings& ring = shared.rings();
  Stage<1> own;
  Stage<kStages> stage;
  const CUtensorMap& own_wide = kKeys ? maps.k : maps.q;
  const CUtensorMap& own_halves = kKeys ? maps.y : maps.x;
  const CUtensorMap& wide = kKeys ? maps.q : maps.k;
  const CUtensorMap& halves = kKeys ? maps.x : maps.y;
  for (int wave = 0; ItemOfWave(wave) < AlignmentItem<kKeys>::Count(args);
       ++wave) {
    const AlignmentItem<kKeys> item(args, ItemOfWave(wave));
    const int kv = args.heads.kv_head[item.slot];
    const int own_head = kKeys ? kv : item.slot;
    const int head = kKeys ? item.slot : kv;
    Wait(&ring.own_empty, own.lap ^ 1);
    ArriveExpect(&ring.own_full, L::kBytes + Halves::kBytes);
    L::Load(own_wide, shared.Own(), &ring.own_full, own_head,
            item.tile * kTile);
    Halves::Load(own_halves, shared.OwnHalves(), &ring.own_full, item.slot,
                 item.tile * kTile);
    own.Next();
    for (int t = item.span.begin; t < item.span.end; ++t) {
      Barrier* full = &ring.full[stage.index];
      Wait(&ring.empty[stage.index], stage.lap ^ 1);
      ArriveExpect(full, Halves::kBytes + L::kBytes +
                             (kKeys ? int{sizeof(AlignmentRows)} : 0));
      L::Load(wide, shared.Wide(stage.index), full, head, t * kTile);
      Halves::Load(halves, shared.StreamHalves(stage.index), full, item.slot,
                   t * kTile);
      if (kKeys) {
        CopyBytes(item.Rows(args, t), &shared.Rows(stage.index),
                  sizeof(AlignmentRows), full);
      }
      stage.Next();
    }
  }
}

// A masked score: no weight, and finite, as 0 x infinity is NaN.
constexpr float kMasked = -1e30F;

// Scores of keys from `key` on that the owned rows do not see.
__device__ void MaskKeys(const OwnRows& rows, int key, float (&s)[kScores]) {
#pragma unroll
  for (int i = 0; i < kScores; ++i) {
    const int r = i / 2 % 2;
    const int n = key + Column(i);
    const bool sees = n <= rows.position[r] && n >= rows.document[r];
    s[i] = sees ? s[i] : kMasked;
  }
}

// Keeps the loads of one step from being moved in front of another's: all at
// once they would not fit in registers.
__device__ void EndStep() {
  asm volatile("" ::: "memory");
}

// Owned are the keys `key` and key + 8; columns are rows from `row` on.
__device__ void MaskRows(const AlignmentRows& rows, int row, int key,
                         float (&z)[kScores], float (&p)[kScores]) {
#pragma unroll
  for (int i = 0; i < kScores; i += 4) {
    const int m = row + Column(i);
    const int2 position = *reinterpret_cast<const int2*>(&rows.position[m]);
    const int2 document = *reinterpret_cast<const int2*>(&rows.document[m]);
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int n = key + 8 * (e / 2);
      const bool sees = n <= (e % 2 == 0 ? position.x : position.y) &&
                        n >= (e % 2 == 0 ? document.x : document.y);
      z[i + e] = sees ? z[i + e] : kMasked;
      p[i + e] = sees ? p[i + e] : kMasked;
    }
    EndStep();
  }
}

// z becomes a_proj - a_full; kl gets the terms of the two rows, over ln 2.
__device__ void CompareWithKeys(const OwnRows& rows, float c,
                                const float (&p)[kScores], float (&z)[kScores],
                                float (&kl)[2]) {
#pragma unroll
  for (int i = 0; i < kScores; ++i) {
    const int r = i / 2 % 2;
    const float log_full = fmaf(z[i], c, -rows.full[r]);
    const float log_proj = fmaf(p[i], c, -rows.proj[r]);
    const float weight = Exp2(log_full);
    kl[r] = fmaf(weight, log_full - log_proj, kl[r]);
    z[i] = Exp2(log_proj) - weight;
  }
}

// The same where columns are rows, from `row` on.
__device__ void CompareWithRows(const AlignmentRows& rows, float c, int row,
                                const float (&p)[kScores],
                                float (&z)[kScores]) {
#pragma unroll
  for (int i = 0; i < kScores; i += 4) {
    const int m = row + Column(i);
    const float2 full = *reinterpret_cast<const float2*>(&rows.full[m]);
    const float2 proj = *reinterpret_cast<const float2*>(&rows.proj[m]);
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      z[i + e] = Exp2(fmaf(p[i + e], c, -(e % 2 == 0 ? proj.x : proj.y))) -
                 Exp2(fmaf(z[i + e], c, -(e % 2 == 0 ? full.x : full.y)));
    }
    EndStep();
  }
}

// Sums over high and low columns of the owned rows `row` and row + 8.
__device__ void StoreGrad(const AlignmentArgs& args, int slot, int row, int end,
                          const float (&d)[kHalves / 2]) {
  const int lane_column = 2 * (static_cast<int>(threadIdx.x) % 4);
#pragma unroll
  for (int i = 0; i < kHalves / 4; ++i) {
    const std::int64_t at = row + 8 * (i / 2 % 2);
    const int column = lane_column + Column(i);
    if (at < end && column < args.R) {
      args.grad[(at * args.S + slot) * args.R + column] =
          (d[i] + d[i + kHalves / 4]) * args.scale * args.grad_scale;
    }
  }
}

template <bool kKeys, int kWidth>
__device__ void Consume(const AlignmentArgs& args, int group,
                        const Shared<kWidth>& shared) {
  using L = Layout<kWidth, kTile>;
  Rings& ring = shared.rings();
  Stage<1> own;
  Stage<kStages> stage;
  const float c = args.scale * kLog2E;
  const int thread = static_cast<int>(threadIdx.x) % kGroup;
  const int lane_column = 2 * (thread % 4);
  const int at = group * kGroupRows + thread / 32 * 16 + thread % 32 / 4;
  const auto own_wide =
      Advance(L::Describe(shared.Own()), group * kGroupRows * L::kRowBytes);
  const auto own_halves = Advance(Halves::Describe(shared.OwnHalves()),
                                  group * kGroupRows * Halves::kRowBytes);
  const auto wide = L::Describe(shared.Wide(0));
  const auto halves = Halves::Describe(shared.StreamHalves(0));
  for (int wave = 0; ItemOfWave(wave) < AlignmentItem<kKeys>::Count(args);
       ++wave) {
    const AlignmentItem<kKeys> item(args, ItemOfWave(wave));
    const int first = item.tile * kTile;
    // The form that owns keys has no use for these.
    const AlignmentRows& facts = *item.Rows(args, kKeys ? 0 : item.tile);
    const OwnRows rows(facts, at);
    float z[kScores];
    float p[kScores];
    Wait(&ring.own_full, own.lap);
    own.Next();
    float d[kHalves / 2] = {};
    float kl[2] = {};
    std::uint32_t ds[kScores / 2];
    int previous = 0;
    for (int t = item.span.begin; t < item.span.end; ++t) {
      Wait(&ring.full[stage.index], stage.lap);
      const int offset = stage.index * Halves::kBytes;
      IssueHalves(p, own_halves, Advance(halves, offset));
      IssueScores<kWidth, kTile, kTile>(z, own_wide,
                                        Advance(wide, stage.index * L::kBytes));
      WgmmaWait<2>();  // the sum of the tile before
      PinRegisters(d);
      if (t > item.span.begin) {
        Release(&ring.empty[previous]);
      }
      WgmmaWait<0>();
      PinRegisters(p);
      PinRegisters(z);
      if constexpr (kKeys) {
        const AlignmentRows& streamed = shared.Rows(stage.index);
        if (IsPartial(streamed, first)) {
          MaskRows(streamed, lane_column, first + at, z, p);
        }
        CompareWithRows(streamed, c, lane_column, p, z);
      } else {
        if (IsPartial(facts, t * kTile)) {
          MaskKeys(rows, t * kTile + lane_column, z);
          MaskKeys(rows, t * kTile + lane_column, p);
        }
        CompareWithKeys(rows, c, p, z, kl);
      }
      Pack(z, ds);
      IssueSum<kHalves, kTile>(d, ds, Advance(halves, offset));
      previous = stage.index;
      stage.Next();
    }
    WgmmaWait<0>();
    PinRegisters(d);
    if (item.span.begin < item.span.end) {
      Release(&ring.empty[previous]);
    }
    Release(&ring.own_empty);
    if (!kKeys) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        kl[r] += __shfl_xor_sync(~0U, kl[r], 1);
        kl[r] += __shfl_xor_sync(~0U, kl[r], 2);
        const int m = first + at + 8 * r;
        if (thread % 4 == 0 && m < args.M) {
          args.kl_SM[std::int64_t{item.slot} * args.M + m] = kl[r] * kLn2;
        }
      }
    }
    if (args.grad != nullptr) {
      StoreGrad(args, item.slot, first + at, kKeys ? args.T : args.M, d);
    }
  }
}

template <bool kKeys, int kWidth>
__global__ void __launch_bounds__(kBlock, 1)
    AlignmentKernel(const __grid_constant__ AlignmentMaps maps,
                    const __grid_constant__ AlignmentArgs args) {
  extern __shared__ char memory[];
  const Shared<kWidth> shared{AlignTiles(memory)};
  if (threadIdx.x == 0) {
    Rings& ring = shared.rings();
    BarrierInit(&ring.own_full, 1);
    BarrierInit(&ring.own_empty, kConsumerWarps);
    for (int i = 0; i < kStages; ++i) {
      BarrierInit(&ring.full[i], 1);
      BarrierInit(&ring.empty[i], kConsumerWarps);
    }
    BarrierInitFence();
  }
  __syncthreads();
  const int group = __shfl_sync(~0U, static_cast<int>(threadIdx.x) / kGroup, 0);
  if (group == 0) {
    LowerRegisters<kProducerRegisters>();
    if (threadIdx.x == 0) {
      Produce<kKeys, kWidth>(maps, args, shared);
    }
  } else {
    RaiseRegisters<kConsumerRegisters>();
    Consume<kKeys, kWidth>(args, group - 1, shared);
  }
}

template <bool kKeys, int kWidth>
void Run(const AlignmentMaps& maps, const AlignmentArgs& args,
         cudaStream_t stream) {
  const int items =
      args.S * (kKeys ? args.packed.key_tiles : args.packed.row_tiles);
  constexpr int kBytes = Shared<kWidth>::kBytes;
  CHECK(cudaFuncSetAttribute(AlignmentKernel<kKeys, kWidth>,
                             cudaFuncAttributeMaxDynamicSharedMemorySize,
                             kBytes) == cudaSuccess);
  AlignmentKernel<kKeys, kWidth>
      <<<std::min(NumMultiprocessors(), items), kBlock, kBytes, stream>>>(maps,
                                                                          args);
  CheckLaunch();
}

}  // namespace

bool HasAlignmentKlSm90(const AlignmentShape& shape,
                        const AlignmentPointers<BFloat16>& in) {
  const auto aligned = [](const void* p) {
    return reinterpret_cast<std::uintptr_t>(p) % 16 == 0;
  };
  const bool width = shape.C == 32 || shape.C == 64 || shape.C == 128;
  return IsHopper() && width && shape.R <= kHalves / 2 && shape.M > 0 &&
         shape.S > 0 && shape.T < 1 << 30 && aligned(in.q_THC) &&
         aligned(in.k_TGC);
}

void AlignmentKlSm90(const AlignmentShape& shape,
                     const AlignmentPointers<BFloat16>& in, void* workspace,
                     float* kl_SM, float* dx_MSR, float* dy_TSR, void* stream) {
  const auto queue = static_cast<cudaStream_t>(stream);
  std::int64_t bytes = 0;
  AlignmentArgs args = {.packed = PlacePacked(shape, workspace, &bytes),
                        .heads = {},
                        .S = static_cast<int>(shape.S),
                        .M = static_cast<int>(shape.M),
                        .T = static_cast<int>(shape.T),
                        .R = static_cast<int>(shape.R),
                        .scale = shape.scale,
                        .grad_scale = shape.grad_scale,
                        .kl_SM = kl_SM,
                        .grad = dx_MSR};
  for (std::int64_t s = 0; s < shape.S; ++s) {
    args.heads.head[s] = static_cast<std::int16_t>(shape.head_S[s]);
    args.heads.kv_head[s] =
        static_cast<std::int16_t>(shape.kv_head_H[shape.head_S[s]]);
  }
  PackAlignment(shape, args.heads, in, args.packed, queue);
  const PackedAlignment& packed = args.packed;
  const AlignmentMaps maps = {
      MakeTensorMap(packed.q_MSC, shape.M, shape.S, shape.C, kTile),
      MakeTensorMap(packed.x_MSX, shape.M, shape.S, kHalves, kTile),
      MakeTensorMap(in.k_TGC, shape.T, shape.G, shape.C, kTile),
      MakeTensorMap(packed.y_TSX, shape.T, shape.S, kHalves, kTile)};
  AlignmentLogSumsSm90(maps, args, queue);
  const auto run = [&]<int kWidth>() {
    Run<false, kWidth>(maps, args, queue);
    args.grad = dy_TSR;
    if (dy_TSR != nullptr) {
      Run<true, kWidth>(maps, args, queue);
    }
  };
  if (shape.C == 128) {
    run.template operator()<128>();
  } else if (shape.C == 64) {
    run.template operator()<64>();
  } else {
    run.template operator()<32>();
  }
}

}  // namespace rtpurbo::kernels::cuda
