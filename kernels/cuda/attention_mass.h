// CUDA backend of attention_mass.h; arguments as there, device pointers and a
// stream.

#ifndef RTPURBO_KERNELS_CUDA_ATTENTION_MASS_H_
#define RTPURBO_KERNELS_CUDA_ATTENTION_MASS_H_

#include <cstdint>

#include "kernels/core/dtype.h"

namespace rtpurbo::kernels::cuda {

struct MassShape {
  std::int64_t T;
  std::int64_t H;
  std::int64_t G;
  std::int64_t C;
  float scale;
  std::int64_t post_begin;
  std::int64_t post_end;
  std::int64_t pre_begin;
  std::int64_t pre_end;
};
// kv_head_H: on the device.  row_mass: scratch, H x (rows of post) floats.
template <typename T>
void AttentionMass(const MassShape& shape, const std::int32_t* kv_head_H,
                   const T* q_THC, const T* k_TGC, const float* lse_HT,
                   float* row_mass, float* mass_H, void* stream);

}  // namespace rtpurbo::kernels::cuda

#endif  // RTPURBO_KERNELS_CUDA_ATTENTION_MASS_H_
