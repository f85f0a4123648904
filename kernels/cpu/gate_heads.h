// A mix of two attention outputs, one gate a query head.

#ifndef RTPURBO_KERNELS_CPU_GATE_HEADS_H_
#define RTPURBO_KERNELS_CPU_GATE_HEADS_H_

#include <cstdint>

#include "kernels/core/dtype.h"

namespace rtpurbo::kernels::cpu {

// One head of one row: y = gate full + (1 - gate) local.
template <typename T>
void GateHead(const T* full_C, const T* local_C, Accum<T> gate, std::int64_t C,
              T* y_C) {
  using A = Accum<T>;
  for (std::int64_t c = 0; c < C; ++c) {
    y_C[c] = T(gate * A(full_C[c]) + (A(1) - gate) * A(local_C[c]));
  }
}

// Returns dy.(full - local). dfull or dlocal may be null.
template <typename T>
Accum<T> GateHeadBackward(const T* full_C, const T* local_C, Accum<T> gate,
                          const T* dy_C, std::int64_t C, T* dfull_C,
                          T* dlocal_C) {
  using A = Accum<T>;
  A dot{};
  for (std::int64_t c = 0; c < C; ++c) {
    const A dy = A(dy_C[c]);
    dot += dy * (A(full_C[c]) - A(local_C[c]));
    if (dfull_C != nullptr) {
      dfull_C[c] = T(gate * dy);
    }
    if (dlocal_C != nullptr) {
      dlocal_C[c] = T((A(1) - gate) * dy);
    }
  }
  return dot;
}

}  // namespace rtpurbo::kernels::cpu

#endif  // RTPURBO_KERNELS_CPU_GATE_HEADS_H_
