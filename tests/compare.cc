#include "tests/compare.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>

namespace rtpurbo::testing {
namespace {

// Of one pair, in units of what is allowed: above 1 is a failure. Infinite if
// one is NaN or infinite and the other is not the same.
double Excess(double a, double b, const Tolerance& tolerance) {
  if (std::isnan(a) && std::isnan(b)) {
    return 0;
  }
  if (!std::isfinite(a) || !std::isfinite(b)) {
    return a == b ? 0 : std::numeric_limits<double>::infinity();
  }
  const double error = std::abs(a - b);
  const double allowed = tolerance.atol + tolerance.rtol * std::abs(b);
  if (error <= allowed) {
    return 0;
  }
  return allowed > 0 ? error / allowed : std::numeric_limits<double>::max();
}

// 0 for equal, 1 for unrelated, 2 for opposite. Over finite pairs.
double Difference(const std::vector<float>& a, const std::vector<float>& b) {
  double ab = 0;
  double squares = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double x = a[i];
    const double y = b[i];
    if (std::isfinite(x) && std::isfinite(y)) {
      ab += x * y;
      squares += x * x + y * y;
    }
  }
  return squares > 0 ? 1 - 2 * ab / squares : 0;
}

}  // namespace

::testing::AssertionResult Close(const std::vector<float>& actual,
                                 const std::vector<float>& expected,
                                 const Tolerance& tolerance) {
  constexpr std::size_t kShown = 5;
  if (actual.size() != expected.size()) {
    return ::testing::AssertionFailure()
           << actual.size() << " elements, expected " << expected.size();
  }
  std::vector<std::size_t> bad;
  std::size_t worst = 0;
  double worst_excess = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double excess = Excess(actual[i], expected[i], tolerance);
    if (excess > 0) {
      bad.push_back(i);
    }
    if (excess > worst_excess) {
      worst_excess = excess;
      worst = i;
    }
  }
  if (!bad.empty()) {
    auto failure = ::testing::AssertionFailure();
    failure << bad.size() << " of " << actual.size() << " elements differ\n";
    const auto show = [&](const char* what, std::size_t i) {
      failure << what << " [" << i << "] " << actual[i] << ", expected "
              << expected[i] << "\n";
    };
    show("worst", worst);
    for (std::size_t i = 0; i < std::min(kShown, bad.size()); ++i) {
      show("     ", bad[i]);
    }
    return failure;
  }
  const double difference = Difference(actual, expected);
  if (difference > tolerance.max_difference) {
    return ::testing::AssertionFailure()
           << "every element is close, but the whole differs by " << difference
           << " > " << tolerance.max_difference;
  }
  return ::testing::AssertionSuccess();
}

}  // namespace rtpurbo::testing
