#include "data/text/splitter.h"

#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/status_matchers.h"

namespace rtpurbo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::StatusIs;

using Pieces = std::vector<std::string>;

Pieces Split(const std::string& pattern, SplitBehavior behavior, bool invert,
             const std::string& text) {
  absl::StatusOr<Splitter> splitter =
      Splitter::Create(pattern, behavior, invert);
  EXPECT_OK(splitter);
  Splitter::Scratch scratch;
  Pieces pieces;
  splitter->Split(text, &scratch,
                  [&](absl::string_view piece) { pieces.emplace_back(piece); });
  return pieces;
}

// By tokenizers 0.23.3, as are the expectations below.
TEST(SplitterTest, BehavioursSayWhatBecomesOfMatches) {
  const std::pair<SplitBehavior, Pieces> cases[] = {
      {SplitBehavior::kRemoved, {"a", "b", "c"}},
      {SplitBehavior::kIsolated, {"a", "-", "b", "-", "-", "c"}},
      {SplitBehavior::kMergedWithPrevious, {"a-", "b-", "-", "c"}},
      {SplitBehavior::kMergedWithNext, {"a", "-b", "-", "-c"}},
      {SplitBehavior::kContiguous, {"a", "-", "b", "--", "c"}},
  };
  for (const auto& [behavior, pieces] : cases) {
    EXPECT_EQ(Split("-", behavior, false, "a-b--c"), pieces);
  }
}

TEST(SplitterTest, InvertedWhatLiesBetweenIsTheMatch) {
  const std::pair<SplitBehavior, Pieces> cases[] = {
      {SplitBehavior::kRemoved, {"-", "-", "-"}},
      {SplitBehavior::kIsolated, {"a", "-", "b", "-", "-", "c"}},
      {SplitBehavior::kMergedWithPrevious, {"a", "-b", "-", "-c"}},
      {SplitBehavior::kMergedWithNext, {"a-", "b-", "-", "c"}},
      {SplitBehavior::kContiguous, {"a", "-", "b", "--", "c"}},
  };
  for (const auto& [behavior, pieces] : cases) {
    EXPECT_EQ(Split("-", behavior, true, "a-b--c"), pieces);
  }
}

TEST(SplitterTest, MatchesAtBothEnds) {
  const std::pair<SplitBehavior, Pieces> cases[] = {
      {SplitBehavior::kRemoved, {"a"}},
      {SplitBehavior::kMergedWithPrevious, {"-", "a-"}},
      {SplitBehavior::kMergedWithNext, {"-a", "-"}},
  };
  for (const auto& [behavior, pieces] : cases) {
    EXPECT_EQ(Split("-", behavior, false, "-a-"), pieces);
  }
}

TEST(SplitterTest, EmptyMatchesCutButAreNoPieces) {
  const auto isolated = SplitBehavior::kIsolated;
  EXPECT_THAT(Split("(?=b)", isolated, false, "abcb"),
              ElementsAre("a", "bc", "b"));
  EXPECT_THAT(Split("", isolated, false, "a\u00e9b"),
              ElementsAre("a", "\u00e9", "b"));
  EXPECT_THAT(Split("b*", isolated, false, "abba"),
              ElementsAre("a", "bb", "a"));
  EXPECT_THAT(Split("x*", isolated, false, ""), ElementsAre());
}

TEST(SplitterTest, TextWithoutMatchIsOnePiece) {
  EXPECT_THAT(Split("x", SplitBehavior::kIsolated, false, "abc"),
              ElementsAre("abc"));
  EXPECT_THAT(Split("x", SplitBehavior::kRemoved, true, "abc"), ElementsAre());
}

TEST(SplitterTest, ZeroBytesAreText) {
  const std::string text("a\0b", 3);
  EXPECT_THAT(Split("[^b]+", SplitBehavior::kIsolated, false, text),
              ElementsAre(text.substr(0, 2), "b"));
}

TEST(SplitterTest, LongMatchesThatBacktrackNeedNoStack) {
  const std::string text(300000, 'a');
  EXPECT_THAT(
      Split("(?:a|b)+c|(?:a|b)+", SplitBehavior::kIsolated, false, text),
      ElementsAre(text));
}

TEST(SplitterTest, SplittingMayBeNested) {
  ASSERT_OK_AND_ASSIGN(const Splitter lines,
                       Splitter::Create("\\n", SplitBehavior::kRemoved, false));
  ASSERT_OK_AND_ASSIGN(const Splitter words,
                       Splitter::Create(" ", SplitBehavior::kRemoved, false));
  Splitter::Scratch scratch;
  Pieces pieces;
  lines.Split("a b\nc d\ne", &scratch, [&](absl::string_view line) {
    words.Split(line, &scratch,
                [&](absl::string_view word) { pieces.emplace_back(word); });
  });
  EXPECT_THAT(pieces, ElementsAre("a", "b", "c", "d", "e"));
}

TEST(SplitterTest, APatternThatIsNoneIsRefused) {
  EXPECT_THAT(
      Splitter::Create("a(b", SplitBehavior::kIsolated, false),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("at byte 3")));
}

}  // namespace
}  // namespace rtpurbo
