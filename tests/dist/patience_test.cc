#include "dist/patience.h"

#include <algorithm>
#include <chrono>

#include "gtest/gtest.h"

namespace rtpurbo::internal {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

// How often one looks while it waits for something that comes after `time`.
int Looks(milliseconds time) {
  Patience patience(microseconds(0));
  int looks = 0;
  for (const auto end = Patience::Clock::now() + time;
       Patience::Clock::now() < end; ++looks) {
    patience.Pause();
  }
  return looks;
}

// Steps of an eighth from 0.16 to 4 ms are 27, and 8 go before; a busy machine
// may take some away, but not from every wait.
TEST(PatienceTest, LooksOftenForItsTime) {
  int most = 0;
  for (int i = 0; i < 50; ++i) {
    most = std::max(most, Looks(milliseconds(4)));
  }
  EXPECT_GT(most, 12);
  EXPECT_LE(most, 36);
}

TEST(PatienceTest, HardlyComputesWhenItWaitsLong) {
  EXPECT_LT(Looks(milliseconds(300)), 36 + 300);
}

}  // namespace
}  // namespace rtpurbo::internal
