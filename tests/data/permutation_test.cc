#include "data/permutation.h"

#include <cstdint>
#include <vector>

#include "gtest/gtest.h"

namespace rtpurbo {
namespace {

TEST(PermutationTest, EveryPlaceIsTakenOnce) {
  for (std::int64_t n = 1; n <= 300; ++n) {
    std::vector<int> times(static_cast<std::size_t>(n), 0);
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int64_t place = Permute(n, 3, 5, i);
      ASSERT_GE(place, 0);
      ASSERT_LT(place, n);
      ++times[static_cast<std::size_t>(place)];
    }
    EXPECT_EQ(times, std::vector<int>(static_cast<std::size_t>(n), 1)) << n;
  }
}

TEST(PermutationTest, AnyLengthIsCovered) {
  for (const std::int64_t n :
       {(std::int64_t{1} << 20U) + 1, (std::int64_t{1} << 40U) - 1,
        std::int64_t{1} << 62U}) {
    for (const std::int64_t i : {std::int64_t{0}, n / 2, n - 1}) {
      const std::int64_t place = Permute(n, 1, 1, i);
      EXPECT_GE(place, 0);
      EXPECT_LT(place, n);
    }
  }
}

TEST(PermutationTest, EverySeedAndStreamIsAnotherOrder) {
  int same = 0;
  for (std::uint64_t s = 1; s <= 100; ++s) {
    same += Permute(1000, 0, s, 7) == Permute(1000, 0, 0, 7) ? 1 : 0;
    same += Permute(1000, s, 0, 7) == Permute(1000, 0, 0, 7) ? 1 : 0;
  }
  EXPECT_LE(same, 3);  // 0.2 by chance
}

TEST(PermutationTest, PlacesAreSpreadEvenly) {
  // Where item 0 of 10 goes, over 10,000 orders: 1000 each, +- 6 sigma.
  std::vector<int> times(10, 0);
  for (std::uint64_t stream = 0; stream < 10'000; ++stream) {
    ++times[static_cast<std::size_t>(Permute(10, 9, stream, 0))];
  }
  for (const int count : times) {
    EXPECT_NEAR(count, 1000, 180);
  }
}

TEST(PermutationTest, AnItemThatIsNotThereIsABug) {
  EXPECT_DEATH(Permute(3, 0, 0, 3), "3 of 3");
  EXPECT_DEATH(Permute(3, 0, 0, -1), "-1 of 3");
}

}  // namespace
}  // namespace rtpurbo
