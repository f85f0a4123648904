#include "kernels/core/closest.h"

#include "gtest/gtest.h"

namespace rtpurbo {
namespace {

TEST(ClosestTest, FindsTheWordWithTheFewestChanges) {
  EXPECT_EQ(ClosestWord("stpes", {"tokens", "steps", "start"}), "steps");
  EXPECT_EQ(ClosestWord("evalute", {"evaluate", "generate"}), "evaluate");
  EXPECT_EQ(ClosestWord("steps", {"step", "steps"}), "steps");
}

TEST(ClosestTest, TakesTheFirstOfATie) {
  EXPECT_EQ(ClosestWord("rat", {"cat", "bat"}), "cat");
}

TEST(ClosestTest, FindsNothingFarAway) {
  EXPECT_EQ(ClosestWord("xyzzy", {"tokens", "steps"}), "");
  EXPECT_EQ(ClosestWord("", {"tokens"}), "");
  EXPECT_EQ(ClosestWord("steps", {}), "");
}

TEST(ClosestTest, OneCharacterMayDifferInAShortWord) {
  EXPECT_EQ(ClosestWord("rnu", {"run"}), "");  // two replacements
  EXPECT_EQ(ClosestWord("ru", {"run"}), "run");
}

TEST(ClosestTest, DidYouMeanIsEmptyWithoutASuggestion) {
  EXPECT_EQ(DidYouMean("stpes", {"steps"}), " (did you mean \"steps\"?)");
  EXPECT_EQ(DidYouMean("xyzzy", {"steps"}), "");
}

}  // namespace
}  // namespace rtpurbo
