// Are two lists of numbers the same up to rounding?
//
// Three questions, in this order: are NaN and infinities in the same places; is
// |a - b| <= atol + rtol |b| for each element; and is the whole alike,
//   1 - 2 <a, b> / (<a, a> + <b, b>) <= max_difference,
// which catches many small errors of one sign. State the reason of a tolerance
// where it is given.

#ifndef RTPURBO_TESTS_COMPARE_H_
#define RTPURBO_TESTS_COMPARE_H_

#include <vector>

#include "gtest/gtest.h"

namespace rtpurbo::testing {

struct Tolerance {
  double atol = 0;
  double rtol = 0;
  double max_difference = 1e-5;
};

// f32 results of another order of sums; times sqrt(K) for a sum over K. A bf16
// result of such a sum may be the other of two neighbours.
inline constexpr double kRoundF32 = 1e-5;
inline constexpr double kRoundBF16 = 0x1p-7;

// Success, or a message with the number of elements that differ, the worst of
// them and the first five. Use as EXPECT_TRUE(Close(actual, expected, {...})).
::testing::AssertionResult Close(const std::vector<float>& actual,
                                 const std::vector<float>& expected,
                                 const Tolerance& tolerance);

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_COMPARE_H_
