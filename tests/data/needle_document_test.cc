#include "data/needle_document.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "data/token_pool.h"
#include "data/token_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/token_fixture.h"
#include "tests/status_matchers.h"

namespace rtpurbo {
namespace {

using ::rtpurbo::testing::MadeStore;
using ::rtpurbo::testing::StatusIs;
using ::testing::HasSubstr;

constexpr HeldOutRule kRule = {.long_document = 100, .one_in = 10};
constexpr NeedleDocumentOptions kOptions = {
    .num_tokens = 2048, .needle_tokens = 48, .window = 256, .sinks = 4};

std::vector<std::int32_t> Part(const NeedleDocument& document,
                               const Interval& part) {
  return {document.tokens_T.begin() + part.begin,
          document.tokens_T.begin() + part.end};
}

TEST(NeedleDocumentTest, TheNeedleIsThereTwiceFarApart) {
  const MadeStore store({{5000, {}}, {2500, {}}}, kRule);
  const TokenPool pool(*store, StorePart::kTraining);
  std::set<std::int64_t> begins;
  for (std::uint64_t stream = 0; stream < 50; ++stream) {
    ASSERT_OK_AND_ASSIGN(const NeedleDocument document,
                         MakeNeedleDocument(pool, kOptions, 1, stream));
    ASSERT_EQ(document.tokens_T.size(), 2048);
    EXPECT_EQ(document.pre.size(), 48);
    EXPECT_EQ(document.post, (Interval{2000, 2048}));
    EXPECT_GT(document.pre.begin, 64);
    EXPECT_LT(document.pre.begin, 200);
    EXPECT_GT(document.post.begin - document.pre.end, 260);
    begins.insert(document.pre.begin);
    const std::vector<std::int32_t> needle_T = Part(document, document.pre);
    EXPECT_EQ(needle_T, Part(document, document.post));
    // The needle is from elsewhere: none of its tokens is in the text, which is
    // the neighbouring tokens of one place.
    std::vector<std::int32_t> text_T = Part(document, {0, document.pre.begin});
    const std::vector<std::int32_t> rest_T =
        Part(document, {document.pre.end, 2000});
    text_T.insert(text_T.end(), rest_T.begin(), rest_T.end());
    for (std::size_t i = 1; i < text_T.size(); ++i) {
      ASSERT_EQ(text_T[i], text_T[0] + static_cast<std::int32_t>(i));
    }
    for (const std::int32_t token : needle_T) {
      EXPECT_FALSE(token >= text_T.front() && token <= text_T.back());
      EXPECT_TRUE(testing::IsFromTraining(*store, token));
    }
  }
  EXPECT_GT(begins.size(), 25);
}

TEST(NeedleDocumentTest, ADocumentIsAFunctionOfSeedAndStream) {
  const MadeStore store({{5000, {}}}, kRule);
  const TokenPool pool(*store, StorePart::kTraining);
  std::set<std::vector<std::int32_t>> documents;
  for (const auto& [seed, stream] :
       {std::pair{1, 1}, std::pair{1, 2}, std::pair{2, 1}, std::pair{1, 1}}) {
    documents.insert(
        MakeNeedleDocument(pool, kOptions, seed, stream).value().tokens_T);
  }
  EXPECT_EQ(documents.size(), 3);
}

TEST(NeedleDocumentTest, TheShortestDocumentKeepsTheDistance) {
  const MadeStore store({{5000, {}}}, kRule);
  const TokenPool pool(*store, StorePart::kTraining);
  NeedleDocumentOptions options = kOptions;
  options.num_tokens = 300;
  const absl::Status status = MakeNeedleDocument(pool, options, 1, 1).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument,
                               HasSubstr("window of 256")));
  const std::vector<std::string> words =
      absl::StrSplit(std::string(status.message()), ' ');
  options.num_tokens = std::stoll(words.back());
  ASSERT_OK_AND_ASSIGN(const NeedleDocument document,
                       MakeNeedleDocument(pool, options, 1, 1));
  EXPECT_EQ(document.pre.begin, 65);
  EXPECT_EQ(document.post.begin - document.pre.end, 261);
  --options.num_tokens;
  EXPECT_FALSE(MakeNeedleDocument(pool, options, 1, 1).ok());
}

