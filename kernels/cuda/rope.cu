// Rotary embedding: one thread a pair of elements.

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/rope.h"

namespace rtpurbo::kernels::cuda {

template <typename T>
void Rope(const RopeShape& shape, const T* x_THC,
          const std::int32_t* position_T, const float* cos_NC,
          const float* sin_NC, T* y_THC, void* stream) {
  const std::int64_t half = shape.C / 2;
  const std::int64_t heads = shape.H;
  const float sign = shape.inverse ? -1.0F : 1.0F;
  ForEach(shape.T * heads * half, stream, [=] __device__(std::int64_t i) {
    const std::int64_t c = i % half;
    const std::int64_t row = i / half;  // t H + h
    const std::int64_t angle = std::int64_t{position_T[row / heads]} * half + c;
    const std::int64_t at = row * 2 * half + c;
    const float a = Load(x_THC + at);
    const float b = Load(x_THC + at + half);
    const float cosine = cos_NC[angle];
    const float sine = sign * sin_NC[angle];
    Store(a * cosine - b * sine, y_THC + at);
    Store(b * cosine + a * sine, y_THC + at + half);
  });
}

using B = BFloat16;
template void Rope(const RopeShape&, const float*, const std::int32_t*,
                   const float*, const float*, float*, void*);
template void Rope(const RopeShape&, const B*, const std::int32_t*,
                   const float*, const float*, B*, void*);

}  // namespace rtpurbo::kernels::cuda
