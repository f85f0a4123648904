#include "data/text/vocabulary.h"

#include <string>
#include <utility>

#include "data/text/byte_level.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/status_matchers.h"

namespace rtpurbo {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::StatusIs;

TEST(VocabularyTest, FindsTextsAndIds) {
  ASSERT_OK_AND_ASSIGN(Vocabulary vocabulary,
                       Vocabulary::Create({{"b", 3}, {"a", 0}}));
  EXPECT_EQ(vocabulary.size(), 4);
  EXPECT_EQ(vocabulary.num_tokens(), 2);
  EXPECT_EQ(vocabulary.Id("b"), 3);
  EXPECT_EQ(vocabulary.Id("c"), std::nullopt);
  EXPECT_EQ(vocabulary.Text(0), "a");
  EXPECT_EQ(vocabulary.Text(1), std::nullopt);
  EXPECT_EQ(vocabulary.Text(4), std::nullopt);
  EXPECT_EQ(vocabulary.Text(-1), std::nullopt);
}

TEST(VocabularyTest, TextsStayFoundWhileItGrowsAndMoves) {
  ASSERT_OK_AND_ASSIGN(Vocabulary vocabulary, Vocabulary::Create({}));
  for (int i = 0; i < 5000; ++i) {
    ASSERT_OK(vocabulary.Add("t" + std::to_string(i), i));
  }
  const Vocabulary moved = std::move(vocabulary);
  for (int i = 0; i < 5000; ++i) {
    ASSERT_EQ(moved.Id("t" + std::to_string(i)), i);
  }
}

TEST(VocabularyTest, ATextOrIdThatStandsTwiceIsRefused) {
  EXPECT_THAT(Vocabulary::Create({{"a", 1}, {"b", 1}}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("\"a\""), HasSubstr("\"b\""))));
  EXPECT_THAT(Vocabulary::Create({{"a", 1}, {"a", 2}}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("\"a\" stands twice, with the ids 1 and 2")));
  for (const int id : {-1, 1 << 24}) {
    EXPECT_THAT(Vocabulary::Create({{"a", id}}),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr("ids go up to 16777215")));
  }
}

TEST(VocabularyTest, ByteLevelTextsComeBack) {
  EXPECT_EQ(TokenOfBytes(" \n!\xFF\xAD"), "ĠĊ!ÿ\u0143");
  std::string bytes;
  for (int byte = 0; byte < 256; ++byte) {
    bytes.push_back(static_cast<char>(byte));
  }
  EXPECT_EQ(BytesOfToken(TokenOfBytes(bytes)), bytes);
  EXPECT_EQ(BytesOfToken("Ġ a"), "Ġ a");  // a space stands for no byte
  EXPECT_EQ(BytesOfToken("\u4f60"), "\u4f60");
  EXPECT_EQ(BytesOfToken("é"), "\xE9");
}

}  // namespace
}  // namespace rtpurbo
