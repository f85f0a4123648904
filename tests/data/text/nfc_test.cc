#include "data/text/nfc.h"

#include <ctime>
#include <string>
#include <utility>

#include "gtest/gtest.h"

namespace rtpurbo {
namespace {

TEST(NfcTest, CharactersAreComposedAndMarksOrdered) {
  const std::pair<std::string, std::string> cases[] = {
      {"", ""},
      {"plain", "plain"},
      {"e\u0301", "\u00e9"},
      {"ae\u0301e", "a\u00e9e"},
      {"\u00e9\u0323", "\u1eb9\u0301"},  // the dot below comes first
      {"e\u0301\u0323", "\u1eb9\u0301"},
      {"\u212b", "\u00c5"},
      {"\u0340", "\u0300"},
      {"\u1e9b\u0323", "\u1e9b\u0323"},
      {"\u1100\u1161\u11a8", "\uac01"},
      {"\uac00\u11a8", "\uac01"},
      {"\u304b\u3099", "\u304c"},
      {"\u0958", "\u0915\u093c"},  // excluded from composition
      {"\u0301e", "\u0301e"},
      {"\u4f60\u597d", "\u4f60\u597d"},
      {"\ufb01", "\ufb01"},  // compatibility is left
      {"a\u0345\u0301", "\u00e1\u0345"},
  };
  for (const auto& [text, expected] : cases) {
    EXPECT_EQ(NormalizeNfc(text), expected) << text;
  }
}

TEST(NfcTest, ANormalFormIsItsOwn) {
  for (std::uint32_t code = 0xA0; code < 0x3100; ++code) {
    std::string text = "x";
    text.push_back(static_cast<char>(0xE0 | code >> 12));
    text.push_back(static_cast<char>(0x80 | (code >> 6 & 0x3F)));
    text.push_back(static_cast<char>(0x80 | (code & 0x3F)));
    if (code < 0x800) {
      text = "x";
      text.push_back(static_cast<char>(0xC0 | code >> 6));
      text.push_back(static_cast<char>(0x80 | (code & 0x3F)));
    }
    const std::string once = NormalizeNfc(text + "\u0301");
    EXPECT_EQ(NormalizeNfc(once), once);
    if (IsPlainNfc(text)) {
      EXPECT_EQ(NormalizeNfc(text), text);
    }
  }
}

// By tokenizers 0.23.3. U+0898 (Unicode 14) and U+1DF6 (10) are marks since;
// U+11935 and U+11930 (13) compose since.
TEST(NfcTest, WhatUnicodeAddedAfterVersion9CombinesWithNothing) {
  for (const char* text :
       {"a\u0898\u0334", "a\u1df6\u0301", "a\u0345\u0898",
        "\U00011935\U00011930", "\U00011938", "\U000105D2\u0307"}) {
    EXPECT_EQ(NormalizeNfc(text), text);
  }
  EXPECT_EQ(NormalizeNfc("e\u0301\u0898e\u0301"), "\u00e9\u0898\u00e9");
}

TEST(NfcTest, PlainTextIsBelowTheMarks) {
  EXPECT_TRUE(IsPlainNfc(""));
  EXPECT_TRUE(IsPlainNfc("caf\u00e9 \u02ff"));
  EXPECT_FALSE(IsPlainNfc("a\u0300"));
  EXPECT_FALSE(IsPlainNfc("\u4e00"));
}

TEST(NfcTest, ManyMarksTakeNoQuadraticTime) {
  std::string text = "a";
  for (int i = 0; i < 100000; ++i) {
    text += "\u0301\u0323";
  }
  const std::clock_t start = std::clock();
  const std::string normal = NormalizeNfc(text);
  // Of this process, so that others do not matter. 10^10 swaps take longer.
  EXPECT_LT((std::clock() - start) / CLOCKS_PER_SEC, 5);
  // a with dot below, the other dots below, then the acutes.
  EXPECT_EQ(normal.substr(0, 5), "\u1ea1\u0323");
  EXPECT_EQ(normal.substr(normal.size() - 4), "\u0301\u0301");
}

}  // namespace
}  // namespace rtpurbo
