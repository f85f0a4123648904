#include "data/token_store.h"

#include <cerrno>
#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "data/file_system.h"
#include "data/hdf5_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/failing_file_system.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace rtpurbo {
namespace {

using ::rtpurbo::testing::FailingFileSystem;
using ::rtpurbo::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A document of tokens first, first + 1, ...
TokenDocument MakeDocument(const std::string& name, std::int64_t num_tokens,
                           std::int32_t first,
                           std::vector<Interval> label_spans = {}) {
  TokenDocument document;
  document.name = name;
  document.tokens_T.resize(static_cast<std::size_t>(num_tokens));
  std::iota(document.tokens_T.begin(), document.tokens_T.end(), first);
  document.label_spans = std::move(label_spans);
  return document;
}

std::vector<TokenDocument> SomeDocuments() {
  std::vector<TokenDocument> documents = {
      MakeDocument("a", 5, 100), MakeDocument("", 1, 7),
      MakeDocument("chat:1", 20, -3, {{2, 5}, {5, 6}, {19, 20}}),
      MakeDocument("long", 70'000, 0)};
  for (int i = 0; i < 40; ++i) {
    documents.push_back(MakeDocument("d" + std::to_string(i), 3, 1000 * i));
  }
  return documents;
}

constexpr HeldOutRule kRule = {.long_document = 1000, .one_in = 10};

class TokenStoreTest : public ::testing::Test {
 protected:
  absl::Status Write(FileSystem& files, const std::string& path,
                     const std::vector<TokenDocument>& documents) {
    ASSIGN_OR_RETURN(const auto writer,
                     TokenStoreWriter::Create(files, path, "tok", kRule));
    for (const TokenDocument& document : documents) {
      RETURN_IF_ERROR(writer->Append(document));
    }
    return writer->Finish();
  }

  FileSystem& files_ = RealFileSystem();
  testing::TemporaryDirectory directory_;
  std::string path_ = directory_ / "tokens.h5";
};

TEST_F(TokenStoreTest, WhatIsAppendedIsRead) {
  const std::vector<TokenDocument> documents = SomeDocuments();
  ASSERT_OK(Write(files_, path_, documents));
  ASSERT_OK_AND_ASSIGN(const auto store, TokenStore::Open(files_, path_));
  EXPECT_EQ(store->tokenizer_fingerprint(), "tok");
  EXPECT_EQ(store->held_out_rule().long_document, 1000);
  ASSERT_EQ(store->num_documents(), documents.size());
  std::int64_t num_tokens = 0;
  for (std::int64_t i = 0; i < store->num_documents(); ++i) {
    const TokenDocument& expected = documents[static_cast<std::size_t>(i)];
    const TokenDocumentInfo& info = store->document(i);
    EXPECT_EQ(info.name, expected.name);
    EXPECT_EQ(info.label_spans, expected.label_spans);
    ASSERT_EQ(info.num_tokens, expected.tokens_T.size());
    ASSERT_OK_AND_ASSIGN(const std::vector<std::int32_t> tokens_T,
                         store->Read(i, {0, info.num_tokens}));
    EXPECT_TRUE(tokens_T == expected.tokens_T) << i;
    num_tokens += info.num_tokens;
  }
  EXPECT_EQ(store->num_tokens(), num_tokens);
  EXPECT_OK(store->Verify());
}

TEST_F(TokenStoreTest, AnyRangeOfADocumentIsRead) {
  ASSERT_OK(Write(files_, path_, SomeDocuments()));
  ASSERT_OK_AND_ASSIGN(const auto store, TokenStore::Open(files_, path_));
  ASSERT_OK_AND_ASSIGN(const auto across, store->Read(3, {65'530, 65'532}));
  EXPECT_THAT(across, ElementsAre(65'530, 65'531));
  ASSERT_OK_AND_ASSIGN(const auto last, store->Read(3, {69'999, 70'000}));
  EXPECT_THAT(last, ElementsAre(69'999));
  ASSERT_OK_AND_ASSIGN(const auto none, store->Read(0, {5, 5}));
  EXPECT_TRUE(none.empty());
  EXPECT_DEATH(store->Read(0, {0, 6}).IgnoreError(), "of 5");
}

TEST_F(TokenStoreTest, TrainingAndHeldOutAreApartAndAllThereIs) {
  ASSERT_OK(Write(files_, path_, SomeDocuments()));
  ASSERT_OK_AND_ASSIGN(const auto store, TokenStore::Open(files_, path_));
  int whole = 0;
  for (std::int64_t i = 0; i < store->num_documents(); ++i) {
    const TokenDocumentInfo& info = store->document(i);
    EXPECT_EQ(info.training.begin, 0);
    EXPECT_EQ(info.training.end, info.held_out.begin);
    EXPECT_EQ(info.held_out.end, info.num_tokens);
    whole += info.held_out.size() == info.num_tokens ? 1 : 0;
  }
  EXPECT_EQ(store->document(3).held_out, (Interval{63'000, 70'000}));
  EXPECT_GE(whole, 1);  // about 4 of the 43 short ones
  EXPECT_LE(whole, 12);
}

TEST_F(TokenStoreTest, CopiesOfADocumentAreOnTheSameSide) {
  std::vector<TokenDocument> documents = SomeDocuments();
  const std::size_t count = documents.size();
  for (std::size_t i = 0; i < count; ++i) {
    documents.push_back(documents[i]);
    documents.back().name += " again";
    documents.back().label_spans.clear();
  }
  ASSERT_OK(Write(files_, path_, documents));
  ASSERT_OK_AND_ASSIGN(const auto store, TokenStore::Open(files_, path_));
  for (std::size_t i = 0; i < count; ++i) {
    EXPECT_EQ(store->document(static_cast<std::int64_t>(i)).held_out,
              store->document(static_cast<std::int64_t>(i + count)).held_out);
  }
}

TEST_F(TokenStoreTest, ALongDocumentKeepsItsLastPartBackAShortOneAllOrNothing) {
  const HeldOutRule rule;
  EXPECT_EQ(HeldOutTokens(rule, 100'000, 0), (Interval{90'000, 100'000}));
  EXPECT_EQ(HeldOutTokens(rule, 562'345, 1), (Interval{506'111, 562'345}));
  EXPECT_EQ(HeldOutTokens(rule, 99'999, 20), (Interval{0, 99'999}));
  EXPECT_EQ(HeldOutTokens(rule, 99'999, 21), (Interval{99'999, 99'999}));
}

TEST_F(TokenStoreTest, TheSameDocumentsGiveTheSameBytes) {
  ASSERT_OK(Write(files_, path_, SomeDocuments()));
  ASSERT_OK(Write(files_, directory_ / "again.h5", SomeDocuments()));
  ASSERT_OK_AND_ASSIGN(const std::string first, files_.ReadFile(path_));
  ASSERT_OK_AND_ASSIGN(const std::string again,
                       files_.ReadFile(directory_ / "again.h5"));
  EXPECT_TRUE(first == again);
}

TEST_F(TokenStoreTest, EveryChangeOfTheContentChangesTheDigest) {
  const auto digest = [this](const TokenDocument& document) {
    EXPECT_OK(Write(files_, path_, {document}));
    const auto store = TokenStore::Open(files_, path_);
    EXPECT_OK(store);
    return (*store)->digest();
  };
  const std::string base = digest(MakeDocument("a", 4, 1, {{0, 2}}));
  EXPECT_EQ(digest(MakeDocument("a", 4, 1, {{0, 2}})), base);
  EXPECT_NE(digest(MakeDocument("b", 4, 1, {{0, 2}})), base);
  EXPECT_NE(digest(MakeDocument("a", 5, 1, {{0, 2}})), base);
  EXPECT_NE(digest(MakeDocument("a", 4, 2, {{0, 2}})), base);
  EXPECT_NE(digest(MakeDocument("a", 4, 1, {{0, 3}})), base);
  EXPECT_NE(digest(MakeDocument("a", 4, 1)), base);
}

TEST_F(TokenStoreTest, AFailureAnywhereLeavesTheOldFile) {
  ASSERT_OK(Write(files_, path_, {MakeDocument("old", 3, 0)}));
  const std::vector<TokenDocument> documents = {
      MakeDocument("new", 9, 0, {{1, 2}}), MakeDocument("x", 2, 5)};
  int k = 1;
  for (;; ++k) {
    FailingFileSystem failing(files_);
    failing.FailFrom(k, ENOSPC);
    const absl::Status written = Write(failing, path_, documents);
    ASSERT_OK_AND_ASSIGN(const auto store, TokenStore::Open(files_, path_));
    if (written.ok()) {
      EXPECT_EQ(store->document(0).name, "new");
      break;
    }
    EXPECT_OK(store->Verify());
    // After the rename only the sync of the folder can fail.
    EXPECT_THAT(store->document(0).name, ::testing::AnyOf("old", "new"));
  }
  EXPECT_GT(k, 4);
}

TEST_F(TokenStoreTest, AnUnfinishedFileIsRemoved) {
  {
    ASSERT_OK_AND_ASSIGN(const auto writer,
                         TokenStoreWriter::Create(files_, path_, "t", kRule));
    ASSERT_OK(writer->Append(MakeDocument("a", 5, 0)));
  }
  ASSERT_OK_AND_ASSIGN(const auto names, files_.List(directory_.path()));
  EXPECT_THAT(names, ElementsAre());
  ASSERT_OK_AND_ASSIGN(const auto writer,
                       TokenStoreWriter::Create(files_, path_, "t", kRule));
  EXPECT_THAT(writer->Finish(), StatusIs(absl::StatusCode::kFailedPrecondition,
                                         HasSubstr("there is no document")));
}

TEST_F(TokenStoreTest, OtherFilesAreRefused) {
  ASSERT_OK(files_.WriteFileAtomically(path_, "no HDF5 at all"));
  EXPECT_THAT(TokenStore::Open(files_, path_),
              StatusIs(absl::StatusCode::kDataLoss));
  ASSERT_OK_AND_ASSIGN(auto file, Hdf5File::Create(files_, path_));
  ASSERT_OK(file->SetText("", "format", "something else"));
  ASSERT_OK(file->Close());
  EXPECT_THAT(TokenStore::Open(files_, path_),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("it is no token store")));
  ASSERT_OK(Write(files_, path_, SomeDocuments()));
  ASSERT_OK_AND_ASSIGN(file, Hdf5File::OpenForWrite(files_, path_));
  ASSERT_OK(file->SetInt("", "version", 2));
  ASSERT_OK(file->Close());
  EXPECT_THAT(
      TokenStore::Open(files_, path_),
      StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("version 2")));
}

TEST_F(TokenStoreTest, TablesThatContradictEachOtherAreDataLoss) {
  // One change of one table at a time: name, row, values.
  const std::vector<
      std::tuple<std::string, std::int64_t, std::vector<std::int64_t>>>
      changes = {
          {"documents/end", 1, {3}},         {"documents/end", 43, {9}},
          {"documents/name_end", 43, {0}},   {"documents/span_end", 2, {9}},
          {"documents/held_out", 0, {4, 9}}, {"documents/held_out", 0, {-1, 5}},
          {"label_spans", 1, {4, 6}},        {"label_spans", 2, {19, 21}}};
  for (const auto& [name, row, values] : changes) {
    ASSERT_OK(Write(files_, path_, SomeDocuments()));
    ASSERT_OK_AND_ASSIGN(auto file, Hdf5File::OpenForWrite(files_, path_));
    ASSERT_OK(file->Write<std::int64_t>(name, row, values));
    ASSERT_OK(file->Close());
    EXPECT_THAT(TokenStore::Open(files_, path_),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr("prepare")))
        << name << ' ' << row;
  }
}

TEST_F(TokenStoreTest, VerifyFindsEveryChangedToken) {
  for (const std::int64_t row : {0, 6, 66'000}) {
    ASSERT_OK(Write(files_, path_, SomeDocuments()));
    ASSERT_OK_AND_ASSIGN(auto file, Hdf5File::OpenForWrite(files_, path_));
    ASSERT_OK(file->Write<std::int32_t>("tokens", row, std::vector{1'234'567}));
    ASSERT_OK(file->Close());
    ASSERT_OK_AND_ASSIGN(const auto store, TokenStore::Open(files_, path_));
    EXPECT_THAT(store->Verify(), StatusIs(absl::StatusCode::kDataLoss));
  }
}

}  // namespace
}  // namespace rtpurbo
