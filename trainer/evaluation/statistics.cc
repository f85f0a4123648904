#include "trainer/evaluation/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/core/check.h"

namespace rtpurbo {

Interval95 WilsonInterval(std::int64_t k, std::int64_t n) {
  if (n == 0) {
    return {0, 1};
  }
  constexpr double kZ = 1.96;
  const auto count = static_cast<double>(n);
  const double share = static_cast<double>(k) / count;
  const double z2 = kZ * kZ / count;
  const double middle = (share + z2 / 2) / (1 + z2);
  const double half =
      kZ / (1 + z2) * std::sqrt(share * (1 - share) / count + z2 / (4 * count));
  return {std::max(0.0, middle - half), std::min(1.0, middle + half)};
}

double McNemarExact(std::int64_t b, std::int64_t c) {
  const std::int64_t n = b + c;
  if (n == 0) {
    return 1;
  }
  // Twice the lower tail of the binomial distribution, in logarithms: n choose
  // k overflows a double from n = 1030 on.
  const std::int64_t fewer = std::min(b, c);
  double tail = 0;
  for (std::int64_t k = 0; k <= fewer; ++k) {
    const double log_choose = std::lgamma(static_cast<double>(n + 1)) -
                              std::lgamma(static_cast<double>(k + 1)) -
                              std::lgamma(static_cast<double>(n - k + 1));
    tail += std::exp(log_choose - static_cast<double>(n) * std::log(2.0));
  }
  return std::min(1.0, 2 * tail);
}

double Mean(const std::vector<double>& values) {
  return values.empty() ? 0
                        : std::accumulate(values.begin(), values.end(), 0.0) /
                              static_cast<double>(values.size());
}

PairedDifference Paired(const std::vector<double>& a,
                        const std::vector<double>& b) {
  CHECK_EQ(a.size(), b.size());
  CHECK(!a.empty());
  std::vector<double> difference;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference.push_back(a[i] - b[i]);
  }
  const double mean = Mean(difference);
  double squares = 0;
  for (const double d : difference) {
    squares += (d - mean) * (d - mean);
  }
  const auto n = static_cast<double>(a.size());
  const double error = n > 1 ? std::sqrt(squares / (n - 1) / n) : 0;
  return {mean, error};
}

}  // namespace rtpurbo
