#include "data/fenced_file_system.h"

#include <string>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace rtpurbo::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;

class FencedFileSystemTest : public ::testing::Test {
 protected:
  // Trusts an answer for an hour.
  FencedFileSystemTest()
      : fenced_(
            RealFileSystem(),
            [this] {
              ++asked_;
              return answer_;
            },
            std::chrono::hours(1)) {}

  TemporaryDirectory dir_{TemporaryDirectory::Where::kInMemory};
  int asked_ = 0;
  absl::Status answer_;
  FencedFileSystem fenced_;
};

TEST_F(FencedFileSystemTest, WritesWhatTheRealOneWrites) {
  ASSERT_OK(fenced_.CreateDirectories(dir_ / "a/b"));
  ASSERT_OK(fenced_.WriteFileAtomically(dir_ / "a/b/c", "some text"));
  ASSERT_OK(fenced_.AppendToFile(dir_ / "a/b/c", " more"));
  EXPECT_EQ(*fenced_.ReadFile(dir_ / "a/b/c"), "some text more");
  ASSERT_OK(fenced_.Truncate(dir_ / "a/b/c", 4));
  EXPECT_EQ(*RealFileSystem().ReadFile(dir_ / "a/b/c"), "some");
  ASSERT_OK(fenced_.Rename(dir_ / "a/b/c", dir_ / "a/d"));
  EXPECT_TRUE(*fenced_.IsDirectory(dir_ / "a/b"));
  EXPECT_EQ(*fenced_.Size(dir_ / "a/d"), 4);
  ASSERT_OK(fenced_.RemoveTree(dir_ / "a"));
  EXPECT_FALSE(*fenced_.Exists(dir_ / "a"));
}

TEST_F(FencedFileSystemTest, EveryChangeOfANameAsksAndIsRefused) {
  const std::string path = dir_ / "file";
  ASSERT_OK(fenced_.WriteFileAtomically(path, "some text"));
  ASSERT_OK_AND_ASSIGN(const auto open,
                       fenced_.OpenForWrite(path, WriteMode::kExisting));
  answer_ = absl::UnavailableError("taken over");
  const auto refused = StatusIs(absl::StatusCode::kUnavailable, "taken over");
  for (const WriteMode mode : {WriteMode::kCreate, WriteMode::kNew,
                               WriteMode::kExisting, WriteMode::kAppend}) {
    EXPECT_THAT(fenced_.OpenForWrite(path, mode), refused);
  }
  EXPECT_THAT(fenced_.CreateDirectories(dir_ / "b"), refused);
  EXPECT_THAT(fenced_.Rename(path, dir_ / "b"), refused);
  EXPECT_THAT(fenced_.Remove(path), refused);
  EXPECT_THAT(fenced_.Truncate(path, 2), refused);
  EXPECT_THAT(open->Truncate(2), refused);
  // Nothing has changed, and it can be read.
  EXPECT_THAT(*fenced_.List(dir_.path()), ElementsAre("file"));
  EXPECT_EQ(*fenced_.ReadFile(path), "some text");
  ASSERT_OK(fenced_.OpenForRead(path));
  ASSERT_OK(fenced_.Map(path));
}

TEST_F(FencedFileSystemTest, AnOpenFileAsksWhenTheLastAnswerIsOld) {
  ASSERT_OK_AND_ASSIGN(const auto open,
                       fenced_.OpenForWrite(dir_ / "a", WriteMode::kCreate));
  EXPECT_EQ(asked_, 1);
  EXPECT_OK(open->Append(AsBytes("some")));
  EXPECT_OK(open->WriteAt(0, AsBytes("some")));
  EXPECT_EQ(asked_, 1);

  FencedFileSystem soon(
      RealFileSystem(), [this] { return answer_; }, milliseconds(20));
  ASSERT_OK_AND_ASSIGN(const auto file,
                       soon.OpenForWrite(dir_ / "b", WriteMode::kCreate));
  answer_ = absl::UnavailableError("taken over");
  std::this_thread::sleep_for(milliseconds(30));
  EXPECT_THAT(file->Append(AsBytes("more")),
              StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(file->WriteAt(0, AsBytes("more")),
              StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(*soon.ReadFile(dir_ / "b"), "");
}

// An answer that was bad is not trusted.
TEST_F(FencedFileSystemTest, ARefusalDoesNotCountAsAnAnswer) {
  ASSERT_OK_AND_ASSIGN(const auto file,
                       fenced_.OpenForWrite(dir_ / "a", WriteMode::kCreate));
  FencedFileSystem never(
      RealFileSystem(), [] { return absl::UnavailableError("taken over"); },
      std::chrono::hours(1));
  EXPECT_FALSE(never.OpenForWrite(dir_ / "a", WriteMode::kAppend).ok());
  EXPECT_FALSE(never.Remove(dir_ / "a").ok());
  EXPECT_OK(file->Append(AsBytes("some")));
  EXPECT_EQ(*never.ReadFile(dir_ / "a"), "some");
}

}  // namespace
}  // namespace rtpurbo::testing
