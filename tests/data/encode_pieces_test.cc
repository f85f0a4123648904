#include "data/encode_pieces.h"

#include <cstdint>
#include <string>
#include <vector>

#include "data/digest.h"
#include "data/file_system.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/core/parallel.h"
#include "nlohmann/json.hpp"
#include "tests/data/token_fixture.h"
#include "tests/status_matchers.h"

namespace rtpurbo {
namespace {

using ::rtpurbo::testing::TestDataPath;
using ::rtpurbo::testing::TinyTokenizer;
using ::testing::ElementsAre;

std::string Jargon() {
  return RealFileSystem().ReadFile(TestDataPath("jargon.txt")).value();
}

std::vector<std::int32_t> Joined(const std::string& text,
                                 std::int64_t piece_bytes) {
  return EncodeDocuments(TinyTokenizer(), {{"name", text, {}}}, piece_bytes)[0]
      .tokens_T;
}

TEST(EncodePiecesTest, ABookInPiecesHasTheIdsOfTheReference) {
  const nlohmann::json reference = nlohmann::json::parse(
      RealFileSystem().ReadFile(TestDataPath("reference/tiny.json")).value());
  const std::vector<std::int32_t> tokens_T = Joined(Jargon(), 1U << 16U);
  EXPECT_EQ(tokens_T.size(), reference["tokens_of_jargon"]["count"]);
  EXPECT_EQ(
      Sha256Hex({reinterpret_cast<const char*>(tokens_T.data()),
                 tokens_T.size() * sizeof(std::int32_t)}),
      reference["tokens_of_jargon"]["sha256_of_u32_le"].get<std::string>());
}

TEST(EncodePiecesTest, TheSmallestPiecesHaveTheSameIds) {
  const std::string text = Jargon().substr(20'000, 60'000);
  EXPECT_EQ(Joined(text, 1), TinyTokenizer().Encode(text));
  EXPECT_GT(CutIntoPieces(TinyTokenizer(), text, 1).size(), 300);
}

TEST(EncodePiecesTest, PiecesAreAboutTheSizeAskedFor) {
  const std::string text = Jargon();
  const std::vector<Interval> pieces =
      CutIntoPieces(TinyTokenizer(), text, 100'000);
  ASSERT_EQ(pieces.size(), (text.size() + 99'999) / 100'000);
  std::int64_t end = 0;
  for (const Interval& piece : pieces) {
    EXPECT_EQ(piece.begin, end);
    EXPECT_LT(piece.size(), 110'000);
    end = piece.end;
  }
  EXPECT_EQ(end, text.size());
}

TEST(EncodePiecesTest, NothingIsCutWhereThatWouldChangeIds) {
  // Lines that begin with nothing, a long indent, another space, a letter
  // beyond ASCII; and no lines at all.
  for (const std::string& line :
       {std::string("\n"), std::string(65, ' ') + "a\n",
        std::string("\xc2\xa0 a\n"), std::string("\xe2\x82\xac\r\n"),
        std::string("no end"), std::string("  \n")}) {
    std::string text;
    for (int i = 0; i < 500; ++i) {
      text += line;
    }
    EXPECT_THAT(
        CutIntoPieces(TinyTokenizer(), text, 1),
        ElementsAre(Interval{0, static_cast<std::int64_t>(text.size())}));
  }
  EXPECT_TRUE(CutIntoPieces(TinyTokenizer(), "", 10).empty());
}

TEST(EncodePiecesTest, AwkwardLinesHaveTheIdsOfTheWhole) {
  std::string text;
  const std::vector<std::string> lines = {"a\n",
                                          "\n\nb  \n",
                                          "1\r\n",
                                          "x\t\n \n",
                                          "don't\n",
                                          "e\xcc\x81\n",
                                          "\xe4\xb8\x80\n",
                                          "<|endoftext|>\n",
                                          "t",
                                          "<|im_start|>user\n9\n",
                                          " lead\n",
                                          "...\n\n\n",
                                          "z\xc2\xa0\n"};
  std::uint64_t state = 1;
  for (int i = 0; i < 4000; ++i) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    text += lines[(state >> 40U) % lines.size()];
  }
  EXPECT_EQ(Joined(text, 1), TinyTokenizer().Encode(text));
}

// With merges across a line's start, and with GPT-2's splits, which take all of
// an indent but its last space together with the line's end.
TEST(EncodePiecesTest, PlacesWhereTheTokenizerDoesNotCutAreLeft) {
  const std::string newline = "\xc4\x8a";  // as tokenizer.json spells it
  nlohmann::json merging = testing::SmallTokenizer({{newline, "a"}});
  nlohmann::json splitting = testing::SmallTokenizer({{newline, "\xc4\xa0"}});
  testing::AddSplit(
      R"('s|'t| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
      &splitting);
  std::string text;
  for (int i = 0; i < 200; ++i) {
    text += "apple\nbanana\n  apple\nb\n";
  }
  for (const auto& [json, num_pieces] :
       {std::pair{merging, 601}, std::pair{splitting, 600}}) {
    const Tokenizer tokenizer = Tokenizer::Parse(json.dump(), "test").value();
    const std::vector<Interval> pieces = CutIntoPieces(tokenizer, text, 1);
    EXPECT_EQ(pieces.size(), num_pieces);
    EXPECT_EQ(EncodeDocuments(tokenizer, {{"name", text, {}}}, 1)[0].tokens_T,
              tokenizer.Encode(text));
  }
}

TEST(EncodePiecesTest, WhereMostPlacesAreBadOnlySomeAreTried) {
  const Tokenizer tokenizer =
      Tokenizer::Parse(testing::SmallTokenizer({{"\xc4\x8a", "a"}}).dump(),
                       "test")
          .value();
  std::string text;
  for (int i = 0; i < 1000; ++i) {
    text += i % 100 == 50 ? "b\n" : "a\n";
  }
  // Good are 100, 300, 500, ...; tried are 16 places from 400 on, from 830,
  // from 1260, and from 1690 six, when 1700 is found.
  const std::vector<Interval> pieces = CutIntoPieces(tokenizer, text, 400);
  EXPECT_EQ(pieces[0], (Interval{0, 1700}));
  EXPECT_EQ(pieces[1], (Interval{1700, 2000}));
}

TEST(EncodePiecesTest, TheNumberOfThreadsDoesNotMatter) {
  const std::string text = Jargon().substr(0, 200'000);
  const int before = NumThreads();
  SetNumThreads(1);
  const std::vector<std::int32_t> one = Joined(text, 5000);
  SetNumThreads(3);
  const std::vector<std::int32_t> three = Joined(text, 5000);
  SetNumThreads(before);
  EXPECT_TRUE(one == three);
}

TEST(EncodePiecesTest, SpansBecomeTokensAndTheirTextIsEncodedApart) {
  const auto encode = [](absl::string_view part) {
    return TinyTokenizer().Encode(part);
  };
  // In the middle of a word, at the start and at the end.
  const std::string text = "Questions and answers";
  const std::vector<TokenDocument> documents = EncodeDocuments(
      TinyTokenizer(),
      {{"all", text, {{0, 5}, {5, 8}, {14, 21}}}, {"none", "plain", {}}});
  ASSERT_EQ(documents.size(), 2);
  std::vector<std::int32_t> expected_T;
  std::vector<std::int64_t> ends;
  for (const char* part : {"Quest", "ion", "s and ", "answers"}) {
    const std::vector<std::int32_t> part_T = encode(part);
    expected_T.insert(expected_T.end(), part_T.begin(), part_T.end());
    ends.push_back(static_cast<std::int64_t>(expected_T.size()));
  }
  EXPECT_EQ(documents[0].name, "all");
  EXPECT_EQ(documents[0].tokens_T, expected_T);
  EXPECT_THAT(documents[0].label_spans,
              ElementsAre(Interval{0, ends[0]}, Interval{ends[0], ends[1]},
                          Interval{ends[2], ends[3]}));
  EXPECT_EQ(documents[1].tokens_T, encode("plain"));
  EXPECT_TRUE(documents[1].label_spans.empty());
}

TEST(EncodePiecesTest, ALongSpanInPiecesIsOneSpan) {
  const std::string text = Jargon().substr(20'000, 30'000);
  const std::vector<TokenDocument> documents =
      EncodeDocuments(TinyTokenizer(), {{"x", text, {{1000, 29'000}}}}, 2000);
  const auto before = static_cast<std::int64_t>(
      TinyTokenizer().Encode(text.substr(0, 1000)).size());
  const auto span = static_cast<std::int64_t>(
      TinyTokenizer().Encode(text.substr(1000, 28'000)).size());
  EXPECT_THAT(documents[0].label_spans,
              ElementsAre(Interval{before, before + span}));
}

}  // namespace
}  // namespace rtpurbo
