#include "kernels/cpu/rms_norm_fast.h"

#include <cmath>

#include "kernels/cpu/vector_math.h"

namespace rtpurbo::kernels::cpu {
namespace {

template <typename T>
RTPURBO_INLINE inline float F32(const T* p, std::int64_t i) {
  return static_cast<float>(p[i]);
}

template <typename T>
RTPURBO_INLINE inline void Forward(const T* x_TD, const T* w_D, float eps,
                                   std::int64_t T_, std::int64_t D, T* y_TD,
                                   float* r_T) {
  for (std::int64_t t = 0; t < T_; ++t) {
    const T* x = x_TD + t * D;
    T* y = y_TD + t * D;
    const float squares = SumOver(D, [x](std::int64_t i) RTPURBO_INLINE {
      return F32(x, i) * F32(x, i);
    });
    const float r = 1.0F / std::sqrt(squares / static_cast<float>(D) + eps);
    for (std::int64_t i = 0; i < D; ++i) {
      y[i] = T(F32(x, i) * r * F32(w_D, i));
    }
    r_T[t] = r;
  }
}

template <typename T>
RTPURBO_INLINE inline void Backward(const T* x_TD, const T* w_D,
                                    const float* r_T, const T* dy_TD,
                                    std::int64_t T_, std::int64_t D, T* dx_TD,
                                    float* dw_D) {
  for (std::int64_t t = 0; t < T_; ++t) {
    const T* x = x_TD + t * D;
    const T* dy = dy_TD + t * D;
    T* dx = dx_TD + t * D;
    const float r = r_T[t];
    const float gx = SumOver(D, [=](std::int64_t i) RTPURBO_INLINE {
      return F32(dy, i) * F32(w_D, i) * F32(x, i);
    });
    const float scale = r * r * (gx / static_cast<float>(D));
    for (std::int64_t i = 0; i < D; ++i) {
      dx[i] = T(r * (F32(dy, i) * F32(w_D, i) - F32(x, i) * scale));
    }
    if (dw_D != nullptr) {
      for (std::int64_t i = 0; i < D; ++i) {
        dw_D[i] += F32(dy, i) * F32(x, i) * r;
      }
    }
  }
}

}  // namespace

RTPURBO_VECTOR_CLONES void FastRmsNormForward(const float* x_TD,
                                              const float* w_D, float eps,
                                              std::int64_t T_, std::int64_t D,
                                              float* y_TD, float* r_T) {
  Forward(x_TD, w_D, eps, T_, D, y_TD, r_T);
}

RTPURBO_VECTOR_CLONES void FastRmsNormForward(const BFloat16* x_TD,
                                              const BFloat16* w_D, float eps,
                                              std::int64_t T_, std::int64_t D,
                                              BFloat16* y_TD, float* r_T) {
  Forward(x_TD, w_D, eps, T_, D, y_TD, r_T);
}

RTPURBO_VECTOR_CLONES void FastRmsNormBackward(
    const float* x_TD, const float* w_D, const float* r_T, const float* dy_TD,
    std::int64_t T_, std::int64_t D, float* dx_TD, float* dw_D) {
  Backward(x_TD, w_D, r_T, dy_TD, T_, D, dx_TD, dw_D);
}

RTPURBO_VECTOR_CLONES void FastRmsNormBackward(const BFloat16* x_TD,
                                               const BFloat16* w_D,
                                               const float* r_T,
                                               const BFloat16* dy_TD,
                                               std::int64_t T_, std::int64_t D,
                                               BFloat16* dx_TD, float* dw_D) {
  Backward(x_TD, w_D, r_T, dy_TD, T_, D, dx_TD, dw_D);
}

}  // namespace rtpurbo::kernels::cpu
