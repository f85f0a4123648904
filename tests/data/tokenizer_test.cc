#include "data/tokenizer.h"

#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "data/digest.h"
#include "data/file_system.h"
#include "data/text/utf8.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/data/small_tokenizer.h"
#include "tests/status_matchers.h"

namespace rtpurbo {
namespace {

using Ids = std::vector<std::int32_t>;
using testing::AddedTokenJson;
using testing::AddSplit;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::SmallTokenizer;
using testing::StatusIs;
using testing::TestDataPath;

Tokenizer Parsed(const nlohmann::json& json) {
  absl::StatusOr<Tokenizer> tokenizer = Tokenizer::Parse(json.dump(), "test");
  EXPECT_OK(tokenizer);
  return *std::move(tokenizer);
}

std::string Read(const std::string& name) {
  absl::StatusOr<std::string> text =
      RealFileSystem().ReadFile(TestDataPath(name));
  EXPECT_OK(text);
  return *std::move(text);
}

// As u32, lowest byte first.
std::string Sha256OfIds(const Ids& ids) {
  std::string bytes;
  for (const std::int32_t id : ids) {
    for (int shift = 0; shift < 32; shift += 8) {
      bytes.push_back(
          static_cast<char>(static_cast<std::uint32_t>(id) >> shift));
    }
  }
  return Sha256Hex(bytes);
}

class TeacherTokenizerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(tokenizer_,
                         Tokenizer::Load(TestDataPath("tiny/tokenizer.json")));
    reference_ = nlohmann::json::parse(Read("reference/tiny.json"));
  }

  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const nlohmann::json& reference() const { return reference_; }

 private:
  std::optional<Tokenizer> tokenizer_;
  nlohmann::json reference_;
};

TEST_F(TeacherTokenizerTest, IdsOfTheReferenceTextAreThoseOfHuggingFace) {
  const Ids ids = tokenizer().Encode(Read("jargon.txt"));
  const nlohmann::json& expected = reference()["tokens_of_jargon"];
  EXPECT_EQ(ids.size(), expected["count"].get<std::size_t>());
  EXPECT_EQ(Sha256OfIds(ids), expected["sha256_of_u32_le"].get<std::string>());
}

TEST_F(TeacherTokenizerTest, HardStringsEncodeAndDecodeAsInHuggingFace) {
  ASSERT_EQ(reference()["hard_strings"].size(), 19);
  for (const nlohmann::json& hard : reference()["hard_strings"]) {
    const auto text = hard["text"].get<std::string>();
    const Ids ids = hard["ids"].get<Ids>();
    EXPECT_EQ(tokenizer().Encode(text), ids) << text;
    EXPECT_EQ(tokenizer().Decode(ids), hard["decoded"].get<std::string>())
        << text;
  }
}

TEST_F(TeacherTokenizerTest, TextComesBackFromItsIds) {
  const std::string text = Read("jargon.txt");
  EXPECT_EQ(tokenizer().Decode(tokenizer().Encode(text)), text);
}

TEST_F(TeacherTokenizerTest, TokensAreFoundByTextAndId) {
  EXPECT_EQ(tokenizer().vocab_size(), 8192);
  EXPECT_EQ(tokenizer().TokenId("<|endoftext|>"), 0);
  EXPECT_EQ(tokenizer().TokenText(0), "<|endoftext|>");
  EXPECT_EQ(tokenizer().TokenText(223), "Ġ");
  EXPECT_EQ(tokenizer().TokenId("Ġ"), 223);
  EXPECT_EQ(tokenizer().TokenId("no such token"), std::nullopt);
  EXPECT_EQ(tokenizer().TokenText(8192), "");
  EXPECT_EQ(tokenizer().TokenText(-1), "");
}

TEST_F(TeacherTokenizerTest, SpecialTokensAreSkippedIfAskedFor) {
  const Ids ids = tokenizer().Encode("<|im_start|>user<|im_end|>");
  EXPECT_EQ(tokenizer().Decode(ids), "<|im_start|>user<|im_end|>");
  EXPECT_EQ(tokenizer().Decode(ids, SpecialTokens::kSkip), "user");
  EXPECT_TRUE(tokenizer().IsSpecial(ids[0]));
  EXPECT_FALSE(tokenizer().IsSpecial(ids[1]));
}

