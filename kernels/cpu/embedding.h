// Rows of a table, and the gradient of the table.

#ifndef RTPURBO_KERNELS_CPU_EMBEDDING_H_
#define RTPURBO_KERNELS_CPU_EMBEDDING_H_

#include <algorithm>
#include <cstdint>

#include "kernels/core/dtype.h"

namespace rtpurbo::kernels::cpu {

inline void CheckId(const std::int32_t* id_T, std::int64_t t, std::int64_t V) {
  CHECK(0 <= id_T[t] && id_T[t] < V)
      << "id " << id_T[t] << " of row " << t << ", but there are " << V;
}

// y[t] = w[id[t]] for the rows [begin, end).
template <typename T>
void EmbeddingForward(const T* w_VD, const std::int32_t* id_T, std::int64_t V,
                      std::int64_t D, std::int64_t begin, std::int64_t end,
                      T* y_TD) {
  for (std::int64_t t = begin; t < end; ++t) {
    CheckId(id_T, t, V);
    std::copy_n(w_VD + id_T[t] * D, D, y_TD + t * D);
  }
}

// dw[id[t]] += dy[t] for the columns [begin, end), rows in ascending order.
template <typename T>
void EmbeddingBackward(const std::int32_t* id_T, const T* dy_TD,
                       std::int64_t T_, std::int64_t V, std::int64_t D,
                       std::int64_t begin, std::int64_t end, Accum<T>* dw_VD) {
  using A = Accum<T>;
  for (std::int64_t t = 0; t < T_; ++t) {
    CheckId(id_T, t, V);
    for (std::int64_t d = begin; d < end; ++d) {
      dw_VD[id_T[t] * D + d] += A(dy_TD[t * D + d]);
    }
  }
}

}  // namespace rtpurbo::kernels::cpu

#endif  // RTPURBO_KERNELS_CPU_EMBEDDING_H_
