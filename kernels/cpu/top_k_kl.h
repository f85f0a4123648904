// KL to a teacher's top tokens of one row, and the choice of such tokens.
//
//   z_k = x.w[id_k],  P = softmax(teacher),  Q = softmax(z)
//   loss = sum_k P_k (log P_k - log Q_k),    dz_k = Q_k - P_k

#ifndef RTPURBO_KERNELS_CPU_TOP_K_KL_H_
#define RTPURBO_KERNELS_CPU_TOP_K_KL_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/core/dtype.h"
#include "kernels/cpu/decisions.h"

namespace rtpurbo::kernels::cpu {

// log-softmax of K values, by their highest real part.
template <typename A>
void LogSoftmax(const A* z_K, std::int64_t K, A* log_K) {
  using std::exp;
  using std::log;
  double highest = RealPart(z_K[0]);
  for (std::int64_t k = 1; k < K; ++k) {
    highest = std::max(highest, RealPart(z_K[k]));
  }
  const A shift = A(static_cast<float>(highest));
  A sum{};
  for (std::int64_t k = 0; k < K; ++k) {
    sum += exp(z_K[k] - shift);
  }
  const A lse = log(sum) + shift;
  for (std::int64_t k = 0; k < K; ++k) {
    log_K[k] = z_K[k] - lse;
  }
}

// Writes dz, returns the loss of the row.
template <typename T>
Accum<T> TopKKlRow(const T* x_D, const T* w_VD, const std::int32_t* id_K,
                   const Accum<T>* teacher_K, std::int64_t K, std::int64_t D,
                   Accum<T>* dz_K) {
  using A = Accum<T>;
  using std::exp;
  std::vector<A> z(static_cast<std::size_t>(K));
  for (std::int64_t k = 0; k < K; ++k) {
    A dot{};
    for (std::int64_t d = 0; d < D; ++d) {
      dot += A(x_D[d]) * A(w_VD[id_K[k] * D + d]);
    }
    z[static_cast<std::size_t>(k)] = dot;
  }
  std::vector<A> log_q(z.size());
  std::vector<A> log_p(z.size());
  LogSoftmax(z.data(), K, log_q.data());
  LogSoftmax(teacher_K, K, log_p.data());
  A loss{};
  for (std::size_t k = 0; k < z.size(); ++k) {
    const A p = exp(log_p[k]);
    loss += p * (log_p[k] - log_q[k]);
    dz_K[k] = exp(log_q[k]) - p;
  }
  return loss;
}

// dx of one row.
template <typename T>
void TopKKlRowInput(const T* w_VD, const std::int32_t* id_K,
                    const Accum<T>* dz_K, Accum<T> dloss, std::int64_t K,
                    std::int64_t D, T* dx_D) {
  using A = Accum<T>;
  for (std::int64_t d = 0; d < D; ++d) {
    A sum{};
    for (std::int64_t k = 0; k < K; ++k) {
      sum += dz_K[k] * A(w_VD[id_K[k] * D + d]);
    }
    dx_D[d] = T(dloss * sum);
  }
}

// Adds one row's part of dw, columns [begin, end).
template <typename T>
void TopKKlRowWeight(const T* x_D, const std::int32_t* id_K,
                     const Accum<T>* dz_K, Accum<T> dloss, std::int64_t K,
                     std::int64_t D, std::int64_t begin, std::int64_t end,
                     Accum<T>* dw_VD) {
  using A = Accum<T>;
  for (std::int64_t k = 0; k < K; ++k) {
    const A scale = dloss * dz_K[k];
    for (std::int64_t d = begin; d < end; ++d) {
      dw_VD[id_K[k] * D + d] += scale * A(x_D[d]);
    }
  }
}

// The K highest of V, falling; of equal ones the lower index. NaN is the lowest
// of all.
template <typename T>
void TopKRow(const T* z_V, std::int64_t V, std::int64_t K, float* value_K,
             std::int32_t* id_K) {
  ChooseHighest(z_V, V, K, id_K);
  for (std::int64_t k = 0; k < K; ++k) {
    value_K[k] = static_cast<float>(z_V[id_K[k]]);
  }
}

}  // namespace rtpurbo::kernels::cpu

#endif  // RTPURBO_KERNELS_CPU_TOP_K_KL_H_
