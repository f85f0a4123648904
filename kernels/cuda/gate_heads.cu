// A mix of two attention outputs. dgate: partial sums over pieces of the rows,
// then their sum in order.

#include <algorithm>

#include "kernels/cuda/gate_heads.h"
#include "kernels/cuda/launch.cuh"

namespace rtpurbo::kernels::cuda {
namespace {

constexpr std::int64_t kPieceRows = 256;

std::int64_t NumPieces(const GateShape& shape) {
  return (shape.T + kPieceRows - 1) / kPieceRows;
}

// Block: head (fastest) and piece.
template <typename T>
__global__ void GateGradKernel(GateShape shape, const T* __restrict__ full_THC,
                               const T* __restrict__ local_THC,
                               const T* __restrict__ dy_THC,
                               float* __restrict__ partial_PH) {
  const std::int64_t h = blockIdx.x % shape.H;
  const std::int64_t begin = blockIdx.x / shape.H * kPieceRows;
  const std::int64_t rows = min(kPieceRows, shape.T - begin);
  float sum = 0;
  for (std::int64_t i = threadIdx.x; i < rows * shape.C; i += kThreads) {
    const std::int64_t at =
        ((begin + i / shape.C) * shape.H + h) * shape.C + i % shape.C;
    sum += Load(dy_THC + at) * (Load(full_THC + at) - Load(local_THC + at));
  }
  sum = BlockReduce(sum, Sum{});
  if (threadIdx.x == 0) {
    partial_PH[blockIdx.x] = sum;
  }
}

}  // namespace

template <typename T>
void GateHeadsForward(const GateShape& shape, const T* full_THC,
                      const T* local_THC, const float* gate_H, T* y_THC,
                      void* stream) {
  ForEach(shape.T * shape.H * shape.C, stream, [=] __device__(std::int64_t i) {
    const float gate = gate_H[i / shape.C % shape.H];
    Store(gate * Load(full_THC + i) + (1 - gate) * Load(local_THC + i),
          y_THC + i);
  });
}

std::int64_t GateHeadsWorkspace(const GateShape& shape) {
  return std::max<std::int64_t>(1, NumPieces(shape) * shape.H) *
         std::int64_t{sizeof(float)};
}

template <typename T>
void GateHeadsBackward(const GateShape& shape, const T* full_THC,
                       const T* local_THC, const float* gate_H, const T* dy_THC,
                       T* dfull_THC, T* dlocal_THC, float* dgate_H,
                       void* workspace, void* stream) {
  ForEach(shape.T * shape.H * shape.C, stream, [=] __device__(std::int64_t i) {
    const float gate = gate_H[i / shape.C % shape.H];
    const float dy = Load(dy_THC + i);
    if (dfull_THC != nullptr) {
      Store(gate * dy, dfull_THC + i);
    }
    if (dlocal_THC != nullptr) {
      Store((1 - gate) * dy, dlocal_THC + i);
    }
  });
  if (dgate_H == nullptr) {
    return;
  }
  auto* partial = static_cast<float*>(workspace);
  const std::int64_t pieces = NumPieces(shape);
  Launch(GateGradKernel<T>, pieces * shape.H, stream, shape, full_THC,
         local_THC, dy_THC, partial);
  ForEach(shape.H, stream, [=] __device__(std::int64_t h) {
    float sum = 0;
    for (std::int64_t p = 0; p < pieces; ++p) {
      sum += partial[p * shape.H + h];
    }
    dgate_H[h] += sum;
  });
}

using B = BFloat16;
template void GateHeadsForward(const GateShape&, const float*, const float*,
                               const float*, float*, void*);
template void GateHeadsForward(const GateShape&, const B*, const B*,
                               const float*, B*, void*);
template void GateHeadsBackward(const GateShape&, const float*, const float*,
                                const float*, const float*, float*, float*,
                                float*, void*, void*);
template void GateHeadsBackward(const GateShape&, const B*, const B*,
                                const float*, const B*, B*, B*, float*, void*,
                                void*);

}  // namespace rtpurbo::kernels::cuda
