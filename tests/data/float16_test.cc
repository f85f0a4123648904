#include "data/float16.h"

#include <cmath>
#include <limits>

#include "gtest/gtest.h"

namespace rtpurbo {
namespace {

constexpr std::uint16_t kInfinity = 0x7c00;

// The value by its definition: sign, exponent and mantissa.
double ValueOf(std::uint16_t half) {
  const int exponent = half >> 10U & 31U;
  const int mantissa = half & 1023U;
  const double magnitude = exponent == 0
                               ? std::ldexp(mantissa, -24)
                               : std::ldexp(1024 + mantissa, exponent - 25);
  return (half & 0x8000U) != 0 ? -magnitude : magnitude;
}

TEST(Float16Test, EveryHalfIsItsValueAndComesBack) {
  for (unsigned bits = 0; bits < 0x10000U; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = HalfToFloat(half);
    if ((half & 0x7fffU) > kInfinity) {
      ASSERT_TRUE(std::isnan(value)) << bits;
      const std::uint16_t back = FloatToHalf(value);
      ASSERT_GT(back & 0x7fffU, kInfinity) << bits;
      continue;
    }
    if ((half & 0x7fffU) == kInfinity) {
      ASSERT_TRUE(std::isinf(value)) << bits;
    } else {
      ASSERT_EQ(static_cast<double>(value), ValueOf(half)) << bits;
    }
    ASSERT_EQ(std::signbit(value), (half & 0x8000U) != 0) << bits;
    ASSERT_EQ(FloatToHalf(value), half) << bits;
  }
}

TEST(Float16Test, BetweenTwoHalvesRoundsToNearestAndTiesToEven) {
  for (std::uint16_t half = 0; half + 1 < kInfinity; ++half) {
    const double low = ValueOf(half);
    const double high = ValueOf(static_cast<std::uint16_t>(half + 1));
    const auto middle = static_cast<float>((low + high) / 2);  // exact
    const int even = half + (half & 1);
    ASSERT_EQ(FloatToHalf(middle), even) << half;
    ASSERT_EQ(FloatToHalf(std::nextafter(middle, 0.0F)), half) << half;
    ASSERT_EQ(FloatToHalf(std::nextafter(middle, 1e9F)), half + 1) << half;
    ASSERT_EQ(FloatToHalf(-middle), 0x8000 | even) << half;
  }
}

TEST(Float16Test, WhatIsTooLargeIsInfinity) {
  EXPECT_EQ(FloatToHalf(65504), 0x7bff);
  EXPECT_EQ(FloatToHalf(std::nextafter(65520.0F, 0.0F)), 0x7bff);
  EXPECT_EQ(FloatToHalf(65520), kInfinity);
  EXPECT_EQ(FloatToHalf(std::numeric_limits<float>::max()), kInfinity);
  EXPECT_EQ(FloatToHalf(-std::numeric_limits<float>::infinity()), 0xfc00);
  EXPECT_EQ(FloatToHalf(std::numeric_limits<float>::denorm_min()), 0);
}

}  // namespace
}  // namespace rtpurbo
