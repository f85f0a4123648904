#include "data/text/added_tokens.h"

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

// Texts, and "#id" for tokens. The expectations are by tokenizers 0.23.3.
std::vector<std::string> Split(std::vector<AddedToken> tokens,
                               const std::string& text) {
  absl::StatusOr<AddedTokenFinder> finder =
      AddedTokenFinder::Create(std::move(tokens));
  EXPECT_OK(finder);
  std::vector<std::string> parts;
  finder->Split(text,
                [&](absl::string_view part, std::optional<std::int32_t> id) {
                  parts.push_back(id.has_value() ? "#" + std::to_string(*id)
                                                 : std::string(part));
                });
  return parts;
}

AddedToken Token(const std::string& content, std::int32_t id,
                 bool lstrip = false, bool rstrip = false) {
  AddedToken token;
  token.content = content;
  token.id = id;
  token.lstrip = lstrip;
  token.rstrip = rstrip;
  return token;
}

TEST(AddedTokensTest, TokensAreCutOutOfTheText) {
  EXPECT_THAT(Split({Token("<s>", 7)}, "a<s>b<s><s"),
              ElementsAre("a", "#7", "b", "#7", "<s"));
  EXPECT_THAT(Split({Token("<s>", 7)}, "<s>"), ElementsAre("#7"));
  EXPECT_THAT(Split({Token("<s>", 7)}, ""), ElementsAre());
  EXPECT_THAT(Split({}, "abc"), ElementsAre("abc"));
}

TEST(AddedTokensTest, TheLeftmostThenTheLongestIsTaken) {
  EXPECT_THAT(
      Split({Token("ab", 1), Token("abc", 2), Token("bcd", 3)}, "abcd abd bcd"),
      ElementsAre("#2", "d ", "#1", "d ", "#3"));
}

TEST(AddedTokensTest, StrippingTakesWhiteSpaceAlong) {
  EXPECT_THAT(Split({Token("<l>", 1, true)}, "a \u2003\n<l> b"),
              ElementsAre("a", "#1", " b"));
  EXPECT_THAT(Split({Token("<r>", 2, false, true)}, "a <r> \u3000\tb"),
              ElementsAre("a ", "#2", "b"));
  EXPECT_THAT(Split({Token("<b>", 3, true, true)}, " <b> <b> "),
              ElementsAre("#3", "#3"));
  // A Mongolian vowel separator is no white space.
  EXPECT_THAT(Split({Token("<b>", 3, true, true)}, "\u180e<b>\u180e"),
              ElementsAre("\u180e", "#3", "\u180e"));
}

TEST(AddedTokensTest, SpaceThatATokenTookIsNotTakenAgain) {
  EXPECT_THAT(
      Split({Token("<r>", 1, false, true), Token("<l>", 2, true)}, "<r>  <l>"),
      ElementsAre("#1", "#2"));
}

TEST(AddedTokensTest, TwoTokensOfOneTextAreRefused) {
  EXPECT_THAT(AddedTokenFinder::Create({Token("x", 1), Token("x", 2)}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\"x\"")));
}

}  // namespace
}  // namespace rtpurbo
