// Tensor maps: how the bulk copy engine of Hopper sees [rows, heads, width].

#ifndef RTPURBO_KERNELS_CUDA_TENSOR_MAP_H_
#define RTPURBO_KERNELS_CUDA_TENSOR_MAP_H_

#include <cuda.h>

#include <cstdint>

#include "kernels/core/dtype.h"

namespace rtpurbo::kernels::cuda {

// A map of x: [rows, heads, width] bf16 whose box is box_rows rows of one head
// and min(width, 64) columns, swizzled by the bytes of such a row (128 or 64).
// Box coordinates are (column, head, row). Rows outside arrive as zeros.
// REQUIRES: width 32, 64 or a multiple of 64; x aligned to 16 bytes.
CUtensorMap MakeTensorMap(const BFloat16* x, std::int64_t rows,
                          std::int64_t heads, std::int64_t width, int box_rows);

}  // namespace rtpurbo::kernels::cuda

#endif  // RTPURBO_KERNELS_CUDA_TENSOR_MAP_H_
