#include "trainer/schedule.h"

#include "gtest/gtest.h"

namespace rtpurbo {
namespace {

TEST(ScheduleTest, WarmsUpInEqualStepsToThePeak) {
  const Schedule s{Schedule::Kind::kConstant, 1.0, 4, 10};
  EXPECT_DOUBLE_EQ(s.At(0), 0.25);
  EXPECT_DOUBLE_EQ(s.At(3), 1.0);
  EXPECT_DOUBLE_EQ(s.At(4), 1.0);
  EXPECT_DOUBLE_EQ(s.At(9), 1.0);
}

TEST(ScheduleTest, CosineFallsFromThePeakTowardsZero) {
  const Schedule s{Schedule::Kind::kCosine, 2.0, 2, 10};
  EXPECT_DOUBLE_EQ(s.At(0), 1.0);
  EXPECT_DOUBLE_EQ(s.At(2), 2.0);
  EXPECT_NEAR(s.At(6), 1.0, 1e-12);
  EXPECT_NEAR(s.At(10), 0.0, 1e-12);
  for (std::int64_t step = 2; step < 10; ++step) {
    EXPECT_GT(s.At(step), s.At(step + 1));
  }
}

TEST(ScheduleTest, NoWarmUpStartsAtThePeak) {
  const Schedule s{Schedule::Kind::kCosine, 3.0, 0, 5};
  EXPECT_DOUBLE_EQ(s.At(0), 3.0);
}

}  // namespace
}  // namespace rtpurbo
