// The router: one warp a token.

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/router.h"
#include "kernels/cuda/rows.cuh"

namespace rtpurbo::kernels::cuda {
namespace {

__device__ std::int64_t WarpRow() {
  return (std::int64_t{blockIdx.x} * kThreads + threadIdx.x) / kWarpSize;
}

// Writes p, then takes K times the highest p below what was taken last, in the
// order (p falling, index rising).
template <typename T>
__global__ void SelectKernel(RouterShape shape, const T* __restrict__ z_TE,
                             float* __restrict__ prob_TE,
                             std::int32_t* __restrict__ expert_TK) {
  const std::int64_t t = WarpRow();
  if (t >= shape.T) {
    return;
  }
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int count = static_cast<int>(shape.E);
  const T* z = z_TE + t * shape.E;
  float* p = prob_TE + t * shape.E;
  float top = -INFINITY;
  for (int e = lane; e < count; e += kWarpSize) {
    top = fmaxf(top, Load(z + e));
  }
  for (int step = kWarpSize / 2; step > 0; step /= 2) {
    top = fmaxf(top, __shfl_xor_sync(~0U, top, step));
  }
  float sum = 0;
  for (int e = lane; e < count; e += kWarpSize) {
    sum += expf(Load(z + e) - top);
  }
  sum = WarpSum(sum);
  for (int e = lane; e < count; e += kWarpSize) {
    p[e] = expf(Load(z + e) - top) / sum;
  }
  float last = INFINITY;
  int last_index = -1;
  for (int k = 0; k < shape.K; ++k) {
    float best = -1;
    int index = count;
    for (int e = lane; e < count; e += kWarpSize) {
      const bool left = p[e] < last || (p[e] == last && e > last_index);
      if (left && p[e] > best) {
        best = p[e];
        index = e;
      }
    }
    for (int step = kWarpSize / 2; step > 0; step /= 2) {
      const float other = __shfl_xor_sync(~0U, best, step);
      const int other_index = __shfl_xor_sync(~0U, index, step);
      if (other > best || (other == best && other_index < index)) {
        best = other;
        index = other_index;
      }
    }
    last = best;
    last_index = index;
    if (lane == 0) {
      expert_TK[t * shape.K + k] = index;
    }
  }
}

// dz_e = p_e (dp_e - sum over all of dp p); dp is zero except for the taken.
template <typename T>
__global__ void BackwardKernel(RouterShape shape,
                               const float* __restrict__ prob_TE,
                               const std::int32_t* __restrict__ expert_TK,
                               const float* __restrict__ dweight_TK,
                               T* __restrict__ dz_TE) {
  const std::int64_t t = WarpRow();
  if (t >= shape.T) {
    return;
  }
  const float* p = prob_TE + t * shape.E;
  const std::int32_t* expert = expert_TK + t * shape.K;
  const float* dweight = dweight_TK + t * shape.K;
  float taken = 0;
  float mean = 0;  // sum of dweight p over the taken
  for (int k = 0; k < shape.K; ++k) {
    taken += p[expert[k]];
    mean += dweight[k] * p[expert[k]];
  }
  // With normalisation w = p / taken: dp = (dw - sum dw w) / taken, and then
  // the sum of dp p is zero.
  const float shift = shape.normalize ? mean / taken : 0.0F;
  const float divisor = shape.normalize ? taken : 1.0F;
  const float dot = shape.normalize ? 0.0F : mean;
  for (int e = static_cast<int>(threadIdx.x) % kWarpSize; e < shape.E;
       e += kWarpSize) {
    float dp = 0;
    for (int k = 0; k < shape.K; ++k) {
      dp += expert[k] == e ? (dweight[k] - shift) / divisor : 0.0F;
    }
    Store(p[e] * (dp - dot), dz_TE + t * shape.E + e);
  }
}

}  // namespace

template <typename T>
void RouterSelect(const RouterShape& shape, const T* z_TE, float* prob_TE,
                  std::int32_t* expert_TK, void* stream) {
  Launch(SelectKernel<T>, (shape.T + kWarps - 1) / kWarps, stream, shape, z_TE,
         prob_TE, expert_TK);
}

void RouterWeights(const RouterShape& shape, const float* prob_TE,
                   const std::int32_t* expert_TK, float* weight_TK,
                   void* stream) {
  ForEach(shape.T, stream, [=] __device__(std::int64_t t) {
    const float* p = prob_TE + t * shape.E;
    float sum = 0;
    for (std::int64_t k = 0; k < shape.K; ++k) {
      sum += p[expert_TK[t * shape.K + k]];
    }
    for (std::int64_t k = 0; k < shape.K; ++k) {
      const float taken = p[expert_TK[t * shape.K + k]];
      weight_TK[t * shape.K + k] = shape.normalize ? taken / sum : taken;
    }
  });
}

template <typename T>
void RouterBackward(const RouterShape& shape, const float* prob_TE,
                    const std::int32_t* expert_TK, const float* dweight_TK,
                    T* dz_TE, void* stream) {
  Launch(BackwardKernel<T>, (shape.T + kWarps - 1) / kWarps, stream, shape,
         prob_TE, expert_TK, dweight_TK, dz_TE);
}

using B = BFloat16;
template void RouterSelect(const RouterShape&, const float*, float*,
                           std::int32_t*, void*);
template void RouterSelect(const RouterShape&, const B*, float*, std::int32_t*,
                           void*);
template void RouterBackward(const RouterShape&, const float*,
                             const std::int32_t*, const float*, float*, void*);
template void RouterBackward(const RouterShape&, const float*,
                             const std::int32_t*, const float*, B*, void*);

}  // namespace rtpurbo::kernels::cuda
