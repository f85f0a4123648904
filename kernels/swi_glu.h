// The gated activation of a feed-forward layer (Shazeer 2020, arXiv 2002.05202,
// equation 6, without its products).
//
//   y = gate sigmoid(gate) up

#ifndef RTPURBO_KERNELS_SWI_GLU_H_
#define RTPURBO_KERNELS_SWI_GLU_H_

#include "kernels/core/tensor.h"

namespace rtpurbo::kernels {

// Any shape, one float type.
void SwiGluForward(const ExecContext& ctx, const Tensor& gate, const Tensor& up,
                   Tensor* y);
// dgate and dup are overwritten.
void SwiGluBackward(const ExecContext& ctx, const Tensor& gate,
                    const Tensor& up, const Tensor& dy, Tensor* dgate,
                    Tensor* dup);

}  // namespace rtpurbo::kernels

#endif  // RTPURBO_KERNELS_SWI_GLU_H_
