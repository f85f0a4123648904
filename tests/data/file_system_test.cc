#include "data/file_system.h"

#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/failing_file_system.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace rtpurbo::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string AsText(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
std::span<std::byte> AsWritable(std::string& text) {
  return std::as_writable_bytes(std::span(text.data(), text.size()));
}

class FileSystemTest : public ::testing::Test {
 protected:
  TemporaryDirectory dir_;
  FileSystem& files_ = RealFileSystem();
};

TEST_F(FileSystemTest, ReadsBackWhatItWrote) {
  std::string contents(100'000, '\0');
  for (std::size_t i = 0; i < contents.size(); ++i) {
    contents[i] = static_cast<char>(i * 31 >> 3U);
  }
  ASSERT_OK(files_.WriteFileAtomically(dir_ / "a", contents));
  ASSERT_OK_AND_ASSIGN(const std::string read, files_.ReadFile(dir_ / "a"));
  EXPECT_EQ(read, contents);
  ASSERT_OK_AND_ASSIGN(const auto map, files_.Map(dir_ / "a"));
  EXPECT_EQ(AsText(map->bytes()), contents);
  ASSERT_OK_AND_ASSIGN(const auto file, files_.OpenForRead(dir_ / "a"));
  EXPECT_EQ(file->size(), 100'000);
  std::string part(777, '\0');
  ASSERT_OK(file->ReadAt(12'345, AsWritable(part)));
  EXPECT_EQ(part, contents.substr(12'345, 777));
}

TEST_F(FileSystemTest, EmptyFilesAreFiles) {
  ASSERT_OK(files_.WriteFileAtomically(dir_ / "a", ""));
  ASSERT_OK_AND_ASSIGN(const std::string read, files_.ReadFile(dir_ / "a"));
  EXPECT_EQ(read, "");
  ASSERT_OK_AND_ASSIGN(const auto map, files_.Map(dir_ / "a"));
  EXPECT_THAT(map->bytes(), IsEmpty());
}

TEST_F(FileSystemTest, AtomicWriteLeavesNothingElse) {
  ASSERT_OK(files_.WriteFileAtomically(dir_ / "a", "1"));
  ASSERT_OK(files_.WriteFileAtomically(dir_ / "a", "22"));
  ASSERT_OK_AND_ASSIGN(const auto names, files_.List(dir_.path()));
  EXPECT_THAT(names, ElementsAre("a"));
}

TEST_F(FileSystemTest, WritableFileDoesWhatItsCallsSay) {
  ASSERT_OK_AND_ASSIGN(const auto file,
                       files_.OpenForWrite(dir_ / "a", WriteMode::kCreate));
  ASSERT_OK(file->WriteAt(3, AsBytes("de")));
  ASSERT_OK(file->Append(AsBytes("f")));
  ASSERT_OK(file->WriteAt(0, AsBytes("abc")));
  EXPECT_EQ(*file->Size(), 6);
  std::string part(2, '\0');
  ASSERT_OK(file->ReadAt(2, AsWritable(part)));
  EXPECT_EQ(part, "cd");
  ASSERT_OK(file->Truncate(4));
  ASSERT_OK(file->Truncate(5));
  ASSERT_OK(file->Sync());
  ASSERT_OK(file->Close());
  EXPECT_EQ(*files_.ReadFile(dir_ / "a"), std::string("abcd\0", 5));
  ASSERT_OK(files_.AppendToFile(dir_ / "a", "x"));
  ASSERT_OK(files_.Truncate(dir_ / "a", 6));
  EXPECT_EQ(*files_.Size(dir_ / "a"), 6);
}

TEST_F(FileSystemTest, ModesOfWriting) {
  EXPECT_THAT(files_.OpenForWrite(dir_ / "a", WriteMode::kExisting),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr(dir_ / "a")));
  ASSERT_OK(files_.AppendToFile(dir_ / "a", "ab"));
  ASSERT_OK(files_.OpenForWrite(dir_ / "a", WriteMode::kExisting));
  EXPECT_EQ(*files_.ReadFile(dir_ / "a"), "ab");
  ASSERT_OK(files_.OpenForWrite(dir_ / "a", WriteMode::kAppend));
  EXPECT_EQ(*files_.ReadFile(dir_ / "a"), "ab");
  EXPECT_THAT(files_.OpenForWrite(dir_ / "a", WriteMode::kNew),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("create")));
  EXPECT_EQ(*files_.ReadFile(dir_ / "a"), "ab");
  ASSERT_OK(files_.OpenForWrite(dir_ / "a", WriteMode::kCreate));
  EXPECT_EQ(*files_.ReadFile(dir_ / "a"), "");
  ASSERT_OK(files_.OpenForWrite(dir_ / "b", WriteMode::kNew));
  EXPECT_EQ(*files_.ReadFile(dir_ / "b"), "");
}

TEST_F(FileSystemTest, FoldersAreMadeListedAndRemoved) {
  ASSERT_OK(files_.CreateDirectories(dir_ / "b//c/d/"));
  ASSERT_OK(files_.CreateDirectories(dir_ / "b/c/d"));
  ASSERT_OK(files_.WriteFileAtomically(dir_ / "b/z", ""));
  ASSERT_OK(files_.WriteFileAtomically(dir_ / "b/c/y", ""));
  ASSERT_OK(files_.WriteFileAtomically(dir_ / "kept", ""));
  ASSERT_EQ(symlink((dir_ / "kept").c_str(), (dir_ / "b/link").c_str()), 0);
  ASSERT_EQ(symlink(dir_.path().c_str(), (dir_ / "b/loop").c_str()), 0);
  ASSERT_OK_AND_ASSIGN(const auto names, files_.List(dir_ / "b"));
  EXPECT_THAT(names, ElementsAre("c", "link", "loop", "z"));
  EXPECT_EQ(*files_.IsDirectory(dir_ / "b"), true);
  EXPECT_EQ(*files_.IsDirectory(dir_ / "b/z"), false);
  EXPECT_THAT(files_.Remove(dir_ / "b"),
              StatusIs(absl::StatusCode::kAlreadyExists));
  ASSERT_OK(files_.RemoveTree(dir_ / "b"));
  ASSERT_OK(files_.RemoveTree(dir_ / "b"));
  EXPECT_EQ(*files_.Exists(dir_ / "b"), false);
  EXPECT_EQ(*files_.Exists(dir_ / "kept"), true);
}

TEST_F(FileSystemTest, RenameReplacesFilesAndEmptyFoldersOnly) {
  ASSERT_OK(files_.WriteFileAtomically(dir_ / "a", "new"));
  ASSERT_OK(files_.WriteFileAtomically(dir_ / "b", "old"));
  ASSERT_OK(files_.Rename(dir_ / "a", dir_ / "b"));
  EXPECT_EQ(*files_.ReadFile(dir_ / "b"), "new");
  ASSERT_OK(files_.CreateDirectories(dir_ / "full/x"));
  ASSERT_OK(files_.CreateDirectories(dir_ / "empty"));
  EXPECT_THAT(files_.Rename(dir_ / "empty", dir_ / "full"),
              StatusIs(absl::StatusCode::kAlreadyExists,
                       AllOf(HasSubstr("empty"), HasSubstr("full"))));
  ASSERT_OK(files_.Rename(dir_ / "full", dir_ / "empty"));
}

TEST_F(FileSystemTest, ErrorsNameAttemptPathCauseAndRemedy) {
  EXPECT_THAT(files_.ReadFile(dir_ / "absent"),
              StatusIs(absl::StatusCode::kNotFound,
                       "cannot open " + dir_ / "absent" +
                           ": No such file or directory; check the path"));
  EXPECT_THAT(files_.ReadFile(dir_.path()),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("name a file")));
  ASSERT_OK(files_.WriteFileAtomically(dir_ / "a", "123"));
  EXPECT_THAT(files_.CreateDirectories(dir_ / "a/b"),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("cannot create the folder " + dir_ / "a")));
  EXPECT_THAT(files_.List(dir_ / "a"),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(files_.SyncDirectory(dir_ / "a"),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  ASSERT_OK_AND_ASSIGN(const auto file, files_.OpenForRead(dir_ / "a"));
  std::string part(5, '\0');
  EXPECT_THAT(file->ReadAt(1, AsWritable(part)),
              StatusIs(absl::StatusCode::kDataLoss,
                       AllOf(HasSubstr("ends at byte 3"),
                             HasSubstr("3 bytes too early"))));
}

TEST_F(FileSystemTest, PipesAreRefusedWithoutWaiting) {
  ASSERT_EQ(mkfifo((dir_ / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(files_.ReadFile(dir_ / "pipe"),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("it is a pipe or a device")));
}

TEST_F(FileSystemTest, FullDeviceIsResourceExhausted) {
  ASSERT_OK_AND_ASSIGN(const auto full,
                       files_.OpenForWrite("/dev/full", WriteMode::kExisting));
  EXPECT_THAT(full->WriteAt(0, AsBytes("x")),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("/dev/full"), HasSubstr("No space"),
                             HasSubstr("free space on it"))));
}

TEST_F(FileSystemTest, FailureOfAnyCallOfAnAtomicWriteLeavesOldOrNew) {
  for (const int error_number : {ENOSPC, EIO}) {
    std::int64_t k = 1;
    for (;; ++k) {
      ASSERT_OK(files_.WriteFileAtomically(dir_ / "a", "the old one"));
      FailingFileSystem failing(files_);
      failing.FailFrom(k, error_number);
      const absl::Status status =
          failing.WriteFileAtomically(dir_ / "a", "the new one!");
      ASSERT_OK_AND_ASSIGN(const std::string now, files_.ReadFile(dir_ / "a"));
      if (status.ok()) {
        EXPECT_EQ(now, "the new one!");
        break;
      }
      EXPECT_THAT(status, StatusIs(error_number == ENOSPC
                                       ? absl::StatusCode::kResourceExhausted
                                       : absl::StatusCode::kUnavailable));
      // The sixth call syncs the folder, after the rename.
      EXPECT_EQ(now, k < 6 ? "the old one" : "the new one!") << k;
    }
    EXPECT_EQ(k, 7);
  }
}

TEST_F(FileSystemTest, FailureOnceTidiesUp) {
  FailingFileSystem failing(files_);
  failing.FailOnce(2, ENOSPC);
  EXPECT_THAT(failing.WriteFileAtomically(dir_ / "a", "x"),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(*files_.List(dir_.path()), IsEmpty());
}

TEST(PathTest, JoinParentAndBase) {
  EXPECT_EQ(JoinPath("a", "b"), "a/b");
  EXPECT_EQ(JoinPath("a/", "b"), "a/b");
  EXPECT_EQ(JoinPath("", "b"), "b");
  EXPECT_EQ(ParentDirectory("a/b/c"), "a/b");
  EXPECT_EQ(ParentDirectory("a/b/"), "a");
  EXPECT_EQ(ParentDirectory("c"), ".");
  EXPECT_EQ(ParentDirectory("/c"), "/");
  EXPECT_EQ(ParentDirectory("/"), "/");
  EXPECT_EQ(ParentDirectory("a//b"), "a");
  EXPECT_EQ(BaseName("a/b/c/"), "c");
  EXPECT_EQ(BaseName("c"), "c");
}

}  // namespace
}  // namespace rtpurbo::testing
