#include "data/text/split_pattern.h"

#include <string>
#include <utility>
#include <vector>

#include "data/text/splitter.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/status_matchers.h"

namespace rtpurbo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::StatusIs;

using Pieces = std::vector<std::string>;

// The matches of `pattern` in `text`.
Pieces Matches(absl::string_view pattern, absl::string_view text) {
  absl::StatusOr<std::string> translated = TranslatePattern(pattern);
  EXPECT_OK(translated) << pattern;
  absl::StatusOr<Splitter> splitter =
      Splitter::Create(*translated, SplitBehavior::kRemoved, /*invert=*/true);
  EXPECT_OK(splitter) << *translated;
  Splitter::Scratch scratch;
  Pieces pieces;
  splitter->Split(text, &scratch,
                  [&](absl::string_view piece) { pieces.emplace_back(piece); });
  return pieces;
}

TEST(SplitPatternTest, ThePatternOfQwenSplitsWords) {
  constexpr absl::string_view kPattern =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
      R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  EXPECT_THAT(Matches(kPattern, "I'VE  12 (don't)\n\n x"),
              ElementsAre("I", "'VE", " ", " ", "1", "2", " (", "don", "'t",
                          ")\n\n", " x"));
}

TEST(SplitPatternTest, WhiteSpaceIsThatOfUnicode) {
  EXPECT_THAT(Matches(R"(\s+)",
                      "a\u00a0\u2003\u3000\u0085\x0b"
                      "b\u180e"
                      "c\u200bd"),
              ElementsAre("\u00a0\u2003\u3000\u0085\x0b"));
  EXPECT_THAT(Matches(R"(\S+)",
                      "a\u180e \u2028"
                      "b"),
              ElementsAre("a\u180e", "b"));
  EXPECT_THAT(Matches(R"([^\S\n]+)", " \t\n a"), ElementsAre(" \t", " "));
}

TEST(SplitPatternTest, CategoriesAreThoseOfUnicode16) {
  // A letter of 14 and one each of 15, 15.1 and 16.
  EXPECT_THAT(
      Matches(R"(\p{L}+)", "\u0870\u4e00 \U00031350 \U0002EBF0 \u1C8A!"),
      ElementsAre("\u0870\u4e00", "\U00031350", "\U0002EBF0", "\u1C8A"));
  EXPECT_THAT(Matches(R"(\P{L}+)", "a!\U00031350?"), ElementsAre("!", "?"));
  EXPECT_THAT(Matches(R"(\p{^L}+)", "a!\U00031350?"), ElementsAre("!", "?"));
  EXPECT_THAT(Matches(R"([^\p{L}\p{N}]+)", "a!\U00031350?\U00010D40"),
              ElementsAre("!", "?"));
  EXPECT_THAT(Matches(R"(\d+|\p{M})", "1\u0664\U00010D41 \u00bd\u0301"),
              ElementsAre("1\u0664\U00010D41", "\u0301"));
  EXPECT_THAT(Matches(R"(\D+)", "1a2"), ElementsAre("a"));
}

TEST(SplitPatternTest, LettersFoldInGroupsThatIgnoreCase) {
  EXPECT_THAT(Matches(R"((?i:'s|k))", "'S's'\u017f sK\u212A"),
              ElementsAre("'S", "'s", "'\u017f", "K", "\u212A"));
}

TEST(SplitPatternTest, LiteralsSetsGroupsAndRepeats) {
  const std::pair<std::string, Pieces> cases[] = {
      {R"(\.)", {"."}},
      {R"([a-c\-]+)", {"ab-c"}},
      {R"([^a-z.])", {"-", "1", "\n"}},
      {R"([-1]+)", {"-", "1"}},
      {R"(\x61|\u0062|\x{63})", {"a", "b", "c"}},
      {R"(\n)", {"\n"}},
      {R"((a)(?:b)(?>-))", {"ab-"}},
      {R"(a(?=b))", {"a"}},
      {R"((?!b)[ab])", {"a"}},
      {R"([abc]{2})", {"ab"}},
      {R"([abc]{1,})", {"ab", "c"}},
      {R"(.+?b|.)", {"ab", "-", "c", ".", "1"}},
      {R"(.++)", {"ab-c.1"}},
      {R"(x?y*z|)", {}},
  };
  for (const auto& [pattern, expected] : cases) {
    EXPECT_EQ(Matches(pattern, "ab-c.1\n"), expected) << pattern;
  }
}

