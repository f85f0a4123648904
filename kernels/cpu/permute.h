// Tokens to expert order and back, one row at a time.

#ifndef RTPURBO_KERNELS_CPU_PERMUTE_H_
#define RTPURBO_KERNELS_CPU_PERMUTE_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/core/dtype.h"

namespace rtpurbo::kernels::cpu {

// A counting sort: stable, so rows of one expert stay in token order.
inline void PermuteLayout(const std::int32_t* expert_N, std::int64_t N,
                          std::int64_t E, std::int32_t* place_N,
                          std::int32_t* source_N, std::int32_t* offset_E) {
  std::fill_n(offset_E, E + 1, 0);
  for (std::int64_t n = 0; n < N; ++n) {
    CHECK(0 <= expert_N[n] && expert_N[n] < E)
        << "expert " << expert_N[n] << " of choice " << n;
    ++offset_E[expert_N[n] + 1];
  }
  for (std::int64_t e = 0; e < E; ++e) {
    offset_E[e + 1] += offset_E[e];
  }
  std::vector<std::int32_t> next(offset_E, offset_E + E);
  for (std::int64_t n = 0; n < N; ++n) {
    const std::int32_t place = next[static_cast<std::size_t>(expert_N[n])]++;
    place_N[n] = place;
    source_N[place] = static_cast<std::int32_t>(n);
  }
}

// y = sum over k of weight[k] x[place[k]]; weights of 1 if there are none.
template <typename T>
void CombineRow(const T* x_ND, const Accum<T>* weight_K,
                const std::int32_t* place_K, std::int64_t K, std::int64_t D,
                T* y_D) {
  using A = Accum<T>;
  for (std::int64_t d = 0; d < D; ++d) {
    A sum{};
    for (std::int64_t k = 0; k < K; ++k) {
      const A x = A(x_ND[place_K[k] * D + d]);
      sum += weight_K == nullptr ? x : weight_K[k] * x;
    }
    y_D[d] = T(sum);
  }
}

// dx of the rows of one token, and dweight_k = dy.x[place_k]. Either may be
// null.
template <typename T>
void CombineRowBackward(const T* x_ND, const Accum<T>* weight_K,
                        const std::int32_t* place_K, const T* dy_D,
                        std::int64_t K, std::int64_t D, T* dx_ND,
                        Accum<T>* dweight_K) {
  using A = Accum<T>;
  for (std::int64_t k = 0; k < K; ++k) {
    const std::int64_t row = place_K[k] * D;
    A dot{};
    for (std::int64_t d = 0; d < D; ++d) {
      dot += A(dy_D[d]) * A(x_ND[row + d]);
      if (dx_ND != nullptr) {
        dx_ND[row + d] = T(weight_K[k] * A(dy_D[d]));
      }
    }
    if (dweight_K != nullptr) {
      dweight_K[k] = dot;
    }
  }
}

}  // namespace rtpurbo::kernels::cpu

#endif  // RTPURBO_KERNELS_CPU_PERMUTE_H_
