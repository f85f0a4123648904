#include "data/safetensors_writer.h"

#include <numeric>
#include <string>
#include <vector>

#include "data/float16.h"
#include "data/safetensors.h"
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

class SafetensorsWriterTest : public ::testing::Test {
 protected:
  SafetensorsWriterTest() { SetSize(1000); }
  // Of each tensor, elements. Even.
  void SetSize(std::int64_t size) {
    size_ = size;
    values_.resize(static_cast<std::size_t>(size));
    for (std::size_t i = 0; i < values_.size(); ++i) {
      values_[i] = 1.0F + static_cast<float>(i) / 16384.0F;
    }
  }
  // Three tensors of size_ elements, each in two pieces, and an empty one.
  absl::Status WriteAll(FileSystem& files, std::int64_t max_shard_bytes,
                        float scale = 1) {
    SafetensorsOptions options;
    options.max_shard_bytes = max_shard_bytes;
    ASSIGN_OR_RETURN(
        const auto writer,
        SafetensorsWriter::Create(files, dir_.path(),
                                  {{"bf16", kSafetensorsBF16, {size_ / 2, 2}},
                                   {"f16", kSafetensorsF16, {size_}},
                                   {"f32", kSafetensorsF32, {1, size_}},
                                   {"none", kSafetensorsF32, {0, 3}}},
                                  options));
    std::vector<float> scaled = values_;
    for (float& value : scaled) {
      value *= scale;
    }
    for (const char* name : {"f32", "bf16", "f16"}) {
      const std::span<const float> all(scaled);
      RETURN_IF_ERROR(writer->Write(name, 7, all.subspan(7)));
      RETURN_IF_ERROR(writer->Write(name, 0, all.first(7)));
    }
    return writer->Finish();
  }
  void ExpectAll(float scale = 1) {
    ASSERT_OK_AND_ASSIGN(const auto folder,
                         SafetensorsFolder::Open(files_, dir_.path()));
    EXPECT_THAT(folder.names(), ElementsAre("bf16", "f16", "f32", "none"));
    std::vector<float> read(values_.size());
    for (const char* name : {"f32", "bf16", "f16"}) {
      ASSERT_OK(folder.ReadF32(name, 0, read));
      std::int64_t bad = 0;
      for (std::size_t i = 0; i < read.size(); ++i) {
        const float value = values_[i] * scale;
        const float expected =
            name[0] == 'b'               ? static_cast<float>(BFloat16(value))
            : name == std::string("f16") ? HalfToFloat(FloatToHalf(value))
                                         : value;
        bad += static_cast<std::int64_t>(read[i] != expected);
      }
      EXPECT_EQ(bad, 0) << name;
    }
  }

  TemporaryDirectory dir_{TemporaryDirectory::Where::kInMemory};
  FileSystem& files_ = RealFileSystem();
  std::int64_t size_ = 0;
  std::vector<float> values_;
};

