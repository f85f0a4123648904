// CUDA backend of select_top_p.h: arguments as there, device pointers.

#ifndef RTPURBO_KERNELS_CUDA_SELECT_TOP_P_H_
#define RTPURBO_KERNELS_CUDA_SELECT_TOP_P_H_

#include <cstdint>

namespace rtpurbo::kernels::cuda {

struct SelectShape {
  std::int64_t M;
  std::int64_t N;
  std::int64_t S;
  std::int64_t R;
  std::int64_t query_begin;
  std::int64_t words;  // MaskWords(N, block)
  // Selection, field by field.
  bool top_k_rule;
  bool by_mass;
  double top_p;
  std::int64_t top_k;
  std::int64_t block;
  std::int64_t sinks;
  std::int64_t recent;
  float scale;
};

// Bytes of scratch: 8 for each block of keys of each row, and little else.
std::int64_t SelectWorkspace(const SelectShape& shape);

// document_N and kept_SM2 may be null.
void SelectTopP(const SelectShape& shape, const float* x_MSR,
                const float* y_NSR, const std::int32_t* document_N,
                std::int32_t* mask_SMB, std::int32_t* kept_SM2, void* workspace,
                void* stream);

}  // namespace rtpurbo::kernels::cuda

#endif  // RTPURBO_KERNELS_CUDA_SELECT_TOP_P_H_
