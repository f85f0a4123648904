#include "kernels/cpu/swi_glu_fast.h"

#include "kernels/cpu/vector_math.h"

namespace rtpurbo::kernels::cpu {
namespace {

template <typename T>
RTPURBO_INLINE inline void Forward(const T* gate, const T* up, std::int64_t n,
                                   T* y) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float g = static_cast<float>(gate[i]);
    y[i] = T(g / (1.0F + Exp(-g)) * static_cast<float>(up[i]));
  }
}

template <typename T>
RTPURBO_INLINE inline void Backward(const T* gate, const T* up, const T* dy,
                                    std::int64_t n, T* dgate, T* dup) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float g = static_cast<float>(gate[i]);
    const float d = static_cast<float>(dy[i]);
    const float u = static_cast<float>(up[i]);
    const float s = 1.0F / (1.0F + Exp(-g));
    dup[i] = T(d * g * s);
    dgate[i] = T(d * u * s * (1.0F + g * (1.0F - s)));
  }
}

}  // namespace

RTPURBO_VECTOR_CLONES void FastSwiGluForward(const float* gate, const float* up,
                                             std::int64_t n, float* y) {
  Forward(gate, up, n, y);
}

RTPURBO_VECTOR_CLONES void FastSwiGluForward(const BFloat16* gate,
                                             const BFloat16* up, std::int64_t n,
                                             BFloat16* y) {
  Forward(gate, up, n, y);
}

RTPURBO_VECTOR_CLONES void FastSwiGluBackward(const float* gate,
                                              const float* up, const float* dy,
                                              std::int64_t n, float* dgate,
                                              float* dup) {
  Backward(gate, up, dy, n, dgate, dup);
}

RTPURBO_VECTOR_CLONES void FastSwiGluBackward(const BFloat16* gate,
                                              const BFloat16* up,
                                              const BFloat16* dy,
                                              std::int64_t n, BFloat16* dgate,
                                              BFloat16* dup) {
  Backward(gate, up, dy, n, dgate, dup);
}

}  // namespace rtpurbo::kernels::cpu
