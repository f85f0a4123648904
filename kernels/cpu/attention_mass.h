// The share of one row's softmax mass that lies on a range of keys.

#ifndef RTPURBO_KERNELS_CPU_ATTENTION_MASS_H_
#define RTPURBO_KERNELS_CPU_ATTENTION_MASS_H_

#include <cmath>
#include <cstdint>

#include "kernels/core/dtype.h"

namespace rtpurbo::kernels::cpu {

// sum over keys [begin, end) of exp(scale q.k_j - lse). Keys lie `stride`
// elements apart.
template <typename T>
Accum<T> RowMass(const T* q_C, const T* k, std::int64_t stride,
                 std::int64_t begin, std::int64_t end, std::int64_t C,
                 float scale, Accum<T> lse) {
  using A = Accum<T>;
  using std::exp;
  A mass{};
  for (std::int64_t j = begin; j < end; ++j) {
    A dot{};
    for (std::int64_t c = 0; c < C; ++c) {
      dot += A(q_C[c]) * A(k[j * stride + c]);
    }
    mass += exp(A(scale) * dot - lse);
  }
  return mass;
}

}  // namespace rtpurbo::kernels::cpu

#endif  // RTPURBO_KERNELS_CPU_ATTENTION_MASS_H_
