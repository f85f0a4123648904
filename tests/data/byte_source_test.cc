#include "data/byte_source.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "data/file_system.h"
#include "data/packed_source.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/failing_file_system.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace rtpurbo {
namespace {

using ::rtpurbo::testing::FailingFileSystem;
using ::rtpurbo::testing::StatusIs;
using ::testing::HasSubstr;

// Three lines "packed text", packed by gzip, xz (with a CRC32) and zstd.
constexpr const char* kGz =
    "1f8b08000000000002032b484cce4e4d512849ad28e12ac0c106002f04175c24000000";
constexpr const char* kXz =
    "fd377a585a0000016922de36020021010c0000008f98419ce0002300135d0038184899cd5c"
    "1c2542a86ebb65123f0e4e400000002f04175c00012b2493acf56a9042990d010000000001"
    "595a";
constexpr const char* kZst =
    "28b52ffd0448950000607061636b656420746578740a0100074b1247f3c90b";
constexpr const char* kText = "packed text\npacked text\npacked text\n";

class ByteSourceTest : public ::testing::Test {
 protected:
  std::string Write(const std::string& name, const std::string& contents) {
    std::string path = directory_ / name;
    EXPECT_OK(files_.WriteFileAtomically(path, contents));
    return path;
  }
  absl::StatusOr<std::string> Read(const std::string& path) {
    ASSIGN_OR_RETURN(const std::unique_ptr<ByteSource> source,
                     OpenByteSource(files_, path));
    return ReadAll(*source);
  }

  FileSystem& files_ = RealFileSystem();
  testing::TemporaryDirectory directory_;
};

TEST_F(ByteSourceTest, AFileIsReadAsItIs) {
  std::string contents(700'001, '\0');
  for (std::size_t i = 0; i < contents.size(); ++i) {
    contents[i] = static_cast<char>(i * i >> 3U);
  }
  ASSERT_OK_AND_ASSIGN(const std::string read, Read(Write("x.bin", contents)));
  EXPECT_TRUE(read == contents);
  ASSERT_OK_AND_ASSIGN(const std::string empty, Read(Write("empty", "")));
  EXPECT_EQ(empty, "");
}

TEST_F(ByteSourceTest, SmallReadsGiveTheSameBytes) {
  const std::string path = Write("x.txt", "0123456789");
  ASSERT_OK_AND_ASSIGN(const auto source, OpenByteSource(files_, path));
  std::string read;
  std::vector<char> piece(3);
  for (int i = 0; i < 4; ++i) {
    ASSERT_OK_AND_ASSIGN(const std::int64_t count, source->Read(piece));
    read.append(piece.data(), static_cast<std::size_t>(count));
  }
  EXPECT_EQ(read, "0123456789");
  ASSERT_OK_AND_ASSIGN(const std::int64_t count, source->Read(piece));
  EXPECT_EQ(count, 0);
}

TEST_F(ByteSourceTest, AMissingFileAndAFailedReadAreErrors) {
  EXPECT_THAT(Read(directory_ / "none"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("none")));
  FailingFileSystem failing(files_);
  failing.FailFrom(2, EIO);
  ASSERT_OK_AND_ASSIGN(const auto source,
                       OpenByteSource(failing, Write("x.txt", "abc")));
  EXPECT_THAT(ReadAll(*source), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(ByteSourceTest, ABuildWithoutLibarchiveRefusesPackedFilesByName) {
  for (const char* name : {"x.txt.gz", "x.jsonl.xz", "x.md.zst"}) {
    const std::string path = Write(name, "anything");
    EXPECT_THAT(internal::OpenByteSource(files_, path, false),
                StatusIs(absl::StatusCode::kFailedPrecondition,
                         ::testing::AllOf(HasSubstr(path),
                                          HasSubstr("without libarchive"))));
  }
  EXPECT_OK(internal::OpenByteSource(files_, Write("x.txt", ""), false));
}

TEST_F(ByteSourceTest, OnlyTheLastSuffixIsThePacking) {
  EXPECT_EQ(WithoutPackingSuffix("a/b.txt.gz"), "a/b.txt");
  EXPECT_EQ(WithoutPackingSuffix("b.gz.xz"), "b.gz");
  EXPECT_EQ(WithoutPackingSuffix("b.jsonl.zst"), "b.jsonl");
  EXPECT_EQ(WithoutPackingSuffix("b.txt"), "b.txt");
  EXPECT_EQ(WithoutPackingSuffix("gz"), "gz");
}

class PackedSourceTest : public ByteSourceTest {
 protected:
  void SetUp() override {
    if (!kCanUnpack) {
      GTEST_SKIP() << "built without libarchive";
    }
  }
};

TEST_F(PackedSourceTest, PackedFilesAreUnpacked) {
  const std::vector<std::pair<std::string, std::string>> files = {
      {"x.gz", kGz}, {"x.xz", kXz}, {"x.zst", kZst}};
  for (const auto& [name, packed] : files) {
    const std::string bytes = absl::HexStringToBytes(packed);
    ASSERT_OK_AND_ASSIGN(const std::string text, Read(Write(name, bytes)));
    EXPECT_EQ(text, kText) << name;
    // Several packed pieces in one file, as `cat a.gz b.gz` makes it.
    ASSERT_OK_AND_ASSIGN(const std::string twice,
                         Read(Write(name, bytes + bytes)));
    EXPECT_EQ(twice, std::string(kText) + kText) << name;
  }
}

TEST_F(PackedSourceTest, ACutFileIsDataLoss) {
  const std::vector<std::pair<std::string, std::string>> files = {
      {"x.gz", kGz}, {"x.xz", kXz}, {"x.zst", kZst}};
  for (const auto& [name, packed] : files) {
    const std::string bytes = absl::HexStringToBytes(packed);
    const std::string path = Write(name, bytes.substr(0, bytes.size() / 2));
    EXPECT_THAT(Read(path),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr(path)));
  }
}

TEST_F(PackedSourceTest, ContentThatIsNotWhatTheNameSaysIsRefused) {
  EXPECT_THAT(Read(Write("x.gz", "plain text, not packed at all")),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("not packed as its name says")));
  EXPECT_THAT(Read(Write("x.xz", absl::HexStringToBytes(kGz))),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Read(Write("empty.zst", "")),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(PackedSourceTest, AFailedReadOfThePackedFileIsReported) {
  const std::string path = Write("x.gz", absl::HexStringToBytes(kGz));
  FailingFileSystem failing(files_);
  failing.FailFrom(2, EIO);
  EXPECT_THAT(OpenByteSource(failing, path),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("x.gz")));
}

}  // namespace
}  // namespace rtpurbo
