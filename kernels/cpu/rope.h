// Rotary position embedding of one row: pairs (c, c + C/2) turn by an angle.

#ifndef RTPURBO_KERNELS_CPU_ROPE_H_
#define RTPURBO_KERNELS_CPU_ROPE_H_

#include <cstdint>

#include "kernels/core/dtype.h"

namespace rtpurbo::kernels::cpu {

// Turns `num_heads` heads of width C by the angles whose cos and sin are given;
// `sign` -1 turns back. x and y may be the same.
template <typename T>
void RopeRow(const T* x_HC, const float* cos_C, const float* sin_C,
             std::int64_t num_heads, std::int64_t C, float sign, T* y_HC) {
  using A = Accum<T>;
  const std::int64_t half = C / 2;
  for (std::int64_t h = 0; h < num_heads; ++h) {
    const T* x = x_HC + h * C;
    T* y = y_HC + h * C;
    for (std::int64_t c = 0; c < half; ++c) {
      const A cos = A(cos_C[c]);
      const A sin = A(sign * sin_C[c]);
      const A a = A(x[c]);
      const A b = A(x[c + half]);
      y[c] = T(a * cos - b * sin);
      y[c + half] = T(b * cos + a * sin);
    }
  }
}

}  // namespace rtpurbo::kernels::cpu

#endif  // RTPURBO_KERNELS_CPU_ROPE_H_
