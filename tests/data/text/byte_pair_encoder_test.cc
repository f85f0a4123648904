#include "data/text/byte_pair_encoder.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "data/file_system.h"
#include "data/text/byte_level.h"
#include "data/text/tokenizer_json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/small_tokenizer.h"
#include "tests/status_matchers.h"

namespace rtpurbo {
namespace {

using Ids = std::vector<std::int32_t>;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::SmallTokenizer;
using testing::StatusIs;

// The definition: looks for the best pair among all, again and again.
class NaiveEncoder {
 public:
  explicit NaiveEncoder(const TokenizerJson& json)
      : vocab_(json.vocab.begin(), json.vocab.end()) {
    for (std::size_t i = 0; i < json.merges.size(); ++i) {
      ranks_[json.merges[i]] = i;
    }
  }

  Ids Encode(const std::string& piece) const {
    std::vector<std::string> tokens;
    for (const char byte : piece) {
      tokens.push_back(TokenOfBytes({&byte, 1}));
    }
    while (MergeOnce(&tokens)) {
    }
    Ids ids;
    for (const std::string& token : tokens) {
      ids.push_back(vocab_.at(token));
    }
    return ids;
  }

 private:
  bool MergeOnce(std::vector<std::string>* tokens) const {
    std::optional<std::size_t> best_rank;
    std::size_t best = 0;
    for (std::size_t i = 0; i + 1 < tokens->size(); ++i) {
      const auto found = ranks_.find({(*tokens)[i], (*tokens)[i + 1]});
      if (found != ranks_.end() && (!best_rank || found->second < *best_rank)) {
        best_rank = found->second;
        best = i;
      }
    }
    if (best_rank) {
      (*tokens)[best] += (*tokens)[best + 1];
      tokens->erase(tokens->begin() + static_cast<std::ptrdiff_t>(best) + 1);
    }
    return best_rank.has_value();
  }

  std::map<std::string, std::int32_t> vocab_;
  std::map<std::pair<std::string, std::string>, std::size_t> ranks_;
};

class Fixture {
 public:
  explicit Fixture(const std::string& text)
      : json_(*ParseTokenizerJson(text)),
        naive_(json_),
        vocabulary_(*Vocabulary::Create(json_.vocab)),
        encoder_(*BytePairEncoder::Create(vocabulary_, json_.merges)) {}

  Ids NaiveEncode(const std::string& piece) const {
    return naive_.Encode(piece);
  }
  Ids Encode(const std::string& piece) {
    Ids ids;
    encoder_.Encode(piece, &scratch_, &ids);
    return ids;
  }

