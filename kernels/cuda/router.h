// CUDA backend of router.h; arguments as there, device pointers and a stream.

#ifndef RTPURBO_KERNELS_CUDA_ROUTER_H_
#define RTPURBO_KERNELS_CUDA_ROUTER_H_

#include <cstdint>

#include "kernels/core/dtype.h"

namespace rtpurbo::kernels::cuda {

struct RouterShape {
  std::int64_t T;
  std::int64_t E;
  std::int64_t K;
  bool normalize;
};
template <typename T>
void RouterSelect(const RouterShape& shape, const T* z_TE, float* prob_TE,
                  std::int32_t* expert_TK, void* stream);
void RouterWeights(const RouterShape& shape, const float* prob_TE,
                   const std::int32_t* expert_TK, float* weight_TK,
                   void* stream);
template <typename T>
void RouterBackward(const RouterShape& shape, const float* prob_TE,
                    const std::int32_t* expert_TK, const float* dweight_TK,
                    T* dz_TE, void* stream);

}  // namespace rtpurbo::kernels::cuda

#endif  // RTPURBO_KERNELS_CUDA_ROUTER_H_
