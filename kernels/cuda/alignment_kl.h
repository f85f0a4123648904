// CUDA backend of alignment_kl.h: arguments as there, device pointers.

#ifndef RTPURBO_KERNELS_CUDA_ALIGNMENT_KL_H_
#define RTPURBO_KERNELS_CUDA_ALIGNMENT_KL_H_

#include <cstdint>

#include "kernels/core/dtype.h"

namespace rtpurbo::kernels::cuda {

struct AlignmentShape {
  std::int64_t T;        // key rows
  std::int64_t queries;  // query rows, the first at key query_begin
  std::int64_t query_begin;
  std::int64_t M;
  std::int64_t H;
  std::int64_t G;
  std::int64_t C;
  std::int64_t S;
  std::int64_t R;
  float scale;
  float grad_scale;
  const std::int32_t* head_S;      // host, read before the call returns
  const std::int32_t* kv_head_H;   // host, likewise
  const std::int32_t* document_N;  // device, or null
};

template <typename T>
struct AlignmentPointers {
  const T* q_THC;
  const T* k_TGC;
  const float* lse_HT;
  const float* x_MSR;
  const float* y_TSR;
  const std::int32_t* row_M;
};

// Bytes of scratch.
std::int64_t AlignmentWorkspace(const AlignmentShape& shape);

// dx or dy may be null.
// REQUIRES: C <= 128, R <= 64, S <= 256; workspace aligned to 16 bytes.
template <typename T>
void AlignmentKl(const AlignmentShape& shape, const AlignmentPointers<T>& in,
                 void* workspace, float* kl_SM, float* dx_MSR, float* dy_TSR,
                 void* stream);

// The same with tensor cores, which AlignmentKl takes where it can: bf16 on
// Hopper, C 32, 64 or 128, R <= 16, inputs aligned to 16 bytes.
bool HasAlignmentKlSm90(const AlignmentShape& shape,
                        const AlignmentPointers<BFloat16>& in);
void AlignmentKlSm90(const AlignmentShape& shape,
                     const AlignmentPointers<BFloat16>& in, void* workspace,
                     float* kl_SM, float* dx_MSR, float* dy_TSR, void* stream);

}  // namespace rtpurbo::kernels::cuda

#endif  // RTPURBO_KERNELS_CUDA_ALIGNMENT_KL_H_