 private:
  TokenizerJson json_;
  NaiveEncoder naive_;
  Vocabulary vocabulary_;
  BytePairEncoder encoder_;
  BytePairEncoder::Scratch scratch_;
};

// Bytes that UTF-8 can have; often few different ones, so that much merges.
std::string RandomPiece(const std::string& alphabet, std::size_t max_size,
                        std::mt19937* rng) {
  std::string piece((*rng)() % (max_size + 1), ' ');
  for (char& c : piece) {
    c = alphabet[(*rng)() % alphabet.size()];
  }
  return piece;
}

TEST(BytePairEncoderTest, RandomBytesEncodeAsByTheDefinition) {
  ASSERT_OK_AND_ASSIGN(
      const std::string text,
      RealFileSystem().ReadFile(testing::TestDataPath("tiny/tokenizer.json")));
  Fixture fixture(text);
  std::string bytes;
  for (int byte = 0; byte < 0xF5; ++byte) {
    if (byte != 0xC0 && byte != 0xC1) {
      bytes.push_back(static_cast<char>(byte));
    }
  }
  std::mt19937 rng(1);
  for (const std::string& alphabet :
       {bytes, std::string(" etaoinshrdlu"), std::string(" e"),
        std::string("x-=*"), std::string("\xE4\xBD\xA0\xE5\xA5\xBD\xF0\x9F")}) {
    for (int i = 0; i < 100; ++i) {
      const std::string piece = RandomPiece(alphabet, 60, &rng);
      ASSERT_EQ(fixture.Encode(piece), fixture.NaiveEncode(piece)) << piece;
    }
  }
}

TEST(BytePairEncoderTest, RandomMergesOfTwoLettersEncodeAsByTheDefinition) {
  std::mt19937 rng(2);
  for (int round = 0; round < 30; ++round) {
    std::vector<std::string> tokens = {"a", "b"};
    testing::TextPairs merges;
    while (merges.size() < 12) {
      const std::string& left = tokens[rng() % tokens.size()];
      const std::string& right = tokens[rng() % tokens.size()];
      const std::string joined = left + right;
      if (std::find(tokens.begin(), tokens.end(), joined) != tokens.end()) {
        continue;
      }
      merges.emplace_back(left, right);
      tokens.push_back(joined);
    }
    std::shuffle(merges.begin(), merges.end(), rng);  // no order of training
    Fixture fixture(SmallTokenizer(merges).dump());
    for (int i = 0; i < 50; ++i) {
      const std::string piece = RandomPiece("ab", 40, &rng);
      ASSERT_EQ(fixture.Encode(piece), fixture.NaiveEncode(piece)) << piece;
    }
  }
}

TEST(BytePairEncoderTest, TheEarlierMergeGoesFirstThenTheLeftmost) {
  Fixture fixture(SmallTokenizer({{"b", "c"}, {"a", "b"}, {"a", "a"}}).dump());
  EXPECT_THAT(fixture.Encode("abc"), ElementsAre('a', 256));
  EXPECT_THAT(fixture.Encode("ab"), ElementsAre(257));
  EXPECT_THAT(fixture.Encode("aaa"), ElementsAre(258, 'a'));
  EXPECT_THAT(fixture.Encode("aaaab"), ElementsAre(258, 'a', 257));
  EXPECT_THAT(fixture.Encode(""), ElementsAre());
}

TEST(BytePairEncoderTest, OfAPairThatStandsTwiceTheLastPlaceCounts) {
  nlohmann::json json = SmallTokenizer({{"a", "b"}, {"b", "c"}});
  json["model"]["merges"].push_back({"a", "b"});
  Fixture fixture(json.dump());
  EXPECT_THAT(fixture.Encode("abc"), ElementsAre('a', 257));
}

TEST(BytePairEncoderTest, AMillionBytesInOnePieceTakeNoQuadraticTime) {
  Fixture fixture(
      SmallTokenizer({{"a", "a"}, {"aa", "aa"}, {"aaaa", "aaaa"}}).dump());
  EXPECT_EQ(fixture.Encode(std::string(1 << 20, 'a')), Ids(1 << 17, 258));
}

TEST(BytePairEncoderTest, AMergeOfUnknownTokensIsRefused) {
  for (const auto& [merge, missing] :
       {std::pair{std::pair{"xyz", "a"}, "\"xyz\""},
        std::pair{std::pair{"a", "xyz"}, "\"xyz\""},
        std::pair{std::pair{"a", "x"}, "\"ax\""}}) {
    ASSERT_OK_AND_ASSIGN(const TokenizerJson json,
                         ParseTokenizerJson(SmallTokenizer().dump()));
    ASSERT_OK_AND_ASSIGN(const Vocabulary vocabulary,
                         Vocabulary::Create(json.vocab));
    EXPECT_THAT(BytePairEncoder::Create(vocabulary, {{"a", "b"}, merge}),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         ::testing::AllOf(HasSubstr("model.merges[1]"),
                                          HasSubstr(missing))));
  }
}

TEST(BytePairEncoderTest, AVocabularyWithoutAByteIsRefused) {
  ASSERT_OK_AND_ASSIGN(TokenizerJson json,
                       ParseTokenizerJson(SmallTokenizer().dump()));
  for (const auto& [byte, refused] :
       {std::pair{0xC0, false}, {0xF5, false}, {0x20, true}, {0xC2, true}}) {
    std::vector<Vocabulary::Entry> entries;
    for (const Vocabulary::Entry& entry : json.vocab) {
      if (entry.second != byte) {
        entries.push_back(entry);
      }
    }
    ASSERT_OK_AND_ASSIGN(const Vocabulary vocabulary,
                         Vocabulary::Create(entries));
    const auto encoder = BytePairEncoder::Create(vocabulary, {});
    EXPECT_EQ(encoder.ok(), !refused) << encoder.status();
    if (byte == 0x20) {
      EXPECT_THAT(encoder, StatusIs(absl::StatusCode::kInvalidArgument,
                                    HasSubstr("\"Ġ\" for the byte 0x20")));
    }
  }
}

}  // namespace
}  // namespace rtpurbo
