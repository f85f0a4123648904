#include <string>
#include <vector>

#include "data/tokenizer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/launch/run_binary.h"

namespace rtpurbo {
namespace {

using ::rtpurbo::testing::Finished;
using ::rtpurbo::testing::RunBinary;
using ::testing::HasSubstr;
using Json = nlohmann::json;

constexpr char kTokenizer[] = "tests/data/tiny/tokenizer.json";
const std::string kText =
    "Don't panic: 3.14\tna\u00efve \u4f60\n<|endoftext|>x ";

Finished Tokenize(std::vector<std::string> flags, const std::string& input) {
  flags.insert(flags.begin(), {"tokenize", "--tokenizer", kTokenizer});
  return RunBinary(flags, {}, input);
}

// The test runs in the build folder; the program in the project's.
std::vector<std::int32_t> Expected(const std::string& text) {
  const std::string root = std::getenv("RTPURBO_ROOT");
  return Tokenizer::Load(root + "/" + kTokenizer)->Encode(text);
}

TEST(TokenizeTest, WritesTheIdsOfAllOfTheInput) {
  const Finished finished = Tokenize({}, kText);
  EXPECT_EQ(finished.exit_code, 0) << finished.err;
  std::string expected;
  for (const std::int32_t id : Expected(kText)) {
    expected += (expected.empty() ? "" : " ") + std::to_string(id);
  }
  EXPECT_EQ(finished.out, expected + "\n");
}

TEST(TokenizeTest, DecodedIdsAreTheTextByteForByte) {
  const Finished ids = Tokenize({}, kText);
  const Finished text = Tokenize({"--decode"}, ids.out);
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_EQ(text.out, kText);
  EXPECT_EQ(Tokenize({"--decode"}, "").out, "");
}

TEST(TokenizeTest, LinesOfJsonGoBothWays) {
  const std::vector<std::string> texts = {kText, "", "second\nline"};
  std::string input;
  for (const std::string& text : texts) {
    input += Json{{"text", text}}.dump() + "\n\n";
  }
  const Finished encoded = Tokenize({"--jsonl"}, input);
  EXPECT_EQ(encoded.exit_code, 0) << encoded.err;
  std::string expected;
  for (const std::string& text : texts) {
    expected += Json{{"ids", Expected(text)}}.dump() + "\n";
  }
  EXPECT_EQ(encoded.out, expected);
  const Finished decoded = Tokenize({"--jsonl", "--decode"}, encoded.out);
  EXPECT_EQ(decoded.exit_code, 0) << decoded.err;
  std::string again;
  for (const std::string& text : texts) {
    again += Json{{"text", text}}.dump() + "\n";
  }
  EXPECT_EQ(decoded.out, again);
}

TEST(TokenizeTest, WhatIsNoInputIsNamedWithItsLine) {
  const auto error = [](const std::vector<std::string>& flags,
                        const std::string& input) {
    const Finished finished = Tokenize(flags, input);
    EXPECT_EQ(finished.exit_code, 3) << input;
    return finished.err;
  };
  EXPECT_THAT(error({"--decode"}, "1 -2"), HasSubstr("\"-2\" is no token id"));
  EXPECT_THAT(error({"--decode"}, "99999999999"), HasSubstr("99999999999"));
  EXPECT_THAT(error({"--jsonl"}, "{\"text\": \"a\"}\n{\"text\": 3}\n"),
              HasSubstr("standard input: line 2"));
  EXPECT_THAT(error({"--jsonl"}, "{\"text\""), HasSubstr("line 1"));
  EXPECT_THAT(error({"--jsonl", "--decode"}, "{\"ids\": [1, 2.5]}"),
              HasSubstr("line 1: 2.5 is no token id"));
}

TEST(TokenizeTest, ATokenizerMustBeNamedAndThere) {
  EXPECT_EQ(RunBinary({"tokenize"}).exit_code, 2);
  const Finished missing = RunBinary({"tokenize", "--tokenizer=no/such.json"});
  EXPECT_EQ(missing.exit_code, 3);
  EXPECT_THAT(missing.err, HasSubstr("no/such.json"));
}

}  // namespace
}  // namespace rtpurbo
