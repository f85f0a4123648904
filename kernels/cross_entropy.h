// Cross entropy of logits, summed over rows. Who wants a mean passes dloss =
// 1 / (rows of the whole step), which a rank or a micro-batch alone cannot
// know.
//
//   lse_t = log sum_v exp z_tv,   loss = sum_t (lse_t - z_t,label)
//   dz_tv = dloss (exp(z_tv - lse_t) - [v = label_t])

#ifndef RTPURBO_KERNELS_CROSS_ENTROPY_H_
#define RTPURBO_KERNELS_CROSS_ENTROPY_H_

#include "kernels/core/tensor.h"

namespace rtpurbo::kernels {

//   z: [T, V] f32 or bf16.  label: [T] i32 in [0, V).
//   lse: [T] f32, kept for backward.  loss: [1] f32.
void CrossEntropyForward(const ExecContext& ctx, const Tensor& z_TV,
                         const Tensor& label_T, Tensor* lse_T, Tensor* loss);
//   dloss: [1] f32 on the device.  dz has z's type, overwritten.
void CrossEntropyBackward(const ExecContext& ctx, const Tensor& z_TV,
                          const Tensor& label_T, const Tensor& lse_T,
                          const Tensor& dloss, Tensor* dz_TV);

}  // namespace rtpurbo::kernels

#endif  // RTPURBO_KERNELS_CROSS_ENTROPY_H_
