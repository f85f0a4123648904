// Decisions inside formulas: a shift for stability, a choice of the highest.
//
// They look at the real part only, so that formulas stay analytic for complex
// scalars, with which tests differentiate them.

#ifndef RTPURBO_KERNELS_CPU_DECISIONS_H_
#define RTPURBO_KERNELS_CPU_DECISIONS_H_

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <numeric>
#include <vector>

#include "kernels/core/dtype.h"

namespace rtpurbo::kernels::cpu {

template <typename A>
double RealPart(const A& a) {
  return static_cast<double>(std::real(a));
}

// Indices of the k highest of n values, falling; of equal ones the lower index.
// NaN is the lowest of all, so that the order is one for any input.
// REQUIRES: 0 <= k <= n.
template <typename T>
void ChooseHighest(const T* values, std::int64_t n, std::int64_t k,
                   std::int32_t* index_K) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::partial_sort(order.begin(), order.begin() + k, order.end(),
                    [&](std::int32_t i, std::int32_t j) {
                      const double a = RealPart(Accum<T>(values[i]));
                      const double b = RealPart(Accum<T>(values[j]));
                      if (std::isnan(a) || std::isnan(b)) {
                        return std::isnan(a) == std::isnan(b) ? i < j
                                                              : std::isnan(b);
                      }
                      return a > b || (a == b && i < j);
                    });
  std::copy_n(order.begin(), k, index_K);
}

}  // namespace rtpurbo::kernels::cpu

#endif  // RTPURBO_KERNELS_CPU_DECISIONS_H_
