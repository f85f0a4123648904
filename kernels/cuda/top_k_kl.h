// CUDA backend of top_k_kl.h; arguments as there, device pointers and a stream.

#ifndef RTPURBO_KERNELS_CUDA_TOP_K_KL_H_
#define RTPURBO_KERNELS_CUDA_TOP_K_KL_H_

#include <cstdint>

#include "kernels/core/dtype.h"

namespace rtpurbo::kernels::cuda {

struct TopKShape {
  std::int64_t L;
  std::int64_t D;
  std::int64_t K;
};
// row_loss_L: scratch, a float a row.
template <typename T>
void TopKKlForward(const TopKShape& shape, const T* x_LD, const T* w_VD,
                   const std::int32_t* id_LK, const float* teacher_LK,
                   float* dz_LK, float* row_loss_L, float* loss, void* stream);
// dx or dw may be null.
template <typename T>
void TopKKlBackward(const TopKShape& shape, const T* x_LD, const T* w_VD,
                    const std::int32_t* id_LK, const float* dz_LK,
                    const float* dloss, T* dx_LD, float* dw_VD, void* stream);
template <typename T>
void TopK(const T* z_LV, std::int64_t L, std::int64_t V, std::int64_t K,
          float* value_LK, std::int32_t* id_LK, float* lse_L, void* stream);

}  // namespace rtpurbo::kernels::cuda

#endif  // RTPURBO_KERNELS_CUDA_TOP_K_KL_H_
