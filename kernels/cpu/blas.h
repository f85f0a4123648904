// The one door to CBLAS, which is kept to a single thread: the pool of
// kernels/core/parallel.h spreads tiles instead, so that results do not depend
// on the number of threads.

#ifndef RTPURBO_KERNELS_CPU_BLAS_H_
#define RTPURBO_KERNELS_CPU_BLAS_H_

#include "kernels/matmul_shape.h"

namespace rtpurbo::kernels::cpu {

// C = op(A) op(B) + beta C on the calling thread. Row-major; ld is the distance
// between rows as stored. With beta = 0 what is in C is not read.
void Sgemm(const MatmulShape& shape, const float* a, std::int64_t lda,
           const float* b, std::int64_t ldb, float beta, float* c,
           std::int64_t ldc);

}  // namespace rtpurbo::kernels::cpu

#endif  // RTPURBO_KERNELS_CPU_BLAS_H_
