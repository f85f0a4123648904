#include "kernels/cpu/softmax_fast.h"

#include <cmath>
#include <limits>

#include "kernels/cpu/vector_math.h"

namespace rtpurbo::kernels::cpu {
namespace {

template <typename T>
RTPURBO_INLINE inline float LogSumExp(const T* z, std::int64_t V) {
  const float highest = MaxOver(V, [z](std::int64_t v) RTPURBO_INLINE {
    return static_cast<float>(z[v]);
  });
  // Subtracting an infinite maximum would turn all of a row into NaN.
  const float shift =
      highest == -std::numeric_limits<float>::infinity() ? 0.0F : highest;
  const float sum = SumOver(V, [=](std::int64_t v) RTPURBO_INLINE {
    return Exp(static_cast<float>(z[v]) - shift);
  });
  return std::log(sum) + shift;
}

template <typename T>
RTPURBO_INLINE inline void ScaledSoftmax(const T* z, std::int64_t V, float lse,
                                         float scale, T* y) {
  for (std::int64_t v = 0; v < V; ++v) {
    y[v] = T(scale * Exp(static_cast<float>(z[v]) - lse));
  }
}

}  // namespace

RTPURBO_VECTOR_CLONES float FastLogSumExp(const float* z_V, std::int64_t V) {
  return LogSumExp(z_V, V);
}

RTPURBO_VECTOR_CLONES float FastLogSumExp(const BFloat16* z_V, std::int64_t V) {
  return LogSumExp(z_V, V);
}

RTPURBO_VECTOR_CLONES void FastScaledSoftmax(const float* z_V, std::int64_t V,
                                             float lse, float scale,
                                             float* y_V) {
  ScaledSoftmax(z_V, V, lse, scale, y_V);
}

RTPURBO_VECTOR_CLONES void FastScaledSoftmax(const BFloat16* z_V,
                                             std::int64_t V, float lse,
                                             float scale, BFloat16* y_V) {
  ScaledSoftmax(z_V, V, lse, scale, y_V);
}

}  // namespace rtpurbo::kernels::cpu
