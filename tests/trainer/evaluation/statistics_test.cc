#include "trainer/evaluation/statistics.h"

#include <cmath>

#include "gtest/gtest.h"

namespace rtpurbo {
namespace {

// Brown, Cai, DasGupta 2001 give this method; the figures are worked by hand
// from its formula.
TEST(StatisticsTest, WilsonIntervalIsTheClosedForm) {
  const Interval95 half = WilsonInterval(10, 20);
  EXPECT_NEAR(half.low, 0.2993, 1e-4);
  EXPECT_NEAR(half.high, 0.7007, 1e-4);
  const Interval95 none = WilsonInterval(0, 20);
  EXPECT_EQ(none.low, 0);
  EXPECT_NEAR(none.high, 0.1611, 1e-4);
  const Interval95 all = WilsonInterval(20, 20);
  EXPECT_NEAR(all.low, 1 - none.high, 1e-12);
  EXPECT_NEAR(all.high, 1, 1e-12);
}

TEST(StatisticsTest, WilsonIntervalOfNothingIsEverything) {
  EXPECT_EQ(WilsonInterval(0, 0).low, 0);
  EXPECT_EQ(WilsonInterval(0, 0).high, 1);
}

TEST(StatisticsTest, McNemarIsTheTailOfAFairCoin) {
  EXPECT_EQ(McNemarExact(0, 0), 1);
  EXPECT_NEAR(McNemarExact(0, 5), 2.0 / 32, 1e-12);
  EXPECT_NEAR(McNemarExact(5, 0), 2.0 / 32, 1e-12);
  EXPECT_NEAR(McNemarExact(1, 5), 2.0 * 7 / 64, 1e-12);
  EXPECT_EQ(McNemarExact(3, 3), 1);
  EXPECT_NEAR(McNemarExact(900, 1100), 8.5e-6, 1e-6);
}

TEST(StatisticsTest, PairedDifferenceIgnoresWhatPairsShare) {
  const PairedDifference d = Paired({11, 22, 33}, {10, 20, 30});
  EXPECT_NEAR(d.mean, 2, 1e-12);
  EXPECT_NEAR(d.standard_error, 1 / std::sqrt(3.0), 1e-12);
  EXPECT_TRUE(d.falls());
  EXPECT_FALSE(Paired({10, 20}, {10, 20}).falls());
  EXPECT_FALSE(Paired({10, 20}, {13, 18}).falls());
}

}  // namespace
}  // namespace rtpurbo
