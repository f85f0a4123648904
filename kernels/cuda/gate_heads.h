// CUDA backend of gate_heads.h; arguments as there, device pointers and a
// stream.

#ifndef RTPURBO_KERNELS_CUDA_GATE_HEADS_H_
#define RTPURBO_KERNELS_CUDA_GATE_HEADS_H_

#include <cstdint>

#include "kernels/core/dtype.h"

namespace rtpurbo::kernels::cuda {

struct GateShape {
  std::int64_t T;
  std::int64_t H;
  std::int64_t C;
};
template <typename T>
void GateHeadsForward(const GateShape& shape, const T* full_THC,
                      const T* local_THC, const float* gate_H, T* y_THC,
                      void* stream);
// Bytes of scratch of the backward pass.
std::int64_t GateHeadsWorkspace(const GateShape& shape);
// dfull or dlocal may be null.
template <typename T>
void GateHeadsBackward(const GateShape& shape, const T* full_THC,
                       const T* local_THC, const float* gate_H, const T* dy_THC,
                       T* dfull_THC, T* dlocal_THC, float* dgate_H,
                       void* workspace, void* stream);

}  // namespace rtpurbo::kernels::cuda

#endif  // RTPURBO_KERNELS_CUDA_GATE_HEADS_H_
