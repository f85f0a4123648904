// Low-width projections of heads. Forward: a warp a row and slot. Backward:
// partial sums over pieces of the rows, then their sum in order.

#include <algorithm>

#include "kernels/cuda/head_projection.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/rows.cuh"

namespace rtpurbo::kernels::cuda {
namespace {

constexpr std::int64_t kPieceRows = 512;

std::int64_t NumPieces(const ProjectionShape& shape) {
  return (shape.T + kPieceRows - 1) / kPieceRows;
}

template <typename T>
__global__ void ForwardKernel(ProjectionShape shape,
                              const T* __restrict__ x_THC,
                              const float* __restrict__ w_SRC,
                              const std::int32_t* __restrict__ head_S,
                              float* __restrict__ y_TSR) {
  const std::int64_t row =
      (std::int64_t{blockIdx.x} * kThreads + threadIdx.x) / kWarpSize;
  if (row >= shape.T * shape.S) {
    return;
  }
  const std::int64_t s = row % shape.S;
  const T* x = x_THC + (row / shape.S * shape.H + head_S[s]) * shape.C;
  for (std::int64_t r = 0; r < shape.R; ++r) {
    const float* w = w_SRC + (s * shape.R + r) * shape.C;
    float sum = 0;
    for (std::int64_t c = threadIdx.x % kWarpSize; c < shape.C;
         c += kWarpSize) {
      sum += w[c] * Load(x + c);
    }
    sum = WarpSum(sum);
    if (threadIdx.x % kWarpSize == 0) {
      y_TSR[row * shape.R + r] = sum;
    }
  }
}

// Block: slot (fastest) and piece. partial: [pieces, S, R, C].
template <typename T>
__global__ void BackwardKernel(ProjectionShape shape,
                               const T* __restrict__ x_THC,
                               const float* __restrict__ dy_TSR,
                               const std::int32_t* __restrict__ head_S,
                               float* __restrict__ partial) {
  const std::int64_t s = blockIdx.x % shape.S;
  const std::int64_t begin = blockIdx.x / shape.S * kPieceRows;
  const std::int64_t end = min(begin + kPieceRows, shape.T);
  for (std::int64_t i = threadIdx.x; i < shape.R * shape.C; i += kThreads) {
    const std::int64_t r = i / shape.C;
    const std::int64_t c = i % shape.C;
    float sum = 0;
    for (std::int64_t t = begin; t < end; ++t) {
      sum += dy_TSR[(t * shape.S + s) * shape.R + r] *
             Load(x_THC + (t * shape.H + head_S[s]) * shape.C + c);
    }
    partial[std::int64_t{blockIdx.x} * shape.R * shape.C + i] = sum;
  }
}

}  // namespace

template <typename T>
void HeadProjectionForward(const ProjectionShape& shape, const T* x_THC,
                           const float* w_SRC, const std::int32_t* head_S,
                           float* y_TSR, void* stream) {
  Launch(ForwardKernel<T>, (shape.T * shape.S + kWarps - 1) / kWarps, stream,
         shape, x_THC, w_SRC, head_S, y_TSR);
}

std::int64_t HeadProjectionWorkspace(const ProjectionShape& shape) {
  return std::max<std::int64_t>(1, NumPieces(shape)) * shape.S * shape.R *
         shape.C * std::int64_t{sizeof(float)};
}

template <typename T>
void HeadProjectionBackward(const ProjectionShape& shape, const T* x_THC,
                            const float* dy_TSR, const std::int32_t* head_S,
                            float* dw_SRC, void* workspace, void* stream) {
  auto* partial = static_cast<float*>(workspace);
  const std::int64_t pieces = NumPieces(shape);
  const std::int64_t size = shape.S * shape.R * shape.C;
  Launch(BackwardKernel<T>, pieces * shape.S, stream, shape, x_THC, dy_TSR,
         head_S, partial);
  ForEach(size, stream, [=] __device__(std::int64_t i) {
    float sum = 0;
    for (std::int64_t p = 0; p < pieces; ++p) {
      sum += partial[p * size + i];
    }
    dw_SRC[i] += sum;
  });
}

using H = std::int32_t;
using B = BFloat16;
template void HeadProjectionForward(const ProjectionShape&, const float*,
                                    const float*, const H*, float*, void*);
template void HeadProjectionForward(const ProjectionShape&, const B*,
                                    const float*, const H*, float*, void*);
template void HeadProjectionBackward(const ProjectionShape&, const float*,
                                     const float*, const H*, float*, void*,
                                     void*);
template void HeadProjectionBackward(const ProjectionShape&, const B*,
                                     const float*, const H*, float*, void*,
                                     void*);

}  // namespace rtpurbo::kernels::cuda
