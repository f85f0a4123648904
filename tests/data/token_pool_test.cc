#include "data/token_pool.h"

#include <cstdint>
#include <map>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/core/rng.h"
#include "tests/data/token_fixture.h"
#include "tests/status_matchers.h"

namespace rtpurbo {
namespace {

using ::rtpurbo::testing::FirstToken;
using ::rtpurbo::testing::MadeStore;
using ::rtpurbo::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

// All documents are long: 9 of 10 tokens train.
constexpr HeldOutRule kRule = {.long_document = 5, .one_in = 10};

TEST(TokenPoolTest, EveryWindowHasTheSameChance) {
  const MadeStore store({{20, {}}, {10, {}}, {30, {}}}, kRule);
  const TokenPool pool(*store, StorePart::kTraining);
  ASSERT_EQ(pool.runs().size(), 3);
  EXPECT_EQ(pool.longest_run(), 27);
  // Training: 18, 9 and 27 tokens; of 10 in a row: 9, 0 and 18 windows.
  std::map<std::pair<std::int64_t, std::int64_t>, int> times;
  Rng rng(1, 2);
  for (int i = 0; i < 27'000; ++i) {
    ASSERT_OK_AND_ASSIGN(const TokenWindow window, pool.Draw(rng, 10));
    ASSERT_EQ(window.tokens_T.size(), 10);
    ASSERT_EQ(window.tokens_T[0], FirstToken(window.document) + window.begin);
    ASSERT_EQ(window.tokens_T[9], window.tokens_T[0] + 9);
    ++times[{window.document, window.begin}];
  }
  EXPECT_EQ(times.size(), 27);
  for (const auto& [window, count] : times) {
    EXPECT_NEAR(count, 1000, 190) << window.first << ' ' << window.second;
  }
}

TEST(TokenPoolTest, TheHeldOutPartIsWhatTrainingIsNot) {
  const MadeStore store({{20, {}}, {10, {}}}, kRule);
  const TokenPool pool(*store, StorePart::kHeldOut);
  ASSERT_EQ(pool.runs().size(), 2);
  EXPECT_EQ(pool.runs()[0].tokens, (Interval{18, 20}));
  EXPECT_EQ(pool.runs()[1].tokens, (Interval{9, 10}));
  Rng rng(1, 2);
  ASSERT_OK_AND_ASSIGN(const TokenWindow window, pool.Draw(rng, 2));
  EXPECT_EQ(window.begin, 18);
}

TEST(TokenPoolTest, ATooShortPartIsRefusedWithWhatItHas) {
  const MadeStore store({{20, {}}, {10, {}}}, kRule);
  Rng rng(1, 2);
  EXPECT_THAT(TokenPool(*store, StorePart::kTraining).Draw(rng, 19),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("training part"), HasSubstr("19 tokens"),
                             HasSubstr("has 18"))));
  EXPECT_THAT(TokenPool(*store, StorePart::kHeldOut).Draw(rng, 3),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("held-out part"), HasSubstr("has 2"),
                             HasSubstr("1/10"))));
}

}  // namespace
}  // namespace rtpurbo