TEST_F(SafetensorsWriterTest, OneFileHoldsWhatWasWritten) {
  SetSize(600'000);  // of more than one piece
  ASSERT_OK(WriteAll(files_, 1 << 30));
  EXPECT_THAT(*files_.List(dir_.path()), ElementsAre("model.safetensors"));
  ExpectAll();
  ASSERT_OK_AND_ASSIGN(const auto folder,
                       SafetensorsFolder::Open(files_, dir_.path()));
  const SafetensorsHeader& header = folder.files()[0]->header;
  EXPECT_EQ(header.metadata.at("format"), "pt");
  EXPECT_EQ(header.text.size() % 8, 0U);
  for (const SafetensorsEntry& entry : header.entries) {
    EXPECT_EQ(entry.begin % (SafetensorsBits(entry.dtype) / 8), 0);
  }
  EXPECT_EQ((*folder.Find("bf16"))->shape, (Shape{size_ / 2, 2}));
}

TEST_F(SafetensorsWriterTest, ShardsAreAsFullAsTheyGet) {
  // bf16 and f16 fit into one, f32 into the next.
  ASSERT_OK(WriteAll(files_, 4 * size_));
  EXPECT_THAT(*files_.List(dir_.path()),
              ElementsAre("model-00001-of-00002.safetensors",
                          "model-00002-of-00002.safetensors",
                          "model.safetensors.index.json"));
  ExpectAll();
  EXPECT_THAT(*files_.ReadFile(dir_ / "model.safetensors.index.json"),
              AllOf(HasSubstr("\"total_size\": 8000"),
                    HasSubstr("\"f32\": \"model-00002-of-00002.safetensors")));
  ASSERT_OK(WriteAll(files_, 1));  // each tensor its own; "none" with the last
  EXPECT_THAT(*files_.List(dir_.path()),
              ElementsAre("model-00001-of-00003.safetensors",
                          "model-00002-of-00003.safetensors",
                          "model-00003-of-00003.safetensors",
                          "model.safetensors.index.json"));
  ExpectAll();
}

TEST_F(SafetensorsWriterTest, ReplacesAnotherLayout) {
  ASSERT_OK(files_.WriteFileAtomically(dir_ / "config.json", "{}"));
  ASSERT_OK(WriteAll(files_, 1 << 30, 2));
  ASSERT_OK(WriteAll(files_, 4 * size_, 3));
  EXPECT_EQ(*files_.Exists(dir_ / "model.safetensors"), false);
  ExpectAll(3);
  ASSERT_OK(WriteAll(files_, 1 << 30, 4));
  ExpectAll(4);
  EXPECT_THAT(*files_.List(dir_.path()),
              ElementsAre("config.json", "model.safetensors"));
}

TEST_F(SafetensorsWriterTest, SameValuesGiveTheSameBytesAndStemNamesTheFile) {
  const auto write = [&](const std::string& stem) -> absl::Status {
    ASSIGN_OR_RETURN(const auto writer,
                     SafetensorsWriter::Create(files_, dir_.path(),
                                               {{"p", kSafetensorsF32, {3}}},
                                               {.stem = stem}));
    const std::vector<BFloat16> values(3, BFloat16(1.5F));
    RETURN_IF_ERROR(writer->Write("p", 0, std::span(values)));
    return writer->Finish();
  };
  ASSERT_OK(write("a"));
  ASSERT_OK(write("b"));
  EXPECT_EQ(*files_.ReadFile(dir_ / "a.safetensors"),
            *files_.ReadFile(dir_ / "b.safetensors"));
  ASSERT_OK_AND_ASSIGN(const auto file, SafetensorsFolder::OpenFile(
                                            files_, dir_ / "a.safetensors"));
  std::vector<float> read(3);
  ASSERT_OK(file.ReadF32("p", 0, read));
  EXPECT_THAT(read, ElementsAre(1.5F, 1.5F, 1.5F));
}

TEST_F(SafetensorsWriterTest, MissingElementsAreNoticedAndNothingIsLeft) {
  {
    ASSERT_OK_AND_ASSIGN(const auto writer, SafetensorsWriter::Create(
                                                files_, dir_.path(),
                                                {{"x", kSafetensorsF32, {4}}}));
    ASSERT_OK(writer->Write("x", 0, std::span<const float>(values_).first(3)));
    EXPECT_THAT(writer->Finish(),
                StatusIs(absl::StatusCode::kFailedPrecondition,
                         HasSubstr("3 of 4 elements of tensor 'x'")));
  }
  EXPECT_THAT(*files_.List(dir_.path()), IsEmpty());
}

// With one file, the folder is always one of the two, whole.
TEST_F(SafetensorsWriterTest, FailureOfAnyCallLeavesTheOldOrTheNewFile) {
  ASSERT_OK(WriteAll(files_, 1 << 30, 2));
  for (std::int64_t k = 1;; ++k) {
    FailingFileSystem failing(files_);
    failing.FailFrom(k, ENOSPC);
    const absl::Status status = WriteAll(failing, 1 << 30, 3);
    if (status.ok()) {
      ExpectAll(3);
      EXPECT_GE(k, 10);
      break;
    }
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted));
    ASSERT_OK_AND_ASSIGN(const auto folder,
                         SafetensorsFolder::Open(files_, dir_.path()));
    float last = 0;
    ASSERT_OK(folder.ReadF32("f32", size_ - 1, {&last, 1}));
    EXPECT_TRUE(last == values_.back() * 2 || last == values_.back() * 3) << k;
  }
}

// With shards over shards, it may also be a folder that is refused.
TEST_F(SafetensorsWriterTest, FailureOfAnyCallNeverMixesShards) {
  for (std::int64_t k = 1;; ++k) {
    ASSERT_OK(WriteAll(files_, 4 * size_, 2));
    FailingFileSystem failing(files_);
    failing.FailFrom(k, EIO);
    const absl::Status status = WriteAll(failing, 4 * size_, 3);
    const auto folder = SafetensorsFolder::Open(files_, dir_.path());
    if (status.ok()) {
      ExpectAll(3);
      break;
    }
    if (folder.ok()) {
      float first = 0;
      float last = 0;
      ASSERT_OK(folder->ReadF32("bf16", 0, {&first, 1}));
      ASSERT_OK(folder->ReadF32("f32", size_ - 1, {&last, 1}));
      EXPECT_EQ(last, values_.back() * first) << k;
    } else {
      EXPECT_THAT(folder, StatusIs(absl::StatusCode::kNotFound));
    }
  }
}

}  // namespace
}  // namespace rtpurbo::testing
