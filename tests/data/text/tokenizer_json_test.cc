#include "data/text/tokenizer_json.h"

#include <random>
#include <string>
#include <utility>
#include <vector>

#include "data/tokenizer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/small_tokenizer.h"
#include "tests/status_matchers.h"

namespace rtpurbo {
namespace {

using testing::AddedTokenJson;
using testing::AddSplit;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using testing::SmallTokenizer;
using ::testing::StartsWith;
using testing::StatusIs;
using Json = nlohmann::json;

constexpr auto kUnfit = absl::StatusCode::kFailedPrecondition;
constexpr auto kUnsupported = absl::StatusCode::kUnimplemented;

// One field of a tokenizer that works, put to another value.
struct Change {
  const char* field;  // JSON pointer
  Json value;
  const char* named;  // in the message
};

Json TokenizerWithEverything() {
  Json json = SmallTokenizer();
  json["normalizer"] = {{"type", "NFC"}};
  json["post_processor"] = json["decoder"];
  json["added_tokens"] = {AddedTokenJson(260, "<s>"), AddedTokenJson(261, "b")};
  json["added_tokens"][1]["id"] = 'b';
  AddSplit(" ", &json);
  return json;
}

void ExpectRefused(const Change& change, absl::StatusCode code) {
  Json json = TokenizerWithEverything();
  json[Json::json_pointer(change.field)] = change.value;
  EXPECT_THAT(Tokenizer::Parse(json.dump(), "a/tokenizer.json"),
              StatusIs(code, AllOf(HasSubstr("a/tokenizer.json: "),
                                   HasSubstr(change.named))))
      << change.field << " = " << change.value;
}

TEST(TokenizerJsonTest, ReadsWhatIsSupported) {
  Json json = TokenizerWithEverything();
  json["added_tokens"][0]["lstrip"] = true;
  json["added_tokens"][0]["special"] = true;
  ASSERT_OK_AND_ASSIGN(const TokenizerJson read,
                       ParseTokenizerJson(json.dump()));
  EXPECT_TRUE(read.nfc);
  EXPECT_EQ(read.vocab.size(), 260);
  EXPECT_THAT(read.merges, ElementsAre(Pair("a", "b"), Pair("b", "c"),
                                       Pair("ab", "c"), Pair("Ġ", "a")));
  ASSERT_EQ(read.added_tokens.size(), 2);
  EXPECT_EQ(read.added_tokens[0].content, "<s>");
  EXPECT_TRUE(read.added_tokens[0].lstrip);
  EXPECT_TRUE(read.added_tokens[0].special);
  EXPECT_FALSE(read.added_tokens[0].rstrip);
  ASSERT_EQ(read.splits.size(), 1);
  EXPECT_EQ(read.splits[0].behavior, SplitBehavior::kIsolated);
  EXPECT_OK(Tokenizer::Parse(json.dump(), "test"));
}

TEST(TokenizerJsonTest, ByteLevelSplitsAsGpt2IfNotToldOtherwise) {
  Json json = SmallTokenizer({{"a", "1"}});
  ASSERT_OK_AND_ASSIGN(const Tokenizer whole,
                       Tokenizer::Parse(json.dump(), "test"));
  EXPECT_THAT(whole.Encode("a1"), ElementsAre(256));
  json["pre_tokenizer"].erase("use_regex");
  ASSERT_OK_AND_ASSIGN(const Tokenizer split,
                       Tokenizer::Parse(json.dump(), "test"));
  EXPECT_THAT(split.Encode("a1"), ElementsAre('a', '1'));
}

TEST(TokenizerJsonTest, FieldsThatSayNothingMayBeLeftOut) {
  Json json = SmallTokenizer();
  for (const char* field : {"version", "truncation", "padding", "added_tokens",
                            "normalizer", "post_processor"}) {
    json.erase(field);
  }
  for (const char* field :
       {"dropout", "unk_token", "continuing_subword_prefix", "fuse_unk",
        "end_of_word_suffix", "byte_fallback", "ignore_merges"}) {
    json["model"].erase(field);
  }
  EXPECT_OK(ParseTokenizerJson(json.dump()));
  json["model"]["continuing_subword_prefix"] = "";
  EXPECT_OK(ParseTokenizerJson(json.dump()));
}

TEST(TokenizerJsonTest, WhatIsNotSupportedIsRefusedByName) {
  const Json first_split =
      TokenizerWithEverything()["pre_tokenizer"]["pretokenizers"][0];
  const std::vector<Change> changes = {
      {"/version", "2.0", "version is \"2.0\""},
      {"/truncation", {{"max_length", 5}}, "truncation is {\"max_length\":5}"},
      {"/padding", {{"strategy", "x"}}, "padding is {"},
      {"/surprise", 1, "the field surprise = 1"},
      {"/normalizer", {{"type", "Lowercase"}}, "normalizer is {\"type\":\"Low"},
      {"/normalizer", {{"type", "Sequence"}}, "normalizer is {\"type\":\"Seq"},
      {"/normalizer/form", "D", "normalizer.form"},
      {"/pre_tokenizer", nullptr, "pre_tokenizer is null"},
      {"/pre_tokenizer", first_split, "pre_tokenizer is {"},
      {"/pre_tokenizer", {{"type", "Metaspace"}}, "\"Metaspace\""},
      {"/pre_tokenizer/pretokenizers/0",
       {{"type", "Digits"}},
       "pre_tokenizer.pretokenizers[0] is {\"type\":\"Digits\"}"},
      {"/pre_tokenizer/pretokenizers/1", first_split,
       "pre_tokenizer.pretokenizers[1] is {"},
      {"/pre_tokenizer/pretokenizers/1/add_prefix_space", true,
       "pre_tokenizer.pretokenizers[1].add_prefix_space is true"},
      {"/pre_tokenizer/pretokenizers/0/pattern/Regex", "\\w+",
       "pre_tokenizer.pretokenizers[0].pattern.Regex: \\w is not supported"},
      {"/pre_tokenizer/pretokenizers/0/extra", 1, "extra"},
      {"/post_processor",
       {{"type", "TemplateProcessing"}},
       "post_processor is {\"type\":\"TemplateProcessing\"}"},
      {"/decoder", nullptr, "decoder is null"},
      {"/decoder", {{"type", "Metaspace"}}, "decoder is {"},
      {"/model/type", "Unigram", "model.type is \"Unigram\""},
      {"/model/type", "WordPiece", "model.type is \"WordPiece\""},
      {"/model/dropout", 0.1, "model.dropout is 0.1"},
      {"/model/unk_token", "<unk>", "model.unk_token is \"<unk>\""},
      {"/model/fuse_unk", true, "model.fuse_unk is true"},
      {"/model/byte_fallback", true, "model.byte_fallback is true"},
      {"/model/ignore_merges", true, "model.ignore_merges is true"},
      {"/model/continuing_subword_prefix", "##",
       "model.continuing_subword_prefix is \"##\""},
      {"/model/end_of_word_suffix", "</w>", "model.end_of_word_suffix is"},
      {"/model/vocab_size", 5, "model.vocab_size"},
      {"/added_tokens/0/single_word", true,
       "added_tokens[0].single_word is true"},
      {"/added_tokens/0/color", "red", "added_tokens[0].color"},
  };
  for (const Change& change : changes) {
    ExpectRefused(change, kUnsupported);
  }
}

TEST(TokenizerJsonTest, WrongTypesAreRefusedByName) {
  const std::vector<Change> changes = {
      {"/model", nullptr, "model is null, not an object"},
      {"/model", "BPE", "model is \"BPE\", not an object"},
      {"/model/type", 3, "model.type is 3"},
      {"/model/type", nullptr, "model.type is null"},
      {"/model/vocab", nullptr, "model.vocab is null"},
      {"/model/vocab", {"a", "b"}, "model.vocab is [\"a\",\"b\"]"},
      {"/model/vocab/ab", "1", "model.vocab[\"ab\"] is a string"},
      {"/model/vocab/ab", -1, "model.vocab[\"ab\"] is a negative number"},
      {"/model/vocab/ab", 1.5, "model.vocab[\"ab\"] is 1.5"},
      {"/model/vocab/ab", nullptr, "model.vocab[\"ab\"] is null"},
      {"/model/vocab/ab", {{"id", 1}}, "model.vocab[\"ab\"] is an object"},
      {"/model/vocab/ab", {1}, "model.vocab[\"ab\"] is an array"},
      {"/model/vocab/ab", 1ULL << 40, "1099511627776"},
      {"/model/vocab/ab", 1 << 30, "ids go up to"},
      {"/model/merges", nullptr, "model.merges is null"},
      {"/model/merges", {{"a", "b"}}, "model.merges is {\"a\":\"b\"}"},
      {"/model/merges/1", 7, "model.merges[1] is a number"},
      {"/model/merges/1", {"a"}, "model.merges[1] is an array of 1"},
      {"/model/merges/1", {"a", "b", "c"}, "model.merges[1] is an array of 3"},
      {"/model/merges/1", {"a", 1}, "model.merges[1] is a number"},
      {"/model/merges/1", {{"a", 1}}, "model.merges[1] is an object"},
      {"/model/merges/1", "ab", "model.merges[1] is \"ab\""},
      {"/model/merges/1", "a b c", "model.merges[1] is \"a b c\""},
      {"/added_tokens", 5, "added_tokens is 5"},
      {"/added_tokens/0", "<s>", "added_tokens[0] is \"<s>\""},
      {"/added_tokens/0/id", "260", "added_tokens[0].id is \"260\""},
      {"/added_tokens/0/id", -2, "added_tokens[0].id is -2"},
      {"/added_tokens/0/id", 1ULL << 33, "added_tokens[0].id is 8589934592"},
      {"/added_tokens/0/content", 1, "added_tokens[0].content is 1"},
      {"/added_tokens/0/content", "", "added_tokens[0].content is \"\""},
      {"/added_tokens/0/special", "yes", "added_tokens[0].special is \"yes\""},
      {"/normalizer/type", 1, "normalizer is"},
      {"/pre_tokenizer/pretokenizers", Json::array(),
       "pre_tokenizer.pretokenizers is []"},
      {"/pre_tokenizer/pretokenizers", 1, "pre_tokenizer.pretokenizers is 1"},
      {"/pre_tokenizer/pretokenizers/0/pattern", "x", "pattern is \"x\""},
      {"/pre_tokenizer/pretokenizers/0/pattern", Json::object(),
       "pattern is {"},
      {"/pre_tokenizer/pretokenizers/0/pattern/Regex", 1, "Regex is 1"},
      {"/pre_tokenizer/pretokenizers/0/pattern/Regex", "(",
       "a group is not closed"},
      {"/pre_tokenizer/pretokenizers/0/behavior", "Joined",
       "behavior is \"Joined\""},
      {"/pre_tokenizer/pretokenizers/0/invert", "no", "invert is \"no\""},
      {"/pre_tokenizer/pretokenizers/1/use_regex", 1, "use_regex is 1"},
      {"/decoder/trim_offsets", nullptr, "decoder.trim_offsets is null"},
  };
  for (const Change& change : changes) {
    const bool is_type = std::string(change.field) == "/normalizer/type";
    ExpectRefused(change, is_type ? kUnsupported : kUnfit);
  }
}

TEST(TokenizerJsonTest, IdsThatDoNotFitAreRefused) {
  const std::vector<Change> changes = {
      {"/model/vocab/ab", 'c', "have the same id 99"},
      {"/added_tokens/0/id", 300,
       "added_tokens[0].id is 300, but \"<s>\" would get the next free one "
       "from Hugging Face, 260"},
      {"/added_tokens/0/id", 'a', "260"},
      {"/added_tokens/1/id", 300, "\"b\" already has the id 98"},
      // With a hole at 256, Hugging Face would give <s> the id of another.
      {"/model/vocab/ab", 260, "\"ab\" and \"<s>\" have the same id 260"},
      {"/added_tokens/1", AddedTokenJson(260, "<s>"), "the same text \"<s>\""},
      {"/model/merges/0", {"a", "q"}, "model.merges[0] needs the token \"aq\""},
      {"/model/merges/0", {"<s>", "q"}, "needs the token \"<s>\""},
  };
  for (const Change& change : changes) {
    ExpectRefused(change, kUnfit);
  }
}

TEST(TokenizerJsonTest, AHoleInTheIdsThatHurtsNobodyIsTaken) {
  Json json = SmallTokenizer();
  json["model"]["vocab"]["ab"] = 1000;
  ASSERT_OK_AND_ASSIGN(const Tokenizer tokenizer,
                       Tokenizer::Parse(json.dump(), "test"));
  EXPECT_EQ(tokenizer.vocab_size(), 1001);
  EXPECT_EQ(tokenizer.TokenText(256), "");
  EXPECT_EQ(tokenizer.Encode("ab"), std::vector<std::int32_t>{1000});
}

TEST(TokenizerJsonTest, KeysThatStandTwiceAreRefused) {
  std::string text = SmallTokenizer().dump();
  const std::string twice = text.insert(text.find("\"ab\":"), "\"ab\":900,");
  EXPECT_THAT(Tokenizer::Parse(twice, "test"),
              StatusIs(kUnfit, HasSubstr("\"ab\" stands twice")));
  EXPECT_THAT(ParseTokenizerJson(R"({"model": 1, "model": 2})"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("\"model\" stands twice")));
  EXPECT_THAT(ParseTokenizerJson(R"({"model": {"merges": [], "merges": []}})"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("\"merges\" stands twice")));
}

TEST(TokenizerJsonTest, WhatIsNotJsonIsRefusedWithThePlace) {
  const std::string text = SmallTokenizer().dump(1);
  EXPECT_THAT(ParseTokenizerJson(text.substr(0, text.size() / 2)),
              StatusIs(absl::StatusCode::kDataLoss,
                       AllOf(HasSubstr("not JSON"), HasSubstr("line "))));
  for (const char* wrong : {"", "{", "nonsense", "\xFF", "{\"a\": \"\xC3\"}",
                            "{\"a\": 1e999}", "{} {}"}) {
    EXPECT_THAT(ParseTokenizerJson(wrong),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr("not JSON")))
        << wrong;
  }
  for (const char* other : {"[]", "1", "null", "\"text\""}) {
    EXPECT_THAT(ParseTokenizerJson(other),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr("not an object")))
        << other;
  }
  EXPECT_THAT(ParseTokenizerJson(std::string(1000000, '[')),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("nested more than")));
}

