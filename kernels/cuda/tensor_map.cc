#include "kernels/cuda/tensor_map.h"

#include <cudaTypedefs.h>
#include <cuda_runtime_api.h>

#include <algorithm>

#include "kernels/core/check.h"

namespace rtpurbo::kernels::cuda {
namespace {

// The driver's function, found at run time: the program must also start where
// there is no driver to link against.
PFN_cuTensorMapEncodeTiled_v12000 EncodeTiled() {
  static const auto function = [] {
    constexpr unsigned kVersion = 12000;
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSymbolNotFound;
    const cudaError_t error = cudaGetDriverEntryPointByVersion(
        "cuTensorMapEncodeTiled", &found, kVersion, cudaEnableDefault, &result);
    CHECK(error == cudaSuccess && result == cudaDriverEntryPointSuccess)
        << "the driver has no cuTensorMapEncodeTiled";
    return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(found);
  }();
  return function;
}

}  // namespace

CUtensorMap MakeTensorMap(const BFloat16* x, std::int64_t rows,
                          std::int64_t heads, std::int64_t width,
                          int box_rows) {
  constexpr std::int64_t kBytes = sizeof(BFloat16);
  constexpr std::int64_t kWidePanel = 64;
  const std::int64_t panel = std::min(width, kWidePanel);
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(width),
                              static_cast<cuuint64_t>(heads),
                              static_cast<cuuint64_t>(rows)};
  const cuuint64_t strides[] = {
      static_cast<cuuint64_t>(width * kBytes),
      static_cast<cuuint64_t>(heads * width * kBytes)};
  const cuuint32_t box[] = {static_cast<cuuint32_t>(panel), 1,
                            static_cast<cuuint32_t>(box_rows)};
  const cuuint32_t steps[] = {1, 1, 1};
  CUtensorMap map = {};
  const CUresult result = EncodeTiled()(
      &map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, const_cast<BFloat16*>(x),
      sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
      panel == kWidePanel ? CU_TENSOR_MAP_SWIZZLE_128B
                          : CU_TENSOR_MAP_SWIZZLE_64B,
      CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  CHECK(result == CUDA_SUCCESS)
      << "cuTensorMapEncodeTiled of [" << rows << ", " << heads << ", " << width
      << "]: error " << static_cast<int>(result);
  return map;
}

}  // namespace rtpurbo::kernels::cuda
