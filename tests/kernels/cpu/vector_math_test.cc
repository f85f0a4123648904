#include "kernels/cpu/vector_math.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "gtest/gtest.h"

namespace rtpurbo::kernels::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

RTPURBO_VECTOR_CLONES void ExpRow(const float* x, std::int64_t n, float* y) {
  for (std::int64_t i = 0; i < n; ++i) {
    y[i] = Exp(x[i]);
  }
}

RTPURBO_VECTOR_CLONES float SumRow(const float* x, std::int64_t n) {
  return SumOver(n, [x](std::int64_t i) RTPURBO_INLINE { return x[i]; });
}

RTPURBO_VECTOR_CLONES float MaxRow(const float* x, std::int64_t n) {
  return MaxOver(n, [x](std::int64_t i) RTPURBO_INLINE { return x[i]; });
}

float ExpOf(float x) {
  float y = kNaN;
  ExpRow(&x, 1, &y);
  return y;
}

// What Exp promises for a finite e^x: 2e-7, and 0 below the normal numbers.
void ExpectExp(float x, float y) {
  const double exact = std::exp(double{x});
  if (exact < double{std::numeric_limits<float>::min()} * (1 - 1e-6)) {
    EXPECT_EQ(y, 0) << x;
  } else if (exact > double{std::numeric_limits<float>::max()} * (1 + 1e-6)) {
    EXPECT_EQ(y, kInfinity) << x;
  } else {
    EXPECT_LE(std::abs(y - exact), 2e-7 * exact) << x;
  }
}

TEST(VectorMathTest, ExpIsAccurateOverAllFloats) {
  constexpr std::uint64_t kStep = 20011;  // 215 thousand bit patterns
  std::vector<float> x;
  for (std::uint64_t bits = 0; bits < (1ULL << 32U); bits += kStep) {
    const float value = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
    if (!std::isnan(value)) {
      x.push_back(value);
    }
  }
  std::vector<float> y(x.size(), kNaN);
  ExpRow(x.data(), static_cast<std::int64_t>(x.size()), y.data());
  for (std::size_t i = 0; i < x.size(); ++i) {
    ExpectExp(x[i], y[i]);
  }
}

TEST(VectorMathTest, ExpIsAccurateWhereSoftmaxUsesIt) {
  std::vector<float> x;
  for (int i = 0; i <= 200000; ++i) {
    x.push_back(-90.0F + static_cast<float>(i) * 9e-4F);
  }
  std::vector<float> y(x.size(), kNaN);
  ExpRow(x.data(), static_cast<std::int64_t>(x.size()), y.data());
  for (std::size_t i = 0; i < x.size(); ++i) {
    ExpectExp(x[i], y[i]);
  }
}

TEST(VectorMathTest, ExpIsExactAtItsCorners) {
  EXPECT_EQ(ExpOf(0.0F), 1.0F);
  EXPECT_EQ(ExpOf(-0.0F), 1.0F);
  EXPECT_EQ(ExpOf(-kInfinity), 0.0F);
  EXPECT_EQ(ExpOf(std::numeric_limits<float>::lowest()), 0.0F);
  EXPECT_EQ(ExpOf(kInfinity), kInfinity);
  EXPECT_EQ(ExpOf(std::numeric_limits<float>::max()), kInfinity);
  EXPECT_EQ(ExpOf(std::numeric_limits<float>::denorm_min()), 1.0F);
  EXPECT_TRUE(std::isnan(ExpOf(kNaN)));
  EXPECT_TRUE(std::isnan(ExpOf(std::bit_cast<float>(0x7f8001ffU))));
  EXPECT_TRUE(std::isnan(ExpOf(std::bit_cast<float>(0xffffffffU))));
}

TEST(VectorMathTest, ExpOfAVectorIsExpOfItsElements) {
  std::vector<float> x(77);
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = static_cast<float>(i) - 60.3F;
  }
  x[5] = kNaN;
  x[6] = -kInfinity;
  x[7] = kInfinity;
  std::vector<float> y(x.size());
  ExpRow(x.data(), 77, y.data());
  for (std::size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(y[i]),
              std::bit_cast<std::uint32_t>(ExpOf(x[i])))
        << x[i];
  }
}

TEST(VectorMathTest, SumsAndMaximaTakeEveryElementOnce) {
  for (std::int64_t n = 0; n <= 70; ++n) {
    std::vector<float> x;
    for (std::int64_t i = 0; i < n; ++i) {
      x.push_back(static_cast<float>((i * 37) % 71 - 35));
    }
    float sum = 0;
    float max = -kInfinity;
    for (const float value : x) {
      sum += value;
      max = std::max(max, value);
    }
    EXPECT_EQ(SumRow(x.data(), n), sum) << n;
    EXPECT_EQ(MaxRow(x.data(), n), max) << n;
  }
}

TEST(VectorMathTest, AMaximumPassesOverNaNAndASumDoesNot) {
  for (const std::size_t at : {0U, 3U, 20U, 36U}) {
    std::vector<float> x(37, -2.0F);
    x[11] = 5.0F;
    x[at] = kNaN;
    EXPECT_EQ(MaxRow(x.data(), 37), 5.0F);
    EXPECT_TRUE(std::isnan(SumRow(x.data(), 37)));
  }
}

}  // namespace
}  // namespace rtpurbo::kernels::cpu
