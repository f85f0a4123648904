#include "kernels/core/parallel.h"

#include <atomic>
#include <mutex>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/core/rng.h"

namespace rtpurbo {
namespace {

using Pieces = std::set<std::pair<std::int64_t, std::int64_t>>;

Pieces PiecesOf(std::int64_t n, std::int64_t grain) {
  Pieces pieces;
  std::mutex mutex;
  ParallelFor(n, grain, [&](std::int64_t begin, std::int64_t end) {
    const std::lock_guard<std::mutex> lock(mutex);
    pieces.emplace(begin, end);
  });
  return pieces;
}

TEST(ParallelTest, PiecesDoNotDependOnTheNumberOfThreads) {
  for (const int threads : {1, 2, 5}) {
    SetNumThreads(threads);
    EXPECT_EQ(NumThreads(), threads);
    EXPECT_EQ(PiecesOf(10, 4), (Pieces{{0, 4}, {4, 8}, {8, 10}}));
    EXPECT_EQ(PiecesOf(3, 7), (Pieces{{0, 3}}));
    EXPECT_EQ(PiecesOf(0, 1), Pieces{});
  }
}

TEST(ParallelTest, NestedAndConcurrentLoopsDoAllTheirWork) {
  SetNumThreads(3);
  std::atomic<int> sum{0};
  const auto outer = [&] {
    ParallelFor(8, 1, [&](std::int64_t, std::int64_t) {
      ParallelFor(16, 3, [&](std::int64_t begin, std::int64_t end) {
        sum += static_cast<int>(end - begin);
      });
    });
  };
  std::vector<std::thread> ranks;
  ranks.reserve(4);
  for (int i = 0; i < 4; ++i) {
    ranks.emplace_back([&] {
      for (int j = 0; j < 50; ++j) {
        outer();
      }
    });
  }
  for (std::thread& rank : ranks) {
    rank.join();
  }
  EXPECT_EQ(sum, 4 * 50 * 8 * 16);
}

TEST(RngTest, IsAFunctionOfSeedStreamAndIndex) {
  Rng rng(1, 2);
  const std::uint64_t first = rng.Bits();
  EXPECT_EQ(first, RandomBits(1, 2, 0));
  EXPECT_EQ(rng.Bits(), RandomBits(1, 2, 1));
  EXPECT_NE(first, RandomBits(1, 3, 0));
  EXPECT_NE(first, RandomBits(2, 2, 0));
}

TEST(RngTest, BelowIsUniform) {
  Rng rng(7, 0);
  std::vector<int> count(10);
  for (int i = 0; i < 10000; ++i) {
    ++count.at(static_cast<std::size_t>(rng.Below(10)));
  }
  EXPECT_THAT(count, ::testing::Each(::testing::AllOf(::testing::Gt(880),
                                                      ::testing::Lt(1120))));
}

}  // namespace
}  // namespace rtpurbo
