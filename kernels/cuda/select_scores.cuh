// Scores of key blocks for select_top_p.cu: what a launch is given, the maximum
// m and the sum l of exp(p - m) of a block of keys, and walks over them.

#ifndef RTPURBO_KERNELS_CUDA_SELECT_SCORES_CUH_
#define RTPURBO_KERNELS_CUDA_SELECT_SCORES_CUH_

#include <algorithm>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/rows.cuh"
#include "kernels/cuda/select_top_p.h"

namespace rtpurbo::kernels::cuda::select {

inline constexpr std::int64_t kPieceKeys = 2048;
inline constexpr int kTileKeys = 64;  // scored at once by a warp
inline constexpr int kBins = 256;
inline constexpr float kBinsPerNat = kBins / 20.0F;
inline constexpr float kFixedPoint = 0x1p40F;
inline constexpr float kNone = -INFINITY;
using Weight = unsigned long long;

struct Args {
  SelectShape shape;
  const float* x_MSR;
  const float* y_NSR;
  const std::int32_t* document_N;
  std::int32_t* mask_SMB;
  std::int32_t* kept_SM2;
  float2* score;  // [S, M, blocks]: m and l
  int* done;      // [S, M]
  std::int64_t num_blocks;
  std::int64_t piece_blocks;
};

// One row and the blocks [first, last] that it sees.
struct Row {
  std::int64_t index;  // s M + m
  std::int64_t s;
  std::int64_t position;
  std::int64_t document;
  std::int64_t first;
  std::int64_t last;
  std::int64_t block;
  __device__ Row(const Args& args, std::int64_t row)
      : index(row), s(row / args.shape.M), block(args.shape.block) {
    position = args.shape.query_begin + row % args.shape.M;
    document = args.document_N == nullptr ? 0 : args.document_N[position];
    first = document / block;
    last = position / block;
  }
  __device__ std::int64_t KeyEnd(std::int64_t b) const {
    return min((b + 1) * block, position + 1);
  }
  __device__ int Keys(std::int64_t b) const {
    return static_cast<int>(KeyEnd(b) - max(b * block, document));
  }
  __device__ bool Forced(const SelectShape& shape, std::int64_t b) const {
    return (shape.sinks > 0 && b * block < document + shape.sinks) ||
           position - (KeyEnd(b) - 1) <= shape.recent;
  }
};

__device__ inline float WarpMax(float value) {
  for (int step = kWarpSize / 2; step > 0; step /= 2) {
    value = fmaxf(value, __shfl_xor_sync(~0U, value, step));
  }
  return value;
}

// Scores of the keys begin + lane / kQuads + n 32 / kQuads, 4 kQuads = R: each
// of kQuads neighbouring lanes multiplies 4 columns.
template <int kQuads>
__device__ inline void ScoreTile(
    const Args& args, const Row& row, const float4& x, std::int64_t begin,
    std::int64_t end, float (&score)[kTileKeys / kWarpSize * kQuads]) {
  constexpr int kKeys = kWarpSize / kQuads;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const std::int64_t stride = args.shape.S * args.shape.R;
  const float* y = args.y_NSR + row.s * args.shape.R + lane % kQuads * 4;
#pragma unroll
  for (int n = 0; n < kTileKeys / kKeys; ++n) {
    const std::int64_t key = begin + n * kKeys + lane / kQuads;
    const bool visible = key >= row.document && key < end;
    const float4 k = visible
                         ? *reinterpret_cast<const float4*>(y + key * stride)
                         : float4{0, 0, 0, 0};
    score[n] = k.x * x.x + k.y * x.y + k.z * x.z + k.w * x.w;
  }
#pragma unroll
  for (int n = 0; n < kTileKeys / kKeys; ++n) {
#pragma unroll
    for (int step = kQuads / 2; step > 0; step /= 2) {
      score[n] += __shfl_xor_sync(~0U, score[n], step);
    }
    const std::int64_t key = begin + n * kKeys + lane / kQuads;
    const bool visible = key >= row.document && key < end;
    score[n] = visible ? score[n] * args.shape.scale : kNone;
  }
}

// Any R: a lane a key.
template <>
__device__ inline void ScoreTile<1>(const Args& args, const Row& row,
                                    const float4& /*x*/, std::int64_t begin,
                                    std::int64_t end,
                                    float (&score)[kTileKeys / kWarpSize]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const std::int64_t m = row.index % args.shape.M;
  const float* x = args.x_MSR + (m * args.shape.S + row.s) * args.shape.R;
#pragma unroll
  for (int n = 0; n < kTileKeys / kWarpSize; ++n) {
    const std::int64_t key = begin + n * kWarpSize + lane;
    float sum = kNone;
    if (key >= row.document && key < end) {
      const float* y = args.y_NSR + (key * args.shape.S + row.s) * args.shape.R;
      sum = 0;
      for (std::int64_t r = 0; r < args.shape.R; ++r) {
        sum += x[r] * y[r];
      }
      sum *= args.shape.scale;
    }
    score[n] = sum;
  }
}

// m and l of block b, by one warp.
template <int kQuads>
__device__ inline float2 ScoreBlock(const Args& args, const Row& row,
                                    const float4& x, std::int64_t b) {
  constexpr int kScores = kTileKeys / kWarpSize * kQuads;
  const bool owner = threadIdx.x % kQuads == 0;  // of the copies of a score
  const std::int64_t end = row.KeyEnd(b);
  float top = kNone;
  float sum = 0;
  for (std::int64_t begin = b * row.block; begin < end; begin += kTileKeys) {
    float score[kScores];
    ScoreTile<kQuads>(args, row, x, begin, end, score);
    float high = kNone;
#pragma unroll
    for (const float value : score) {
      high = fmaxf(high, value);
    }
    high = fmaxf(top, WarpMax(high));
    float added = 0;
#pragma unroll
    for (const float value : score) {
      added += owner && value != kNone ? expf(value - high) : 0.0F;
    }
    sum = (top == kNone ? 0.0F : sum * expf(top - high)) + WarpSum(added);
    top = high;
  }
  return {top, sum};
}

__device__ inline float OrderOf(const Args& args, float2 score) {
  const float order = args.shape.by_mass ? score.x + logf(score.y) : score.x;
  return order != order ? kNone : order;  // NaN comes last
}

// What is not a number weighs nothing.
__device__ inline Weight WeightOf(float2 score, float top) {
  const float weight = expf(score.x - top) * score.y * kFixedPoint;
  return weight > 0 ? static_cast<Weight>(weight) : 0;
}

__device__ inline int BinOf(float order, float top) {
  const float bin = (top - order) * kBinsPerNat;
  return bin < kBins - 1 ? static_cast<int>(bin) : kBins - 1;
}

// An integer that grows with x.
__device__ inline unsigned Sortable(float x) {
  const unsigned bits = __float_as_uint(x);
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}

// Calls fn(b, m and l of block b) for the blocks of this thread; several loads
// are in flight at once.
template <typename Fn>
__device__ inline void ForEachScore(const Row& row, const float2* score,
                                    Fn fn) {
  constexpr int kAhead = 8;
  for (std::int64_t first = row.first + threadIdx.x; first <= row.last;
       first += kAhead * kThreads) {
    float2 value[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const std::int64_t b = first + i * kThreads;
      value[i] = b <= row.last ? __ldcg(score + b) : float2{0, 0};
    }
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const std::int64_t b = first + i * kThreads;
      if (b <= row.last) {
        fn(b, value[i]);
      }
    }
  }
}

}  // namespace rtpurbo::kernels::cuda::select

#endif  // RTPURBO_KERNELS_CUDA_SELECT_SCORES_CUH_
