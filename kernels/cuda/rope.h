// CUDA backend of rope.h; arguments as there, device pointers and a stream.

#ifndef RTPURBO_KERNELS_CUDA_ROPE_H_
#define RTPURBO_KERNELS_CUDA_ROPE_H_

#include <cstdint>

#include "kernels/core/dtype.h"

namespace rtpurbo::kernels::cuda {

struct RopeShape {
  std::int64_t T;
  std::int64_t H;
  std::int64_t C;
  bool inverse;
};
template <typename T>
void Rope(const RopeShape& shape, const T* x_THC,
          const std::int32_t* position_T, const float* cos_NC,
          const float* sin_NC, T* y_THC, void* stream);

}  // namespace rtpurbo::kernels::cuda

#endif  // RTPURBO_KERNELS_CUDA_ROPE_H_
