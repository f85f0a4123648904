// One product per expert on any card: 64 x 64 tiles in shared memory, f32
// arithmetic; a thread has 4 x 4 elements. bf16 on Hopper goes to
// grouped_matmul_sm90.cu where its alignment allows.

#include <type_traits>

#include "kernels/core/check.h"
#include "kernels/cuda/grouped_matmul.h"
#include "kernels/cuda/launch.cuh"

namespace rtpurbo::kernels::cuda {
namespace {

constexpr int kSide = 64;
constexpr int kDepth = 16;  // of k at once
constexpr int kLanes = 16;
constexpr int kOwn = kSide / kLanes;

struct Depth {
  float rows[kDepth][kSide + 1];
};

// tile[k][i] = x[begin + i, k0 + k] where `along_k` (rows of x run along k),
// else x[k0 + k, begin + i]; zero outside.
template <typename T>
__device__ void LoadDepth(const T* __restrict__ x, std::int64_t stride,
                          bool along_k, std::int64_t begin, std::int64_t end,
                          std::int64_t k0, std::int64_t end_k, Depth* tile) {
  for (int i = static_cast<int>(threadIdx.x); i < kSide * kDepth;
       i += kThreads) {
    const int k = along_k ? i % kDepth : i / kSide;
    const int side = along_k ? i / kDepth : i % kSide;
    const std::int64_t at = along_k ? (begin + side) * stride + k0 + k
                                    : (k0 + k) * stride + begin + side;
    const bool inside = begin + side < end && k0 + k < end_k;
    tile->rows[k][side] = inside ? Load(x + at) : 0.0F;
  }
}

__device__ void AddDepth(const Depth& a, const Depth& b,
                         float (&sum)[kOwn][kOwn]) {
  const int y = static_cast<int>(threadIdx.x) / kLanes;
  const int x = static_cast<int>(threadIdx.x) % kLanes;
#pragma unroll
  for (int k = 0; k < kDepth; ++k) {
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
#pragma unroll
      for (int j = 0; j < kOwn; ++j) {
        sum[i][j] = fmaf(a.rows[k][y + kLanes * i], b.rows[k][x + kLanes * j],
                         sum[i][j]);
      }
    }
  }
}

// blockIdx.x: column tile; blockIdx.y: row tile, counted over all experts.
template <typename T>
__global__ void ForwardKernel(GroupedShape shape, const T* __restrict__ a_NK,
                              const std::int32_t* __restrict__ offset_E,
                              const T* __restrict__ w_EXY,
                              T* __restrict__ c_NM) {
  __shared__ Depth a;
  __shared__ Depth b;
  std::int64_t tile = blockIdx.y;
  std::int64_t e = 0;
  for (; e < shape.E; ++e) {
    const int rows = offset_E[e + 1] - offset_E[e];
    const int tiles = (rows + kSide - 1) / kSide;
    if (tile < tiles) {
      break;
    }
    tile -= tiles;
  }
  if (e == shape.E) {
    return;
  }
  const std::int64_t row = offset_E[e] + tile * kSide;
  const std::int64_t end_row = offset_E[e + 1];
  const std::int64_t column = std::int64_t{blockIdx.x} * kSide;
  const T* w = w_EXY + e * shape.K * shape.M;
  float sum[kOwn][kOwn] = {};
  for (std::int64_t k = 0; k < shape.K; k += kDepth) {
    LoadDepth(a_NK, shape.K, true, row, end_row, k, shape.K, &a);
    LoadDepth(w, shape.trans_w ? shape.K : shape.M, shape.trans_w, column,
              shape.M, k, shape.K, &b);
    __syncthreads();
    AddDepth(a, b, sum);
    __syncthreads();
  }
  const int y = static_cast<int>(threadIdx.x) / kLanes;
  const int x = static_cast<int>(threadIdx.x) % kLanes;
  for (int i = 0; i < kOwn; ++i) {
    for (int j = 0; j < kOwn; ++j) {
      const std::int64_t n = row + y + kLanes * i;
      const std::int64_t m = column + x + kLanes * j;
      if (n < end_row && m < shape.M) {
        Store(sum[i][j], c_NM + n * shape.M + m);
      }
    }
  }
}

// blockIdx: column tile, row tile, expert.
template <typename T>
__global__ void GradKernel(GroupedGradShape shape, const T* __restrict__ a_NX,
                           const T* __restrict__ b_NY,
                           const std::int32_t* __restrict__ offset_E,
                           float* __restrict__ dw_EXY) {
  __shared__ Depth a;
  __shared__ Depth b;
  const std::int64_t e = blockIdx.z;
  const std::int64_t column = std::int64_t{blockIdx.x} * kSide;
  const std::int64_t row = std::int64_t{blockIdx.y} * kSide;
  const std::int64_t end = offset_E[e + 1];
  float sum[kOwn][kOwn] = {};
  for (std::int64_t k = offset_E[e]; k < end; k += kDepth) {
    LoadDepth(a_NX, shape.X, false, row, shape.X, k, end, &a);
    LoadDepth(b_NY, shape.Y, false, column, shape.Y, k, end, &b);
    __syncthreads();
    AddDepth(a, b, sum);
    __syncthreads();
  }
  const int y = static_cast<int>(threadIdx.x) / kLanes;
  const int x = static_cast<int>(threadIdx.x) % kLanes;
  for (int i = 0; i < kOwn; ++i) {
    for (int j = 0; j < kOwn; ++j) {
      const std::int64_t m = row + y + kLanes * i;
      const std::int64_t n = column + x + kLanes * j;
      if (m < shape.X && n < shape.Y) {
        dw_EXY[(e * shape.X + m) * shape.Y + n] += sum[i][j];
      }
    }
  }
}

unsigned NumTiles(std::int64_t n) {
  return static_cast<unsigned>((n + kSide - 1) / kSide);
}

}  // namespace

