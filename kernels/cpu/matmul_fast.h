// Matrix products by BLAS, one tile of C at a time.
//
// How C is cut depends on the shape alone, and a tile is one BLAS call on one
// thread, so C has the same bits for any number of threads. Operands of type
// bf16 are widened a panel at a time.

#ifndef RTPURBO_KERNELS_CPU_MATMUL_FAST_H_
#define RTPURBO_KERNELS_CPU_MATMUL_FAST_H_

#include "kernels/matmul_shape.h"

namespace rtpurbo::kernels::cpu {

std::int64_t NumMatmulTiles(const MatmulShape& shape);

// Computes tile `tile` of C = op(A) op(B) + beta C; matrices are whole and
// dense, as in cpu/matmul.h. T and C are float or BFloat16.
template <typename T, typename C>
void MatmulTile(const MatmulShape& shape, std::int64_t tile, const T* a,
                const T* b, float beta, C* c);

}  // namespace rtpurbo::kernels::cpu

#endif  // RTPURBO_KERNELS_CPU_MATMUL_FAST_H_
