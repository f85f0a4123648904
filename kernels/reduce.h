// Sums over all elements, with the same bits for any number of threads.

#ifndef RTPURBO_KERNELS_REDUCE_H_
#define RTPURBO_KERNELS_REDUCE_H_

#include "kernels/core/tensor.h"

namespace rtpurbo::kernels {

// sum[0] += sum of x_i^2, added up in f64.  x: f32, any shape.  sum: [1] f32.
void SumSquares(const ExecContext& ctx, const Tensor& x, Tensor* sum);

}  // namespace rtpurbo::kernels

#endif  // RTPURBO_KERNELS_REDUCE_H_