TEST(SplitPatternTest, ALiteralMatchesItselfOnly) {
  const std::string text = "a.*\\E[\u4e00 ";
  ASSERT_OK_AND_ASSIGN(
      const Splitter splitter,
      Splitter::Create(LiteralPattern(text), SplitBehavior::kRemoved, true));
  Splitter::Scratch scratch;
  Pieces pieces;
  splitter.Split("xa.*" + text + "a.b", &scratch,
                 [&](absl::string_view piece) { pieces.emplace_back(piece); });
  EXPECT_THAT(pieces, ElementsAre(text));
}

TEST(SplitPatternTest, WhatEnginesReadDifferentlyIsRefusedByName) {
  const std::pair<const char*, const char*> cases[] = {
      {R"(\w+)", R"(\w)"},
      {R"(\h)", R"(\h)"},
      {R"(\bx)", R"(\b)"},
      {R"((a)\1)", R"(\1)"},
      {R"(^a)", "anchor ^"},
      {R"(a$)", "anchor $"},
      {R"((?<=a)b)", "(?<="},
      {R"((?<name>a)b)", "(?<n"},
      {R"((?i)a)", "(?i)"},
      {R"((?i:\p{L}))", R"('\')"},
      {R"((?i:ass))", R"("ss")"},
      {R"((?i:F|Fi))", R"("fi")"},
      {R"(a{1,2}+)", "{1,2}+"},
      {R"(a{2}?)", "{2}?"},
      {R"(a+*)", "+*"},
      {R"(a{2000})", "above 1000"},
      {R"([a[bc]])", "set inside of a set"},
      {R"([a&&b])", "set inside of a set"},
      {R"([[:alpha:]])", "set inside of a set"},
      {R"([]a])", "']'"},
      {R"([\P{L}a])", "negated category"},
      {R"(\p{Han})", R"(\p{Han})"},
      {R"(\p{Alphabetic})", R"(\p{Alphabetic})"},
      {R"(\xFF)", "above 7F"},
  };
  for (const auto& [pattern, named] : cases) {
    EXPECT_THAT(TranslatePattern(pattern),
                StatusIs(absl::StatusCode::kUnimplemented, HasSubstr(named)))
        << pattern;
  }
  const std::string deep(200, '(');
  EXPECT_THAT(TranslatePattern(deep),
              StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("group")));
}

TEST(SplitPatternTest, ErrorsNameTheByte) {
  const std::pair<const char*, const char*> cases[] = {
      {"ab)", "')' closes no group (at byte 2"},
      {"(ab", "not closed"},
      {"(?i:ab", "not closed"},
      {"[ab", "not closed"},
      {"*a", "'*' repeats nothing"},
      {"a|+", "'+' repeats nothing"},
      {"a{", "begins no {n,m}"},
      {"a{2", "begins no {n,m}"},
      {"a{3,2}", "n greater than m"},
      {"a\\", "backslash ends"},
      {"\\pL", "\\p is not followed"},
      {"\\p{L", "\\p is not followed"},
      {"\\x{}", "no number"},
      {"\\x{110000}", "no character of number 110000"},
      {"\\uD800", "no character of number D800"},
      {"\\u12", "too few"},
      {"[b-a]", "range"},
      {"[\\d-z]", "range"},
      {"\xFF", "not UTF-8"},
  };
  for (const auto& [pattern, message] : cases) {
    EXPECT_THAT(
        TranslatePattern(pattern),
        StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)))
        << pattern;
  }
}

}  // namespace
}  // namespace rtpurbo