// Damage of a file on its way: cut at any place, bytes replaced.
TEST(TokenizerJsonTest, DamagedFilesAreRefusedOrReadButNeverCrash) {
  Json json = TokenizerWithEverything();
  json["added_tokens"][0]["normalized"] = true;
  json["added_tokens"][0]["content"] = std::string(100, 'x');
  const std::string intact = json.dump();
  std::mt19937 rng(3);
  int refused = 0;
  for (int i = 0; i < 200; ++i) {
    std::string damaged = intact;
    if (i % 4 == 0) {
      damaged.resize(rng() % intact.size());
    } else {
      // What is not vocabulary or merges stands in front.
      for (std::uint32_t flips = 1 + rng() % 3; flips > 0; --flips) {
        const bool anywhere = rng() % 2 == 0;
        const std::size_t at = anywhere ? rng() % intact.size() : rng() % 700;
        damaged[at] = static_cast<char>(
            i % 2 == 0
                ? rng()
                : static_cast<std::uint32_t>(damaged[at]) ^ (1U << rng() % 8));
      }
    }
    const absl::StatusOr<Tokenizer> tokenizer =
        Tokenizer::Parse(damaged, "damaged");
    if (!tokenizer.ok()) {
      ++refused;
      EXPECT_THAT(std::string(tokenizer.status().message()),
                  StartsWith("cannot use the tokenizer damaged: "));
      continue;
    }
    tokenizer->Decode(tokenizer->Encode(" abc<s>\u00e9e\u0301\xFF\n"));
  }
  EXPECT_GT(refused, 100);
  EXPECT_LT(refused, 200);
}

TEST(TokenizerJsonTest, ADamagedRealFileIsRefusedOrReadButNeverCrashes) {
  ASSERT_OK_AND_ASSIGN(
      const std::string intact,
      RealFileSystem().ReadFile(testing::TestDataPath("tiny/tokenizer.json")));
  std::mt19937 rng(4);
  for (int i = 0; i < 40; ++i) {
    std::string damaged = intact;
    if (i % 2 == 0) {
      damaged.resize(rng() % intact.size());
    } else {
      damaged[rng() % (i % 4 == 1 ? 2000 : intact.size())] ^=
          static_cast<char>(1U << rng() % 8);
    }
    const absl::StatusOr<Tokenizer> tokenizer =
        Tokenizer::Parse(damaged, "damaged");
    EXPECT_TRUE(i % 2 != 0 || !tokenizer.ok());
    if (tokenizer.ok()) {
      tokenizer->Decode(tokenizer->Encode("some text\n<|im_end|>"));
    }
  }
}

}  // namespace
}  // namespace rtpurbo
