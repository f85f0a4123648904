// Attention mass: one block a head and row of `post`, then one thread a head.

#include "kernels/cuda/attention_mass.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/rows.cuh"

namespace rtpurbo::kernels::cuda {
namespace {

template <typename T>
__global__ void RowKernel(MassShape shape,
                          const std::int32_t* __restrict__ kv_head_H,
                          const T* __restrict__ q_THC,
                          const T* __restrict__ k_TGC,
                          const float* __restrict__ lse_HT,
                          float* __restrict__ row_mass) {
  __shared__ float mass[kWarps];
  const std::int64_t rows = shape.post_end - shape.post_begin;
  const std::int64_t h = blockIdx.x / rows;
  const std::int64_t t = shape.post_begin + blockIdx.x % rows;
  const T* q = q_THC + (t * shape.H + h) * shape.C;
  const float lse = lse_HT[h * shape.T + t];
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  float sum = 0;
  for (std::int64_t j = shape.pre_begin + warp; j < shape.pre_end;
       j += kWarps) {
    const T* k = k_TGC + (j * shape.G + kv_head_H[h]) * shape.C;
    float dot = 0;
    for (std::int64_t c = threadIdx.x % kWarpSize; c < shape.C;
         c += kWarpSize) {
      dot += Load(q + c) * Load(k + c);
    }
    sum += expf(shape.scale * WarpSum(dot) - lse);
  }
  if (threadIdx.x % kWarpSize == 0) {
    mass[warp] = sum;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int w = 1; w < kWarps; ++w) {
      sum += mass[w];
    }
    row_mass[blockIdx.x] = sum;
  }
}

}  // namespace

template <typename T>
void AttentionMass(const MassShape& shape, const std::int32_t* kv_head_H,
                   const T* q_THC, const T* k_TGC, const float* lse_HT,
                   float* row_mass, float* mass_H, void* stream) {
  const std::int64_t rows = shape.post_end - shape.post_begin;
  Launch(RowKernel<T>, shape.H * rows, stream, shape, kv_head_H, q_THC, k_TGC,
         lse_HT, row_mass);
  ForEach(shape.H, stream, [=] __device__(std::int64_t h) {
    float sum = 0;
    for (std::int64_t t = 0; t < rows; ++t) {
      sum += row_mass[h * rows + t];
    }
    mass_H[h] = sum / static_cast<float>(rows);
  });
}

using N = std::int32_t;
using B = BFloat16;
template void AttentionMass(const MassShape&, const N*, const float*,
                            const float*, const float*, float*, float*, void*);
template void AttentionMass(const MassShape&, const N*, const B*, const B*,
                            const float*, float*, float*, void*);

}  // namespace rtpurbo::kernels::cuda
