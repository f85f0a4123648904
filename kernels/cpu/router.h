// Choice and weights of experts, one token at a time.
//
//   p = softmax(z),  w_k = p_k / s,  s = sum of the taken p, or 1
//   dL/dp_k = (dw_k - [normalize] sum_j dw_j w_j) / s    for the taken k
//   dL/dz_e = p_e (dL/dp_e - sum_f dL/dp_f p_f)

#ifndef RTPURBO_KERNELS_CPU_ROUTER_H_
#define RTPURBO_KERNELS_CPU_ROUTER_H_

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/core/dtype.h"
#include "kernels/cpu/decisions.h"

namespace rtpurbo::kernels::cpu {

template <typename T>
void RouterSoftmax(const T* z_E, std::int64_t E, Accum<T>* prob_E) {
  using A = Accum<T>;
  using std::exp;
  double highest = RealPart(A(z_E[0]));
  for (std::int64_t e = 1; e < E; ++e) {
    highest = std::max(highest, RealPart(A(z_E[e])));
  }
  A sum{};
  for (std::int64_t e = 0; e < E; ++e) {
    prob_E[e] = exp(A(z_E[e]) - A(static_cast<float>(highest)));
    sum += prob_E[e];
  }
  for (std::int64_t e = 0; e < E; ++e) {
    prob_E[e] /= sum;
  }
}

template <typename A>
void RouterWeights(const A* prob_E, const std::int32_t* expert_K,
                   std::int64_t K, bool normalize, A* weight_K) {
  A sum{};
  for (std::int64_t k = 0; k < K; ++k) {
    sum += prob_E[expert_K[k]];
  }
  for (std::int64_t k = 0; k < K; ++k) {
    weight_K[k] = normalize ? prob_E[expert_K[k]] / sum : prob_E[expert_K[k]];
  }
}

template <typename T>
void RouterBackward(const Accum<T>* prob_E, const std::int32_t* expert_K,
                    std::int64_t E, std::int64_t K, bool normalize,
                    const Accum<T>* dweight_K, T* dz_E) {
  using A = Accum<T>;
  A sum{};
  A inner{};  // sum of dw_j p_j over the taken j
  for (std::int64_t k = 0; k < K; ++k) {
    sum += prob_E[expert_K[k]];
    inner += dweight_K[k] * prob_E[expert_K[k]];
  }
  // With dp_k as above, sum_f dp_f p_f is 0 if normalized, else `inner`.
  const A total = normalize ? A{} : inner;
  for (std::int64_t e = 0; e < E; ++e) {
    dz_E[e] = T(-prob_E[e] * total);
  }
  for (std::int64_t k = 0; k < K; ++k) {
    const std::int64_t e = expert_K[k];
    const A dp = normalize ? (dweight_K[k] - inner / sum) / sum : dweight_K[k];
    dz_E[e] = T(prob_E[e] * (dp - total));
  }
}

}  // namespace rtpurbo::kernels::cpu

#endif  // RTPURBO_KERNELS_CPU_ROUTER_H_
