#include "data/prepare_tokens.h"

#include <cerrno>
#include <string>
#include <vector>

#include "data/file_system.h"
#include "data/token_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/core/parallel.h"
#include "tests/data/failing_file_system.h"
#include "tests/data/token_fixture.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace rtpurbo {
namespace {

using ::rtpurbo::testing::FailingFileSystem;
using ::rtpurbo::testing::StatusIs;
using ::rtpurbo::testing::TestDataPath;
using ::rtpurbo::testing::TinyTokenizer;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class PrepareTokensTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK(files_.CreateDirectories(in_));
    Write("b.txt", "The second text.\n");
    Write("a.jsonl",
          "{\"text\": \"first\"}\n"
          "{\"id\": \"chat\", \"text\": \"ask: answer\", "
          "\"label_spans\": [[5, 11]]}\n");
    Write("ignored.png", "x");
  }
  void Write(const std::string& name, const std::string& contents) {
    ASSERT_OK(files_.WriteFileAtomically(in_ + "/" + name, contents));
  }
  absl::StatusOr<PrepareCounts> Prepare(FileSystem& files,
                                        const std::vector<std::string>& inputs,
                                        const std::string& path) {
    return PrepareTokens(files, inputs, TinyTokenizer(), "tok", HeldOutRule(),
                         path, [this](const PrepareCounts& counts) {
                           progress_.push_back(counts);
                           return may_go_on_;
                         });
  }

  FileSystem& files_ = RealFileSystem();
  testing::TemporaryDirectory directory_;
  std::string in_ = directory_ / "in";
  std::string path_ = directory_ / "tokens.h5";
  std::vector<PrepareCounts> progress_;
  absl::Status may_go_on_;
};

TEST_F(PrepareTokensTest, EndsWhereProgressSaysSo) {
  may_go_on_ = absl::CancelledError("asked to stop");
  EXPECT_THAT(Prepare(files_, {in_}, path_),
              StatusIs(absl::StatusCode::kCancelled, "asked to stop"));
  EXPECT_EQ(progress_.size(), 1U);
  EXPECT_FALSE(*files_.Exists(path_));
}

TEST_F(PrepareTokensTest, AFolderBecomesDocumentsInOrder) {
  ASSERT_OK_AND_ASSIGN(const PrepareCounts counts,
                       Prepare(files_, {in_}, path_));
  ASSERT_OK_AND_ASSIGN(const auto store, TokenStore::Open(files_, path_));
  EXPECT_EQ(store->tokenizer_fingerprint(), "tok");
  ASSERT_EQ(store->num_documents(), 3);
  EXPECT_EQ(store->document(0).name, "in/a.jsonl:1");
  EXPECT_EQ(store->document(1).name, "chat");
  EXPECT_EQ(store->document(2).name, "in/b.txt");
  const TokenDocumentInfo& chat = store->document(1);
  ASSERT_EQ(chat.label_spans.size(), 1);
  EXPECT_EQ(TinyTokenizer().Decode(store->Read(1, chat.label_spans[0]).value()),
            "answer");
  EXPECT_EQ(store->Read(2, {0, store->document(2).num_tokens}).value(),
            TinyTokenizer().Encode("The second text.\n"));
  EXPECT_EQ(counts.files, 2);
  EXPECT_EQ(counts.all_files, 2);
  EXPECT_EQ(counts.passed_over, 1);
  EXPECT_EQ(counts.documents, 3);
  EXPECT_EQ(counts.text_bytes, 5 + 11 + 17);
  EXPECT_EQ(counts.tokens, store->num_tokens());
}

TEST_F(PrepareTokensTest, ABookHasItsLastTenthHeldOut) {
  ASSERT_OK_AND_ASSIGN(const PrepareCounts counts,
                       Prepare(files_, {TestDataPath("jargon.txt")}, path_));
  EXPECT_EQ(counts.tokens, 561'922);
  EXPECT_EQ(counts.held_out_tokens, 56'192);
  ASSERT_OK_AND_ASSIGN(const auto store, TokenStore::Open(files_, path_));
  EXPECT_EQ(store->document(0).name, "jargon.txt");
  EXPECT_EQ(store->document(0).held_out, (Interval{505'730, 561'922}));
  EXPECT_OK(store->Verify());
}

TEST_F(PrepareTokensTest, TheSameInputsGiveTheSameBytes) {
  Write("long.txt", files_.ReadFile(TestDataPath("jargon.txt")).value());
  ASSERT_OK(Prepare(files_, {in_}, path_));
  ASSERT_OK_AND_ASSIGN(const std::string first, files_.ReadFile(path_));
  const int before = NumThreads();
  SetNumThreads(before == 1 ? 3 : 1);
  ASSERT_OK(Prepare(files_, {in_}, path_));
  SetNumThreads(before);
  EXPECT_TRUE(files_.ReadFile(path_).value() == first);
}

TEST_F(PrepareTokensTest, ProgressComesByTheBatchAndOnlyGrows) {
  const std::string book = files_.ReadFile(TestDataPath("jargon.txt")).value();
  for (int i = 0; i < 4; ++i) {
    Write("book" + std::to_string(i) + ".txt", book);
  }
  ASSERT_OK_AND_ASSIGN(const PrepareCounts counts,
                       Prepare(files_, {in_}, path_));
  ASSERT_GE(progress_.size(), 2);
  for (std::size_t i = 1; i < progress_.size(); ++i) {
    EXPECT_GT(progress_[i].documents, progress_[i - 1].documents);
    EXPECT_GT(progress_[i].tokens, progress_[i - 1].tokens);
  }
  EXPECT_EQ(progress_.back().tokens, counts.tokens);
}

TEST_F(PrepareTokensTest, ABadLineStopsItAndLeavesTheOldFile) {
  ASSERT_OK(Prepare(files_, {in_}, path_));
  ASSERT_OK_AND_ASSIGN(const std::string old, files_.ReadFile(path_));
  Write("z.jsonl", "{\"text\": \"good\"}\n{\"txt\": \"bad\"}\n");
  EXPECT_THAT(Prepare(files_, {in_}, path_),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("in/z.jsonl:2: ")));
  EXPECT_TRUE(files_.ReadFile(path_).value() == old);
  EXPECT_THAT(files_.List(directory_.path()).value(),
              ElementsAre("in", "tokens.h5"));
}

TEST_F(PrepareTokensTest, AFailureAnywhereLeavesAWholeFileOrNone) {
  int k = 1;
  for (;; ++k) {
    FailingFileSystem failing(files_);
    failing.FailFrom(k, ENOSPC);
    const bool prepared = Prepare(failing, {in_}, path_).ok();
    if (files_.Exists(path_).value()) {
      ASSERT_OK_AND_ASSIGN(const auto store, TokenStore::Open(files_, path_));
      EXPECT_OK(store->Verify());
      EXPECT_EQ(store->num_documents(), 3);
      ASSERT_OK(files_.Remove(path_));
    }
    if (prepared) {
      break;
    }
  }
  EXPECT_GT(k, 20);
}

}  // namespace
}  // namespace rtpurbo
