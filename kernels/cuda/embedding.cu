// Embedding. The gradient of a table row is summed by one block, that of the
// first token with its id, over all tokens with that id in order: no atomics.

#include "kernels/cuda/embedding.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/rows.cuh"

namespace rtpurbo::kernels::cuda {
namespace {

template <typename T>
__global__ void ForwardKernel(const T* __restrict__ w_VD,
                              const std::int32_t* __restrict__ id_T,
                              std::int64_t D, T* __restrict__ y_TD) {
  const std::int64_t t = blockIdx.x;
  CopyRow(w_VD + std::int64_t{id_T[t]} * D, D, y_TD + t * D);
}

template <typename T>
__global__ void BackwardKernel(const std::int32_t* __restrict__ id_T,
                               const T* __restrict__ dy_TD, std::int64_t T_,
                               std::int64_t D, float* __restrict__ dw_VD) {
  const std::int64_t t = blockIdx.x;
  float* dw = dw_VD + std::int64_t{id_T[t]} * D;
  ForEachEqual(id_T, t, T_, [&](const Matches& matches) {
    for (std::int64_t i = threadIdx.x; i < D; i += kThreads) {
      float sum = dw[i];
      for (int n = 0; n < matches.count; ++n) {
        sum += Load(dy_TD + matches.Index(n) * D + i);
      }
      dw[i] = sum;
    }
  });
}

}  // namespace

template <typename T>
void EmbeddingForward(const T* w_VD, const std::int32_t* id_T, std::int64_t T_,
                      std::int64_t D, T* y_TD, void* stream) {
  Launch(ForwardKernel<T>, T_, stream, w_VD, id_T, D, y_TD);
}

template <typename T>
void EmbeddingBackward(const std::int32_t* id_T, const T* dy_TD,
                       std::int64_t T_, std::int64_t D, float* dw_VD,
                       void* stream) {
  Launch(BackwardKernel<T>, T_, stream, id_T, dy_TD, T_, D, dw_VD);
}

using I = std::int64_t;
using B = BFloat16;
template void EmbeddingForward(const float*, const std::int32_t*, I, I, float*,
                               void*);
template void EmbeddingForward(const B*, const std::int32_t*, I, I, B*, void*);
template void EmbeddingBackward(const std::int32_t*, const float*, I, I, float*,
                                void*);
template void EmbeddingBackward(const std::int32_t*, const B*, I, I, float*,
                                void*);

}  // namespace rtpurbo::kernels::cuda
