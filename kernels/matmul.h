// Matrix products: cuBLASLt on CUDA, BLAS on the CPU.

#ifndef RTPURBO_KERNELS_MATMUL_H_
#define RTPURBO_KERNELS_MATMUL_H_

#include "kernels/core/tensor.h"
#include "kernels/matmul_shape.h"

namespace rtpurbo::kernels {

// c = op(a) op(b) + beta c, summed in f32. c may be f32 where a, b are bf16.
// With beta = 0 what is in c is not read.
void Matmul(const ExecContext& ctx, const Tensor& a, bool trans_a,
            const Tensor& b, bool trans_b, float beta, Tensor* c);

}  // namespace rtpurbo::kernels

#endif  // RTPURBO_KERNELS_MATMUL_H_
