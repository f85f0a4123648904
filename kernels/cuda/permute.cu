// Tokens to expert order and back. The layout is a counting sort in three
// launches: counts of each piece of kThreads choices, their prefix sums,
// places.

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/permute.h"
#include "kernels/cuda/rows.cuh"

namespace rtpurbo::kernels::cuda {
namespace {

std::int64_t NumPieces(std::int64_t N) {
  return (N + kThreads - 1) / kThreads;
}

// count_EP[e, piece]: choices of e in the piece.
__global__ void CountKernel(const std::int32_t* __restrict__ expert_TK,
                            std::int64_t N, std::int64_t E,
                            std::int32_t* __restrict__ count_EP) {
  __shared__ std::int32_t experts[kThreads];
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  experts[threadIdx.x] = i < N ? expert_TK[i] : -1;
  __syncthreads();
  for (std::int64_t e = threadIdx.x; e < E; e += kThreads) {
    std::int32_t count = 0;
    for (const std::int32_t expert : experts) {
      count += expert == e ? 1 : 0;
    }
    count_EP[e * gridDim.x + blockIdx.x] = count;
  }
}

// One block: offset_E, and each count becomes the first place of its piece.
__global__ void PrefixKernel(std::int64_t E, std::int64_t pieces,
                             std::int32_t* __restrict__ count_EP,
                             std::int32_t* __restrict__ offset_E) {
  for (std::int64_t e = threadIdx.x; e < E; e += kThreads) {
    std::int32_t sum = 0;
    for (std::int64_t p = 0; p < pieces; ++p) {
      sum += count_EP[e * pieces + p];
    }
    offset_E[e + 1] = sum;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    offset_E[0] = 0;
    for (std::int64_t e = 0; e < E; ++e) {
      offset_E[e + 1] += offset_E[e];
    }
  }
  __syncthreads();
  for (std::int64_t e = threadIdx.x; e < E; e += kThreads) {
    std::int32_t place = offset_E[e];
    for (std::int64_t p = 0; p < pieces; ++p) {
      const std::int32_t count = count_EP[e * pieces + p];
      count_EP[e * pieces + p] = place;
      place += count;
    }
  }
}

__global__ void PlaceKernel(const std::int32_t* __restrict__ expert_TK,
                            std::int64_t N,
                            const std::int32_t* __restrict__ first_EP,
                            std::int32_t* __restrict__ place_TK,
                            std::int32_t* __restrict__ source_N) {
  __shared__ std::int32_t experts[kThreads];
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const std::int32_t expert = i < N ? expert_TK[i] : -1;
  experts[threadIdx.x] = expert;
  __syncthreads();
  if (i >= N) {
    return;
  }
  std::int32_t place = first_EP[std::int64_t{expert} * gridDim.x + blockIdx.x];
  for (unsigned before = 0; before < threadIdx.x; ++before) {
    place += experts[before] == expert ? 1 : 0;
  }
  place_TK[i] = place;
  source_N[place] = static_cast<std::int32_t>(i);
}

template <typename T>
__global__ void GatherKernel(PermuteShape shape, const T* __restrict__ x_TD,
                             const std::int32_t* __restrict__ source_N,
                             T* __restrict__ y_ND) {
  const std::int64_t n = blockIdx.x;
  CopyRow(x_TD + source_N[n] / shape.K * shape.D, shape.D, y_ND + n * shape.D);
}

// y[t] = sum over k of weight x[place], or plain x if there is no weight.
template <typename T>
__global__ void SumKernel(PermuteShape shape, const T* __restrict__ x_ND,
                          const float* __restrict__ weight_TK,
                          const std::int32_t* __restrict__ place_TK,
                          T* __restrict__ y_TD) {
  const std::int64_t t = blockIdx.x;
  for (std::int64_t i = threadIdx.x; i < shape.D; i += kThreads) {
    float sum = 0;
    for (std::int64_t k = 0; k < shape.K; ++k) {
      const std::int64_t choice = t * shape.K + k;
      const float x = Load(x_ND + place_TK[choice] * shape.D + i);
      sum += weight_TK == nullptr ? x : weight_TK[choice] * x;
    }
    Store(sum, y_TD + t * shape.D + i);
  }
}

// One block a choice.
template <typename T>
__global__ void CombineBackwardKernel(PermuteShape shape,
                                      const T* __restrict__ x_ND,
                                      const float* __restrict__ weight_TK,
                                      const std::int32_t* __restrict__ place_TK,
                                      const T* __restrict__ dy_TD,
                                      T* __restrict__ dx_ND,
                                      float* __restrict__ dweight_TK) {
  const std::int64_t choice = blockIdx.x;
  const std::int64_t row = place_TK[choice] * shape.D;
  const T* dy = dy_TD + choice / shape.K * shape.D;
  const float weight = weight_TK[choice];
  float dot = 0;
  for (std::int64_t i = threadIdx.x; i < shape.D; i += kThreads) {
    const float d = Load(dy + i);
    if (dweight_TK != nullptr) {
      dot += d * Load(x_ND + row + i);
    }
    if (dx_ND != nullptr) {
      Store(weight * d, dx_ND + row + i);
    }
  }
  if (dweight_TK != nullptr) {
    dot = BlockReduce(dot, Sum{});
    if (threadIdx.x == 0) {
      dweight_TK[choice] = dot;
    }
  }
}

}  // namespace

std::int64_t PermuteWorkspace(std::int64_t N, std::int64_t E) {
  return NumPieces(N) * E * std::int64_t{sizeof(std::int32_t)};
}

void PermuteLayout(const std::int32_t* expert_TK, std::int64_t N,
                   std::int64_t E, std::int32_t* place_TK,
                   std::int32_t* source_N, std::int32_t* offset_E,
                   void* workspace, void* stream) {
  auto* count = static_cast<std::int32_t*>(workspace);
  const std::int64_t pieces = NumPieces(N);
  Launch(CountKernel, pieces, stream, expert_TK, N, E, count);
  Launch(PrefixKernel, 1, stream, E, pieces, count, offset_E);
  Launch(PlaceKernel, pieces, stream, expert_TK, N,
         static_cast<const std::int32_t*>(count), place_TK, source_N);
}

template <typename T>
void PermuteForward(const PermuteShape& shape, const T* x_TD,
                    const std::int32_t* source_N, T* y_ND, void* stream) {
  Launch(GatherKernel<T>, shape.T * shape.K, stream, shape, x_TD, source_N,
         y_ND);
}

template <typename T>
void PermuteBackward(const PermuteShape& shape, const T* dy_ND,
                     const std::int32_t* place_TK, T* dx_TD, void* stream) {
  Launch(SumKernel<T>, shape.T, stream, shape, dy_ND,
         static_cast<const float*>(nullptr), place_TK, dx_TD);
}

template <typename T>
void CombineForward(const PermuteShape& shape, const T* x_ND,
                    const float* weight_TK, const std::int32_t* place_TK,
                    T* y_TD, void* stream) {
  Launch(SumKernel<T>, shape.T, stream, shape, x_ND, weight_TK, place_TK, y_TD);
}

template <typename T>
void CombineBackward(const PermuteShape& shape, const T* x_ND,
                     const float* weight_TK, const std::int32_t* place_TK,
                     const T* dy_TD, T* dx_ND, float* dweight_TK,
                     void* stream) {
  Launch(CombineBackwardKernel<T>, shape.T * shape.K, stream, shape, x_ND,
         weight_TK, place_TK, dy_TD, dx_ND, dweight_TK);
}

using P = std::int32_t;
using B = BFloat16;
template void PermuteForward(const PermuteShape&, const float*, const P*,
                             float*, void*);
template void PermuteForward(const PermuteShape&, const B*, const P*, B*,
                             void*);
template void PermuteBackward(const PermuteShape&, const float*, const P*,
                              float*, void*);
template void PermuteBackward(const PermuteShape&, const B*, const P*, B*,
                              void*);
template void CombineForward(const PermuteShape&, const float*, const float*,
                             const P*, float*, void*);
template void CombineForward(const PermuteShape&, const B*, const float*,
                             const P*, B*, void*);
template void CombineBackward(const PermuteShape&, const float*, const float*,
                              const P*, const float*, float*, float*, void*);
template void CombineBackward(const PermuteShape&, const B*, const float*,
                              const P*, const B*, B*, float*, void*);

}  // namespace rtpurbo::kernels::cuda
