// CUDA backend of head_projection.h; arguments as there, device pointers and a
// stream.

#ifndef RTPURBO_KERNELS_CUDA_HEAD_PROJECTION_H_
#define RTPURBO_KERNELS_CUDA_HEAD_PROJECTION_H_

#include <cstdint>

#include "kernels/core/dtype.h"

namespace rtpurbo::kernels::cuda {

struct ProjectionShape {
  std::int64_t T;
  std::int64_t H;
  std::int64_t C;
  std::int64_t S;
  std::int64_t R;
};
// head_S: on the device.
template <typename T>
void HeadProjectionForward(const ProjectionShape& shape, const T* x_THC,
                           const float* w_SRC, const std::int32_t* head_S,
                           float* y_TSR, void* stream);
// Bytes of scratch of the backward pass.
std::int64_t HeadProjectionWorkspace(const ProjectionShape& shape);
template <typename T>
void HeadProjectionBackward(const ProjectionShape& shape, const T* x_THC,
                            const float* dy_TSR, const std::int32_t* head_S,
                            float* dw_SRC, void* workspace, void* stream);

}  // namespace rtpurbo::kernels::cuda

#endif  // RTPURBO_KERNELS_CUDA_HEAD_PROJECTION_H_