TEST_F(TeacherTokenizerTest, StreamedTextIsTheDecodedText) {
  for (const nlohmann::json& hard : reference()["hard_strings"]) {
    Ids ids = hard["ids"].get<Ids>();
    for (int cut = 0; cut < 2; ++cut) {
      StreamDecoder stream(tokenizer());
      std::string text;
      for (const std::int32_t id : ids) {
        const std::string piece = stream.Append(id);
        EXPECT_TRUE(IsUtf8(piece));
        text += piece;
      }
      text += stream.Finish();
      EXPECT_EQ(text, tokenizer().Decode(ids));
      ids = Ids(ids.rbegin(), ids.rend());  // ends inside of characters
    }
  }
}

TEST_F(TeacherTokenizerTest, ManyThreadsMayUseOneTokenizer) {
  const std::string text = Read("jargon.txt").substr(0, 100000);
  const Ids expected = tokenizer().Encode(text);
  std::vector<Ids> results(4);
  std::vector<std::thread> threads;
  threads.reserve(results.size());
  for (Ids& result : results) {
    threads.emplace_back([&] { result = tokenizer().Encode(text); });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (const Ids& result : results) {
    EXPECT_EQ(result, expected);
  }
}

TEST_F(TeacherTokenizerTest, BothSpellingsOfMergesGiveTheSameIds) {
  nlohmann::json json = nlohmann::json::parse(Read("tiny/tokenizer.json"));
  nlohmann::json& merges = json["model"]["merges"];
  ASSERT_TRUE(merges[0].is_array());
  nlohmann::json lines = {"#version: 0.2"};
  for (const nlohmann::json& pair : merges) {
    lines.push_back(pair[0].get<std::string>() + " " +
                    pair[1].get<std::string>());
  }
  merges = lines;
  const std::string text = Read("jargon.txt").substr(0, 200000);
  EXPECT_EQ(Parsed(json).Encode(text), tokenizer().Encode(text));
}

TEST(TokenizerTest, EmptyTextHasNoIds) {
  const Tokenizer tokenizer = Parsed(SmallTokenizer());
  EXPECT_THAT(tokenizer.Encode(""), ElementsAre());
  EXPECT_EQ(tokenizer.Decode({}), "");
}

TEST(TokenizerTest, LooksAhead) {
  nlohmann::json json = SmallTokenizer({{"Ġ", "Ġ"}, {"Ġ", "a"}, {"a", "Ġ"}});
  AddSplit(R"( ?a+|\s+(?!\S)|\s+)", &json);
  const Tokenizer tokenizer = Parsed(json);
  // The last space before a word goes with the word.
  EXPECT_THAT(tokenizer.Encode("a  a"), ElementsAre('a', ' ', 257));
  EXPECT_THAT(tokenizer.Encode("a   a"), ElementsAre('a', 256, 257));
  // At the end nothing follows.
  EXPECT_THAT(tokenizer.Encode("a  "), ElementsAre('a', 256));
  EXPECT_THAT(tokenizer.Encode("  "), ElementsAre(256));
}

TEST(TokenizerTest, AddedTokensEndTheTextThatLookAheadSees) {
  nlohmann::json json = SmallTokenizer({{"Ġ", "Ġ"}});
  AddSplit(R"(\s+(?!\S)|\s+|x)", &json);
  json["added_tokens"] = {AddedTokenJson(257, "<s>")};
  EXPECT_THAT(Parsed(json).Encode("  <s>  x"),
              ElementsAre(256, 257, ' ', ' ', 'x'));
}

TEST(TokenizerTest, NormalizedTokensAreFoundInNormalizedText) {
  nlohmann::json json = SmallTokenizer();
  json["normalizer"] = {{"type", "NFC"}};
  json["added_tokens"] = {AddedTokenJson(260, "e\u0301"),
                          AddedTokenJson(261, "o\u0301")};
  json["added_tokens"][1]["normalized"] = true;
  const Tokenizer tokenizer = Parsed(json);
  EXPECT_THAT(tokenizer.Encode("e\u0301"), ElementsAre(260));
  EXPECT_THAT(tokenizer.Encode("\u00e9"), ElementsAre(0xC3, 0xA9));
  EXPECT_THAT(tokenizer.Encode("o\u0301"), ElementsAre(261));
  EXPECT_THAT(tokenizer.Encode("\u00f3"), ElementsAre(261));
}

TEST(TokenizerTest, AnAddedTokenWithoutBytesDecodesAsItStands) {
  nlohmann::json json = SmallTokenizer();
  json["added_tokens"] = {AddedTokenJson(260, "two words"),
                          AddedTokenJson(261, "Ġx")};
  const Tokenizer tokenizer = Parsed(json);
  EXPECT_EQ(tokenizer.Decode(Ids{260, 261}), "two words x");
}

TEST(TokenizerTest, WrongUtf8IsReadAsReplacementCharacters) {
  const Tokenizer tokenizer = Parsed(SmallTokenizer());
  const Ids replaced = tokenizer.Encode("a\uFFFDb\uFFFD\uFFFD");
  EXPECT_EQ(tokenizer.Encode("a\xFF"
                             "b\xC0\xE2\x82"),
            replaced);
}

TEST(TokenizerTest, DecodingBytesThatAreNotUtf8GivesReplacementCharacters) {
  const Tokenizer tokenizer = Parsed(SmallTokenizer());
  EXPECT_EQ(tokenizer.Decode(Ids{'a', 0xE2, 0x82, 'b', 0xFF}),
            "a\uFFFDb\uFFFD");
}

TEST(TokenizerTest, IdsWithoutTokenAreLeftOut) {
  const Tokenizer tokenizer = Parsed(SmallTokenizer());
  EXPECT_EQ(tokenizer.Decode(Ids{'a', 5000, -1, 'b'}), "ab");
}

TEST(TokenizerTest, StreamKeepsBackTheBytesOfAnOpenCharacter) {
  const Tokenizer tokenizer = Parsed(SmallTokenizer());
  StreamDecoder stream(tokenizer);
  EXPECT_EQ(stream.Append('a'), "a");
  EXPECT_EQ(stream.Append(0xF0), "");
  EXPECT_EQ(stream.Append(0x9F), "");
  EXPECT_EQ(stream.Append(0x98), "");
  EXPECT_EQ(stream.Append(0x80), "\U0001F600");
  EXPECT_EQ(stream.Append(0xE2), "");
  EXPECT_EQ(stream.Append('b'), "\uFFFDb");
  EXPECT_EQ(stream.Append(0xC3), "");
  EXPECT_EQ(stream.Finish(), "\uFFFD");
  EXPECT_EQ(stream.Append(0xA9), "\uFFFD");  // as new
  EXPECT_EQ(stream.Finish(), "");
}

TEST(TokenizerTest, StreamSkipsSpecialTokensIfAskedFor) {
  nlohmann::json json = SmallTokenizer();
  json["added_tokens"] = {AddedTokenJson(260, "<s>")};
  json["added_tokens"][0]["special"] = true;
  StreamDecoder stream(Parsed(json), SpecialTokens::kSkip);
  EXPECT_EQ(stream.Append(260), "");
  EXPECT_EQ(stream.Append('a'), "a");
}

TEST(TokenizerTest, AMissingFileIsNamed) {
  EXPECT_THAT(Tokenizer::Load("no/such/tokenizer.json"),
              StatusIs(absl::StatusCode::kNotFound,
                       HasSubstr("no/such/tokenizer.json")));
}

// The published tokenizer of Qwen3 is too large to be in the project.
TEST(TokenizerTest, Qwen3) {
  const char* folder = std::getenv("RTPURBO_TOKENIZERS");
  if (folder == nullptr) {
    GTEST_SKIP() << "RTPURBO_TOKENIZERS names no folder with a "
                    "qwen3.tokenizer.json";
  }
  ASSERT_OK_AND_ASSIGN(
      const Tokenizer tokenizer,
      Tokenizer::Load(std::string(folder) + "/qwen3.tokenizer.json"));
  EXPECT_EQ(tokenizer.vocab_size(), 151669);
  EXPECT_EQ(tokenizer.TokenId("<|im_start|>"), 151644);
  // By tokenizers 0.23.3.
  const Ids ids = tokenizer.Encode(Read("jargon.txt"));
  EXPECT_EQ(ids.size(), 415000);
  EXPECT_EQ(Sha256OfIds(ids),
            "3f6a8e84a26a626b27bfefc902a8cac18e05c5f39bded4e6ac340fa8040b0cf9");
}

}  // namespace
}  // namespace rtpurbo
