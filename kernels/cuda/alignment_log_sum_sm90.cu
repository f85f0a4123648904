// Log-sums of projected rows on Hopper, which alignment KL compares with those
// of attention: a block owns 128 rows of a slot and streams projected keys past
// them. Every thread keeps its own maximum and sum of its columns.

#include <algorithm>

#include "kernels/core/check.h"
#include "kernels/cuda/alignment_kl_sm90.cuh"
#include "kernels/cuda/launch.cuh"

namespace rtpurbo::kernels::cuda {
namespace {

constexpr int kStages = 4;          // 41 KB, no more than what needs no asking
constexpr int kScores = kTile / 2;  // registers of a thread

struct Shared {
  char* tiles;
  struct Rings {
    Barrier own_full, own_empty;
    Barrier full[kStages], empty[kStages];
  };
  __device__ char* Own() const { return tiles; }
  __device__ char* Stream(int stage) const {
    return tiles + (1 + stage) * Halves::kBytes;
  }
  __device__ Rings& rings() const {
    return *reinterpret_cast<Rings*>(Stream(kStages));
  }
  static constexpr int kBytes =
      1024 + (1 + kStages) * Halves::kBytes + int{sizeof(Rings)};
};

__device__ void Produce(const AlignmentMaps& maps, const AlignmentArgs& args,
                        const Shared& shared) {
  Shared::Rings& ring = shared.rings();
  Stage<1> own;
  Stage<kStages> stage;
  for (int wave = 0; ItemOfWave(wave) < AlignmentItem<false>::Count(args);
       ++wave) {
    const AlignmentItem<false> item(args, ItemOfWave(wave));
    Wait(&ring.own_empty, own.lap ^ 1);
    ArriveExpect(&ring.own_full, Halves::kBytes);
    Halves::Load(maps.x, shared.Own(), &ring.own_full, item.slot,
                 item.tile * kTile);
    own.Next();
    for (int t = item.span.begin; t < item.span.end; ++t) {
      Barrier* full = &ring.full[stage.index];
      Wait(&ring.empty[stage.index], stage.lap ^ 1);
      ArriveExpect(full, Halves::kBytes);
      Halves::Load(maps.y, shared.Stream(stage.index), full, item.slot,
                   t * kTile);
      stage.Next();
    }
  }
}

// Running log-sum of a thread's share of two rows, in powers of two.
struct LogSums {
  float top[2] = {kNone, kNone};
  float sum[2] = {0, 0};

  // Scores of columns key + Column(i); masked if `partial`.
  __device__ void Add(const OwnRows& rows, float c, int key, bool partial,
                      float (&p)[kScores]) {
    float high[2] = {top[0], top[1]};
#pragma unroll
    for (int i = 0; i < kScores; ++i) {
      const int r = i / 2 % 2;
      if (partial) {
        const int n = key + Column(i);
        const bool sees = n <= rows.position[r] && n >= rows.document[r];
        p[i] = sees ? p[i] : kNone;
      }
      high[r] = fmaxf(high[r], p[i] * c);
    }
    float base[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      base[r] = high[r] == kNone ? 0.0F : high[r];
      sum[r] *= Exp2(top[r] - base[r]);
      top[r] = high[r];
    }
#pragma unroll
    for (int i = 0; i < kScores; ++i) {
      sum[i / 2 % 2] += Exp2(fmaf(p[i], c, -base[i / 2 % 2]));
    }
  }
  // Over the four threads of a row.
  __device__ float Finish(int r) const {
    float high = top[r];
    high = fmaxf(high, __shfl_xor_sync(~0U, high, 1));
    high = fmaxf(high, __shfl_xor_sync(~0U, high, 2));
    const float base = high == kNone ? 0.0F : high;
    float total = sum[r] * Exp2(top[r] - base);
    total += __shfl_xor_sync(~0U, total, 1);
    total += __shfl_xor_sync(~0U, total, 2);
    return base + log2f(total);
  }
};

__device__ void Consume(const AlignmentArgs& args, int group,
                        const Shared& shared) {
  Shared::Rings& ring = shared.rings();
  Stage<1> own;
  Stage<kStages> stage;
  Stage<kStages> oldest;  // in use
  const float c = args.scale * kLog2E;
  const int thread = static_cast<int>(threadIdx.x) % kGroup;
  const int lane_column = 2 * (thread % 4);
  const int at = group * kGroupRows + thread / 32 * 16 + thread % 32 / 4;
  const auto rows_of_group = Advance(Halves::Describe(shared.Own()),
                                     group * kGroupRows * Halves::kRowBytes);
  const auto keys = Halves::Describe(shared.Stream(0));
  for (int wave = 0; ItemOfWave(wave) < AlignmentItem<false>::Count(args);
       ++wave) {
    const AlignmentItem<false> item(args, ItemOfWave(wave));
    AlignmentRows& facts = *item.Rows(args, item.tile);
    const OwnRows rows(facts, at);
    LogSums sums;
    Wait(&ring.own_full, own.lap);
    own.Next();
    // The product of the next tile runs under the exponentials of this one.
    float even[kScores];
    float odd[kScores];
    int t = item.span.begin;
    const auto issue = [&](float(&p)[kScores]) {
      Wait(&ring.full[stage.index], stage.lap);
      IssueHalves(p, rows_of_group,
                  Advance(keys, stage.index * Halves::kBytes));
      stage.Next();
    };
    const auto add = [&](float(&p)[kScores]) {
      PinRegisters(p);
      Release(&ring.empty[oldest.index]);
      oldest.Next();
      sums.Add(rows, c, t * kTile + lane_column, IsPartial(facts, t * kTile),
               p);
      ++t;
    };
    issue(even);
    while (t + 2 < item.span.end) {
      issue(odd);
      WgmmaWait<1>();
      add(even);
      issue(even);
      WgmmaWait<1>();
      add(odd);
    }
    if (t + 1 < item.span.end) {
      issue(odd);
      WgmmaWait<1>();
      add(even);
      WgmmaWait<0>();
      add(odd);
    } else {
      WgmmaWait<0>();
      add(even);
    }
    Release(&ring.own_empty);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float log_sum = sums.Finish(r);
      if (thread % 4 == 0) {
        facts.proj[at + 8 * r] = rows.position[r] < 0 ? 0.0F : log_sum;
      }
    }
  }
}

__global__ void __launch_bounds__(kBlock, 1)
    LogSumKernel(const __grid_constant__ AlignmentMaps maps,
                 const __grid_constant__ AlignmentArgs args) {
  extern __shared__ char memory[];
  const Shared shared{AlignTiles(memory)};
  if (threadIdx.x == 0) {
    Shared::Rings& ring = shared.rings();
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
      Produce(maps, args, shared);
    }
  } else {
    RaiseRegisters<kConsumerRegisters>();
    Consume(args, group - 1, shared);
  }
}

}  // namespace

void AlignmentLogSumsSm90(const AlignmentMaps& maps, const AlignmentArgs& args,
                          cudaStream_t stream) {
  const int blocks =
      std::min(NumMultiprocessors(), args.S * args.packed.row_tiles);
  LogSumKernel<<<blocks, kBlock, Shared::kBytes, stream>>>(maps, args);
  CheckLaunch();
}

}  // namespace rtpurbo::kernels::cuda
