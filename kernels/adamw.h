// AdamW on a flat shard (Loshchilov, Hutter 2019, arXiv 1711.05101, algorithm
// 2).
//
//   g = grad_scale grad
//   m = b1 m + (1 - b1) g,   v = b2 v + (1 - b2) g^2
//   w -= lr ((m / c1) / (sqrt(v / c2) + eps) + decay w)

#ifndef RTPURBO_KERNELS_ADAMW_H_
#define RTPURBO_KERNELS_ADAMW_H_

#include "kernels/adamw_step.h"
#include "kernels/core/tensor.h"

namespace rtpurbo::kernels {

// Updates weight and moments in place. All [n] f32.
void AdamW(const ExecContext& ctx, const AdamWStep& step, const Tensor& grad,
           Tensor* weight, Tensor* m, Tensor* v);

}  // namespace rtpurbo::kernels

#endif  // RTPURBO_KERNELS_ADAMW_H_
