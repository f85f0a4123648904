// Which CUDA kernel computes range attention: the Hopper one where card, type
// and width suit it, else the portable one. The Hopper kernels do not know
// selections; the few rows that have one are then done by the portable kernel.

#ifndef RTPURBO_KERNELS_RANGE_ATTENTION_CUDA_H_
#define RTPURBO_KERNELS_RANGE_ATTENTION_CUDA_H_

#include "kernels/attention_view.h"

namespace rtpurbo::kernels {

// As RangeAttentionForward and RangeAttentionBackward, whose checks have been
// made; document_N and selected_SMB of the view are on the device.
void RangeAttentionForwardOnCuda(const ExecContext& ctx,
                                 const AttentionView& view,
                                 const AttentionInputs& in, Tensor* o_THC,
                                 Tensor* lse_HT);
void RangeAttentionBackwardOnCuda(const ExecContext& ctx,
                                  const AttentionView& view,
                                  const AttentionInputs& in,
                                  const Tensor& o_THC, const Tensor& lse_HT,
                                  const Tensor& do_THC, Tensor* dq_THC,
                                  Tensor* dk_NGC, Tensor* dv_NGC);

}  // namespace rtpurbo::kernels

#endif  // RTPURBO_KERNELS_RANGE_ATTENTION_CUDA_H_