template <typename T>
void GroupedMatmul(const GroupedShape& shape, const T* a_NK,
                   const std::int32_t* offset_E, const T* w_EXY, T* c_NM,
                   void* stream) {
  if (shape.N == 0 || shape.M == 0) {
    return;
  }
  if constexpr (std::is_same_v<T, BFloat16>) {
    const std::int64_t width_w = shape.trans_w ? shape.K : shape.M;
    const bool aligned = reinterpret_cast<std::uintptr_t>(c_NM) % 16 == 0;
    if (shape.M % 8 == 0 && aligned &&
        HasGroupedMatmulSm90(a_NK, w_EXY, shape.K, width_w)) {
      return GroupedMatmulSm90(shape, a_NK, offset_E, w_EXY, c_NM, stream);
    }
  }
  // An expert's last tile may be part of one.
  const auto rows = static_cast<unsigned>(NumTiles(shape.N) + shape.E);
  ForwardKernel<T><<<dim3(NumTiles(shape.M), rows), kThreads, 0,
                     static_cast<cudaStream_t>(stream)>>>(shape, a_NK, offset_E,
                                                          w_EXY, c_NM);
  CheckLaunch();
}

template <typename T>
void GroupedMatmulWeightGrad(const GroupedGradShape& shape, const T* a_NX,
                             const T* b_NY, const std::int32_t* offset_E,
                             float* dw_EXY, void* stream) {
  if (shape.N == 0 || shape.X == 0 || shape.Y == 0 || shape.E == 0) {
    return;
  }
  if constexpr (std::is_same_v<T, BFloat16>) {
    if (HasGroupedMatmulSm90(a_NX, b_NY, shape.X, shape.Y)) {
      return GroupedMatmulWeightGradSm90(shape, a_NX, b_NY, offset_E, dw_EXY,
                                         stream);
    }
  }
  GradKernel<T><<<dim3(NumTiles(shape.Y), NumTiles(shape.X),
                       static_cast<unsigned>(shape.E)),
                  kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      shape, a_NX, b_NY, offset_E, dw_EXY);
  CheckLaunch();
}

using I = std::int32_t;
using B = BFloat16;
template void GroupedMatmul(const GroupedShape&, const float*, const I*,
                            const float*, float*, void*);
template void GroupedMatmul(const GroupedShape&, const B*, const I*, const B*,
                            B*, void*);
template void GroupedMatmulWeightGrad(const GroupedGradShape&, const float*,
                                      const float*, const I*, float*, void*);
template void GroupedMatmulWeightGrad(const GroupedGradShape&, const B*,
                                      const B*, const I*, float*, void*);

}  // namespace rtpurbo::kernels::cuda