TEST(NeedleDocumentTest, TheFirstPlaceOfANeedleIsAnOption) {
  const MadeStore store({{5000, {}}}, kRule);
  const TokenPool pool(*store, StorePart::kTraining);
  NeedleDocumentOptions options = kOptions;
  for (const std::int64_t first : {8, 200}) {
    options.first_needle = first;
    std::int64_t least = 1 << 20;
    for (std::uint64_t stream = 0; stream < 200; ++stream) {
      ASSERT_OK_AND_ASSIGN(const NeedleDocument document,
                           MakeNeedleDocument(pool, options, 1, stream));
      least = std::min(least, document.pre.begin);
    }
    EXPECT_NEAR(static_cast<double>(least), static_cast<double>(first + 1), 10);
  }
}

TEST(NeedleDocumentTest, NeedlesOfUnfitLengthAreRefused) {
  const MadeStore store({{5000, {}}}, kRule);
  const TokenPool pool(*store, StorePart::kTraining);
  for (const std::int64_t needle : {0, 7, 1025}) {
    NeedleDocumentOptions options = kOptions;
    options.needle_tokens = needle;
    EXPECT_THAT(
        MakeNeedleDocument(pool, options, 1, 1),
        StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("8 to 1024")));
  }
  for (const std::int64_t needle : {8, 800}) {
    NeedleDocumentOptions options = kOptions;
    options.needle_tokens = needle;
    EXPECT_OK(MakeNeedleDocument(pool, options, 1, 1));
  }
}

TEST(NeedleDocumentTest, TextWithoutRoomForANeedleBesidesIsRefused) {
  const MadeStore none({{1000, {}}}, kRule);
  EXPECT_THAT(
      MakeNeedleDocument(TokenPool(*none, StorePart::kTraining), kOptions, 1,
                         1),
      StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("too short")));
  // 1962 tokens: 1952 for the text, too few besides for the needle of 48.
  const MadeStore tight({{2179, {}}}, kRule);
  EXPECT_THAT(MakeNeedleDocument(TokenPool(*tight, StorePart::kTraining),
                                 kOptions, 1, 1),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("besides the 1952 of the text")));
}

TEST(NeedleDocumentTest, TheNeedleIsRareAndNoDrawing) {
  testing::TemporaryDirectory directory;
  FileSystem& files = RealFileSystem();
  TokenDocument text;
  text.name = "text";
  for (std::int32_t i = 0; i < 1952; ++i) {
    text.tokens_T.push_back(i % 100);
  }
  // Besides the only run that is long enough for the text: a drawing (rare, but
  // one token), what is common in the text, and what is rare.
  TokenDocument drawing{"drawing", std::vector<std::int32_t>(48, 5000), {}};
  TokenDocument common{"common", {}, {}};
  TokenDocument rare{"rare", {}, {}};
  for (std::int32_t i = 0; i < 48; ++i) {
    common.tokens_T.push_back(i);
    rare.tokens_T.push_back(i % 8 == 0 ? i : 6000 + i);
  }
  const std::string path = directory / "tokens.h5";
  // No document is long, and one hash in 2^40 is held out: all are training.
  const auto writer =
      TokenStoreWriter::Create(
          files, path, "tok",
          {.long_document = 1'000'000, .one_in = std::int64_t{1} << 40U})
          .value();
  ASSERT_OK(writer->Append(text));
  for (int i = 0; i < 100; ++i) {  // so that each is among the candidates
    for (const TokenDocument* document : {&drawing, &common, &rare}) {
      ASSERT_OK(writer->Append(*document));
    }
  }
  ASSERT_OK(writer->Finish());
  ASSERT_OK_AND_ASSIGN(const auto store, TokenStore::Open(files, path));
  ASSERT_OK_AND_ASSIGN(
      const NeedleDocument document,
      MakeNeedleDocument(TokenPool(*store, StorePart::kTraining), kOptions, 1,
                         1));
  EXPECT_EQ(Part(document, document.pre), rare.tokens_T);
}

}  // namespace
}  // namespace rtpurbo
