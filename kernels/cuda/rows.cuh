// Blocks that work on rows: copies, sums over warps, and gradients that add up
// over all places where an index occurs.

#ifndef RTPURBO_KERNELS_CUDA_ROWS_CUH_
#define RTPURBO_KERNELS_CUDA_ROWS_CUH_

#include <cstdint>

#include "kernels/cuda/launch.cuh"

namespace rtpurbo::kernels::cuda {

inline constexpr int kWarpSize = 32;
inline constexpr int kWarps = kThreads / kWarpSize;

__device__ inline float WarpSum(float value) {
  for (int step = kWarpSize / 2; step > 0; step /= 2) {
    value += __shfl_xor_sync(~0U, value, step);
  }
  return value;
}

// Eight neighbours as they lie in memory, at an address that 16 divides.
template <typename T>
struct EightOf {
  uint4 bytes[sizeof(T) / 2];
};
__device__ inline void Unpack(const EightOf<float>& eight, float (&x)[8]) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    x[4 * i] = __uint_as_float(eight.bytes[i].x);
    x[4 * i + 1] = __uint_as_float(eight.bytes[i].y);
    x[4 * i + 2] = __uint_as_float(eight.bytes[i].z);
    x[4 * i + 3] = __uint_as_float(eight.bytes[i].w);
  }
}
__device__ inline void Unpack(const EightOf<BFloat16>& eight, float (&x)[8]) {
  const auto* pairs = reinterpret_cast<const __nv_bfloat162*>(eight.bytes);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 pair = __bfloat1622float2(pairs[i]);
    x[2 * i] = pair.x;
    x[2 * i + 1] = pair.y;
  }
}

// By the whole block; 16 bytes at a time if both rows are aligned to it.
template <typename T>
__device__ void CopyRow(const T* __restrict__ from, std::int64_t n,
                        T* __restrict__ to) {
  constexpr std::int64_t kPiece = 16 / sizeof(T);
  const auto misaligned = (reinterpret_cast<std::uintptr_t>(from) |
                           reinterpret_cast<std::uintptr_t>(to)) %
                          16;
  const std::int64_t pieces = misaligned == 0 ? n / kPiece : 0;
  for (std::int64_t i = threadIdx.x; i < pieces; i += kThreads) {
    reinterpret_cast<uint4*>(to)[i] = reinterpret_cast<const uint4*>(from)[i];
  }
  for (std::int64_t i = pieces * kPiece + threadIdx.x; i < n; i += kThreads) {
    to[i] = from[i];
  }
}

// Some places of an id, ascending.
struct Matches {
  std::int64_t begin;
  int count;
  const short* offset;
  __device__ std::int64_t Index(int n) const { return begin + offset[n]; }
};

// If place t is the first one of its id, calls fn(matches) with all places of
// that id, piece by piece in ascending order; else does nothing. By the whole
// block, which must not have diverged.
template <typename Fn>
__device__ void ForEachEqual(const std::int32_t* __restrict__ id,
                             std::int64_t t, std::int64_t count, Fn fn) {
  __shared__ short offset[kThreads];
  __shared__ int before[kWarps];
  const std::int32_t wanted = id[t];
  for (std::int64_t begin = 0; begin < t; begin += kThreads) {
    const std::int64_t i = begin + threadIdx.x;
    if (__syncthreads_or(i < t && id[i] == wanted ? 1 : 0) != 0) {
      return;
    }
  }
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const unsigned lane = threadIdx.x % kWarpSize;
  for (std::int64_t begin = t; begin < count; begin += kThreads) {
    const std::int64_t i = begin + threadIdx.x;
    const bool equal = i < count && id[i] == wanted;
    const unsigned votes = __ballot_sync(~0U, equal);
    if (lane == 0) {
      before[warp] = __popc(votes);
    }
    __syncthreads();
    int place = __popc(votes & ((1U << lane) - 1));
    int total = 0;
    for (int w = 0; w < kWarps; ++w) {
      place += w < warp ? before[w] : 0;
      total += before[w];
    }
    if (equal) {
      offset[place] = static_cast<short>(threadIdx.x);
    }
    __syncthreads();
    if (total > 0) {
      fn(Matches{begin, total, offset});
    }
    __syncthreads();
  }
}

}  // namespace rtpurbo::kernels::cuda

#endif  // RTPURBO_KERNELS_CUDA_ROWS_CUH_
