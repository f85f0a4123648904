#include "data/text/utf8.h"

#include <string>
#include <utility>

#include "gtest/gtest.h"

namespace rtpurbo {
namespace {

std::string Repaired(const std::string& text) {
  std::string out;
  EXPECT_EQ(AppendAsUtf8(text, /*last=*/true, &out), text.size());
  return out;
}

TEST(Utf8Test, EveryCharacterComesBack) {
  for (std::uint32_t code = 0; code <= 0x10FFFF; ++code) {
    if (code >= 0xD800 && code < 0xE000) {
      continue;
    }
    std::string text;
    AppendUtf8(code, &text);
    const Utf8Character c = ReadUtf8(text);
    ASSERT_EQ(c.kind, Utf8Character::Kind::kValid) << std::hex << code;
    ASSERT_EQ(c.code, code);
    ASSERT_EQ(c.size, text.size());
  }
}

TEST(Utf8Test, SurrogatesLongFormsAndTooLargeNumbersAreNotUtf8) {
  for (const char* text :
       {"\xED\xA0\x80", "\xED\xBF\xBF", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF",
        "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\x80",
        "\xBF", "\xFE", "\xFF"}) {
    EXPECT_FALSE(IsUtf8(text)) << text;
    EXPECT_FALSE(IsUtf8(std::string("abcdefgh") + text)) << text;
  }
}

// The examples of Unicode 15, table 3-8 and the text around it.
TEST(Utf8Test, EachMaximalSubpartBecomesOneReplacement) {
  const std::pair<std::string, std::string> cases[] = {
      {"\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64",
       "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd"},
      {"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41",
       "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\x41"},
      {"\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41",
       "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\x41"},
      {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", "\uFFFD\uFFFD\uFFFD\uFFFD\x41"},
      {"abc", "abc"},
      {"", ""},
      {"\xE2\x82", "\uFFFD"},
  };
  for (const auto& [text, expected] : cases) {
    EXPECT_EQ(Repaired(text), expected);
  }
}

TEST(Utf8Test, ACharacterCutAtTheEndIsLeftIfMoreMayFollow) {
  const std::string euro = "\xE2\x82\xAC";
  for (std::size_t size = 0; size < euro.size(); ++size) {
    std::string out;
    EXPECT_EQ(AppendAsUtf8("ab" + euro.substr(0, size), /*last=*/false, &out),
              2);
    EXPECT_EQ(out, "ab");
  }
  std::string out;
  EXPECT_EQ(AppendAsUtf8("\xE2\x41", /*last=*/false, &out), 2);
  EXPECT_EQ(out, "\uFFFD\x41");
}

TEST(Utf8Test, WrongBytesAreFoundAtAnyPlace) {
  for (std::size_t at = 0; at < 40; ++at) {
    std::string text(40, 'x');
    EXPECT_TRUE(IsUtf8(text));
    text[at] = '\x80';
    EXPECT_FALSE(IsUtf8(text)) << at;
    EXPECT_EQ(Repaired(text),
              std::string(at, 'x') + "\uFFFD" + std::string(39 - at, 'x'));
  }
}

}  // namespace
}  // namespace rtpurbo
