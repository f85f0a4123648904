#include "tests/compare.h"

#include <limits>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace rtpurbo::testing {
namespace {

using ::testing::HasSubstr;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(CompareTest, ToleranceIsAbsoluteAndRelative) {
  EXPECT_TRUE(Close({1, 2}, {1, 2}, {}));
  EXPECT_TRUE(Close({}, {}, {}));
  EXPECT_FALSE(Close({1, 2}, {1, 2.001F}, {}));
  EXPECT_TRUE(Close({1, 2}, {1, 2.001F}, {.rtol = 0.001}));
  EXPECT_FALSE(Close({0.001F, 2}, {0, 2}, {.rtol = 0.001}));
  EXPECT_TRUE(Close({0.001F, 2}, {0, 2}, {.atol = 0.0011}));
  EXPECT_FALSE(Close({1, 2}, {1, 2, 3}, {.atol = 9}));
}

TEST(CompareTest, NaNAndInfinityMustBeInTheSamePlaces) {
  EXPECT_TRUE(
      Close({kNaN, kInfinity, -kInfinity}, {kNaN, kInfinity, -kInfinity}, {}));
  const Tolerance loose = {.atol = 1e9, .rtol = 1e9, .max_difference = 9};
  EXPECT_FALSE(Close({kNaN}, {1}, loose));
  EXPECT_FALSE(Close({1}, {kNaN}, loose));
  EXPECT_FALSE(Close({kInfinity}, {1}, loose));
  EXPECT_FALSE(Close({1}, {kInfinity}, loose));
  EXPECT_FALSE(Close({kInfinity}, {-kInfinity}, loose));
  EXPECT_FALSE(Close({kNaN}, {kInfinity}, loose));
}

TEST(CompareTest, ManySmallErrorsOfTheWholeAreFound) {
  const std::vector<float> expected(1000, 0.01F);
  const std::vector<float> scaled(1000, 0.0105F);
  const auto result = Close(scaled, expected, {.atol = 0.001});
  EXPECT_FALSE(result);
  EXPECT_THAT(std::string(result.message()), HasSubstr("the whole differs"));
  EXPECT_TRUE(Close(scaled, expected, {.atol = 0.001, .max_difference = 0.01}));
}

TEST(CompareTest, TheMessageCountsAndShowsTheWorst) {
  const auto result =
      Close({1, 5, 3, 4, 5, 6, 7, 8}, {1, 2, 3.1F, 4.1F, 5.1F, 6.1F, 7.1F, 9},
            {.rtol = 1e-3});
  const std::string message = result.message();
  EXPECT_THAT(message, HasSubstr("7 of 8 elements differ"));
  EXPECT_THAT(message, HasSubstr("worst [1] 5, expected 2"));
  EXPECT_THAT(message, HasSubstr("[5] 6, expected 6.0"));
  EXPECT_THAT(message, ::testing::Not(HasSubstr("[6] 7")));
}

}  // namespace
}  // namespace rtpurbo::testing
