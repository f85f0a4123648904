// CUDA backend of embedding.h; arguments as there, device pointers and a
// stream.

#ifndef RTPURBO_KERNELS_CUDA_EMBEDDING_H_
#define RTPURBO_KERNELS_CUDA_EMBEDDING_H_

#include <cstdint>

#include "kernels/core/dtype.h"

namespace rtpurbo::kernels::cuda {

template <typename T>
void EmbeddingForward(const T* w_VD, const std::int32_t* id_T, std::int64_t T_,
                      std::int64_t D, T* y_TD, void* stream);
template <typename T>
void EmbeddingBackward(const std::int32_t* id_T, const T* dy_TD,
                       std::int64_t T_, std::int64_t D, float* dw_VD,
                       void* stream);

}  // namespace rtpurbo::kernels::cuda

#endif  // RTPURBO_KERNELS_CUDA_EMBEDDING_H_
