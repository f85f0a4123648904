// CUDA backends of range attention (kernels/range_attention.h says what it
// computes): a portable one for every card, type and pattern, and one for
// Hopper. Plain pointers and a stream.
//
// Shapes: T query rows, N key rows, H query heads, G key/value heads, C width,
// S slots, M selected rows.

#ifndef RTPURBO_KERNELS_CUDA_RANGE_ATTENTION_H_
#define RTPURBO_KERNELS_CUDA_RANGE_ATTENTION_H_

#include <cstdint>

#include "kernels/core/dtype.h"

namespace rtpurbo::kernels::cuda {

// Most query heads of one call.
inline constexpr int kMaxAttentionHeads = 256;

// AttentionPattern and the shapes of AttentionInputs. *_H are in host memory
// and read before the call returns; document_N and selected_SMB are on the
// device, null if there are none.
struct RangeShape {
  std::int64_t T;
  std::int64_t N;
  std::int64_t query_begin;
  int H;
  int G;
  int C;
  float scale;
  std::int64_t sinks;
  const std::int64_t* window_H;
  const std::int32_t* kv_head_H;
  const std::int32_t* document_N;
  const std::int32_t* selected_SMB;
  const std::int32_t* slot_H;
  std::int64_t selected_rows;
  std::int64_t words;
  std::int64_t block;
};

// Any card, f32 or bf16, width up to 128, selections too. The forward
// overwrites o: [T, H, C] and lse: [H, T]; with `selected_only`, just the
// selected rows of the heads that have a slot.
template <typename T>
void RangeAttentionForward(const RangeShape& shape, bool selected_only,
                           const T* q_THC, const T* k_NGC, const T* v_NGC,
                           T* o_THC, float* lse_HT, void* stream);

// What the backward pass reads: the forward's inputs and outputs, and do.
template <typename T>
struct RangeGradInputs {
  const T* q_THC;
  const T* k_NGC;
  const T* v_NGC;
  const T* o_THC;
  const float* lse_HT;
  const T* do_THC;
};

// Overwrites dq, dk and dv, of which any may be null. With `selected_only`,
// only the selected rows of the heads that have a slot count: their dq is
// overwritten, and dk and dv are added to. Deterministic.
//   delta_HT: scratch, H x T floats.
template <typename T>
void RangeAttentionBackward(const RangeShape& shape, bool selected_only,
                            const RangeGradInputs<T>& in, float* delta_HT,
                            T* dq_THC, T* dk_NGC, T* dv_NGC, void* stream);

// Whether the running device and the shape suit the Hopper kernels: compute
// capability 9.x, width 32, 64 or 128. They do not know selected_SMB.
bool HasRangeAttentionSm90(const RangeShape& shape);

// Bytes of scratch that one call needs; contents are of no interest.
inline constexpr std::int64_t kRangeForwardWorkspace = 256;

// o: [T, H, C] and lse: [H, T], overwritten. The workspace may be reused in
// stream order.
void RangeAttentionForwardSm90(const RangeShape& shape, const BFloat16* q_THC,
                               const BFloat16* k_NGC, const BFloat16* v_NGC,
                               BFloat16* o_THC, float* lse_HT, void* workspace,
                               void* stream);

// 8 bytes a query row and head, and little else.
std::int64_t RangeBackwardWorkspace(const RangeShape& shape);

// Overwrites dq, dk and dv, of which any may be null. The selected rows of
// heads with a slot get dq = 0 and add nothing to dk and dv. Deterministic.
void RangeAttentionBackwardSm90(const RangeShape& shape,
                                const RangeGradInputs<BFloat16>& in,
                                BFloat16* dq_THC, BFloat16* dk_NGC,
                                BFloat16* dv_NGC, void* workspace,
                                void* stream);

}  // namespace rtpurbo::kernels::cuda

#endif  // RTPURBO_KERNELS_CUDA_RANGE_ATTENTION_H_
