#include "data/label_cache.h"

#include <cerrno>
#include <cmath>
#include <cstdint>
#include <memory>
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
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr absl::StatusCode kUnfit = absl::StatusCode::kFailedPrecondition;

const LabelFingerprints kOurs = {
    .weights = "w1", .config = "c1", .stream = "s1"};

Labels MakeLabels(std::int64_t index, std::int64_t num_rows) {
  Labels labels;
  labels.index = index;
  for (std::int64_t row = 0; row < num_rows; ++row) {
    labels.lse_L.push_back(static_cast<float>(std::sin(index + 3 * row)));
    for (std::int64_t k = 0; k < kTopLabels; ++k) {
      labels.ids_LK.push_back(
          static_cast<std::uint32_t>(4'000'000'000 + index * 1000 + row + k));
      labels.logits_LK.push_back(static_cast<float>(std::cos(index * row - k)));
    }
  }
  return labels;
}

// In the order of appending; the indices are not sorted.
std::vector<Labels> SomeLabels() {
  return {MakeLabels(0, 8), MakeLabels(5, 1), MakeLabels(2, 300),
          MakeLabels(std::int64_t{1} << 40, 7)};
}

bool Equal(const Labels& a, const Labels& b) {
  return a.index == b.index && a.ids_LK == b.ids_LK &&
         a.logits_LK == b.logits_LK && a.lse_L == b.lse_L;
}

// Appends what is missing of SomeLabels(), and finishes.
absl::Status WriteOrContinue(FileSystem& files, const std::string& path) {
  ASSIGN_OR_RETURN(const auto writer,
                   LabelCacheWriter::Open(files, path, kOurs));
  for (const Labels& labels : SomeLabels()) {
    if (!writer->Contains(labels.index)) {
      RETURN_IF_ERROR(writer->Append(labels));
    }
  }
  return writer->Finish();
}

class LabelCacheTest : public ::testing::Test {
 protected:
  // The bytes of an uninterrupted file.
  std::string WholeFile() {
    const std::string path = directory_ / "whole.h5";
    EXPECT_OK(WriteOrContinue(files_, path));
    return files_.ReadFile(path).value();
  }
  // A journal of SomeLabels(), not finished.
  std::string Journal() {
    const auto writer = LabelCacheWriter::Open(files_, path_, kOurs).value();
    for (const Labels& labels : SomeLabels()) {
      EXPECT_OK(writer->Append(labels));
    }
    return files_.ReadFile(path_ + ".part").value();
  }

  FileSystem& files_ = RealFileSystem();
  testing::TemporaryDirectory directory_;
  std::string path_ = directory_ / "labels.h5";
};

TEST_F(LabelCacheTest, WhatIsAppendedIsReadByIndex) {
  ASSERT_OK(WriteOrContinue(files_, path_));
  ASSERT_OK_AND_ASSIGN(const auto cache,
                       LabelCache::Open(files_, path_, kOurs));
  EXPECT_EQ(cache->num_records(), 4);
  EXPECT_EQ(cache->num_rows(), 316);
  for (const Labels& labels : SomeLabels()) {
    EXPECT_TRUE(cache->Contains(labels.index));
    ASSERT_OK_AND_ASSIGN(const Labels read, cache->Read(labels.index));
    EXPECT_TRUE(Equal(read, labels)) << labels.index;
  }
  EXPECT_FALSE(cache->Contains(1));
  EXPECT_THAT(cache->Read(1),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("sequence 1")));
  EXPECT_THAT(files_.List(directory_.path()).value(),
              ::testing::ElementsAre("labels.h5"));
}

TEST_F(LabelCacheTest, AMismatchIsRefusedAndNamed) {
  ASSERT_OK(WriteOrContinue(files_, path_));
  const std::string other = directory_ / "other.h5";
  ASSERT_OK(LabelCacheWriter::Open(files_, other, kOurs));
  const auto refused = [&](const LabelFingerprints& fingerprints,
                           const std::string& reason) {
    EXPECT_THAT(LabelCache::Open(files_, path_, fingerprints),
                StatusIs(kUnfit, AllOf(HasSubstr(path_), HasSubstr(reason))));
    EXPECT_THAT(LabelCacheWriter::Open(files_, other, fingerprints),
                StatusIs(kUnfit, AllOf(HasSubstr(other), HasSubstr(reason))));
  };
  refused({"w2", "c1", "s1"}, "weights fingerprint is w1");
  refused({"w1", "longer", "s1"}, "config fingerprint is c1");
  refused({"w1", "c1", "s2"}, "stream fingerprint is s1");
  EXPECT_OK(LabelCache::Open(files_, path_, kOurs));
  EXPECT_OK(LabelCacheWriter::Open(files_, other, kOurs));
}

TEST_F(LabelCacheTest, ACutJournalContinuesAndGivesTheSameBytes) {
  const std::string whole = WholeFile();
  const std::string journal = Journal();
  // Every cut in the head and the first two records, then some.
  std::int64_t cut = 0;
  std::int64_t most_records = 0;
  while (cut <= static_cast<std::int64_t>(journal.size())) {
    ASSERT_OK(files_.WriteFileAtomically(
        path_ + ".part", journal.substr(0, static_cast<std::size_t>(cut))));
    {
      ASSERT_OK_AND_ASSIGN(const auto writer,
                           LabelCacheWriter::Open(files_, path_, kOurs));
      EXPECT_GE(writer->num_records(), most_records);
      most_records = writer->num_records();
    }
    ASSERT_OK(WriteOrContinue(files_, path_));
    ASSERT_OK_AND_ASSIGN(const std::string file, files_.ReadFile(path_));
    ASSERT_TRUE(file == whole) << cut;
    cut += cut < 60 ? 7 : cut < 900 ? 83 : 4999;
  }
  EXPECT_GE(most_records, 2);
}

TEST_F(LabelCacheTest, ADamagedRecordAndWhatFollowsIsMadeAgain) {
  const std::string whole = WholeFile();
  const std::string journal = Journal();
  // In the second record: index, number of rows, id, logit, lse, CRC.
  const std::size_t second =
      journal.size() - (20 + 7 * 84) - (20 + 300 * 84) - (20 + 84);
  for (const std::size_t byte : {0, 8, 15, 16, 60, 98, 103}) {
    std::string damaged = journal;
    damaged[second + byte] = static_cast<char>(damaged[second + byte] ^ 0x10);
    ASSERT_OK(files_.WriteFileAtomically(path_ + ".part", damaged));
    {
      ASSERT_OK_AND_ASSIGN(const auto writer,
                           LabelCacheWriter::Open(files_, path_, kOurs));
      EXPECT_EQ(writer->num_records(), 1) << byte;
      EXPECT_TRUE(writer->Contains(0));
    }
    ASSERT_OK(WriteOrContinue(files_, path_));
    EXPECT_TRUE(files_.ReadFile(path_).value() == whole) << byte;
  }
}

TEST_F(LabelCacheTest, AFailureAnywhereIsContinuedToTheSameBytes) {
  const std::string whole = WholeFile();
  int k = 1;
  for (;; ++k) {
    FailingFileSystem failing(files_);
    failing.FailFrom(k, ENOSPC);
    const absl::Status written = WriteOrContinue(failing, path_);
    if (written.ok()) {
      break;
    }
    // Either finished, the old journal still there, or to be continued.
    if (files_.Exists(path_).value()) {
      EXPECT_OK(LabelCache::Open(files_, path_, kOurs));
    }
    ASSERT_OK(WriteOrContinue(files_, path_));
    EXPECT_TRUE(files_.ReadFile(path_).value() == whole) << k;
    ASSERT_OK(files_.Remove(path_));
  }
  EXPECT_GT(k, 10);
}

TEST_F(LabelCacheTest, AnAppendThatFailedCanBeRepeated) {
  FailingFileSystem failing(files_);
  ASSERT_OK_AND_ASSIGN(const auto writer,
                       LabelCacheWriter::Open(failing, path_, kOurs));
  const std::vector<Labels> all = SomeLabels();
  ASSERT_OK(writer->Append(all[0]));
  failing.FailOnce(failing.calls() + 1, ENOSPC);
  EXPECT_THAT(writer->Append(all[2]),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_FALSE(writer->Contains(all[2].index));
  for (const std::size_t i : {1, 2, 3}) {
    ASSERT_OK(writer->Append(all[i]));
  }
  ASSERT_OK(writer->Finish());
  EXPECT_TRUE(files_.ReadFile(path_).value() == WholeFile());
}

TEST_F(LabelCacheTest, OtherFilesAreRefused) {
  EXPECT_THAT(LabelCache::Open(files_, path_, kOurs),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("not there")));
  Journal();
  EXPECT_THAT(LabelCache::Open(files_, path_, kOurs),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("not finished")));
  ASSERT_OK(files_.WriteFileAtomically(path_ + ".part", "something else\n"));
  EXPECT_THAT(LabelCacheWriter::Open(files_, path_, kOurs),
              StatusIs(absl::StatusCode::kDataLoss));
  ASSERT_OK_AND_ASSIGN(const auto file, Hdf5File::Create(files_, path_));
  ASSERT_OK(file->SetText("", "format", "rtpurbo tokens"));
  ASSERT_OK(file->Close());
  EXPECT_THAT(LabelCache::Open(files_, path_, kOurs),
              StatusIs(kUnfit, HasSubstr("it is no label cache")));
}

TEST_F(LabelCacheTest, AnEmptyCacheIsNotMade) {
  ASSERT_OK_AND_ASSIGN(const auto writer,
                       LabelCacheWriter::Open(files_, path_, kOurs));
  EXPECT_THAT(writer->Finish(), StatusIs(kUnfit, HasSubstr("no labels")));
}

TEST_F(LabelCacheTest, AChangedValueOrTableIsDataLoss) {
  const auto change = [&](const std::string& name, std::int64_t row,
                          auto value) {
    EXPECT_OK(WriteOrContinue(files_, path_));
    const auto file = Hdf5File::OpenForWrite(files_, path_).value();
    EXPECT_OK(file->Write<decltype(value)>(name, row, std::vector{value}));
    EXPECT_OK(file->Close());
  };
  change("lse", 8, 0.25F);  // of sequence 5
  {
    ASSERT_OK_AND_ASSIGN(const auto cache,
                         LabelCache::Open(files_, path_, kOurs));
    EXPECT_THAT(cache->Read(5),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr("sequence 5")));
    EXPECT_OK(cache->Read(0));
    EXPECT_OK(cache->Read(2));
  }
  change("end", 1, std::int64_t{8});
  EXPECT_THAT(LabelCache::Open(files_, path_, kOurs),
              StatusIs(absl::StatusCode::kDataLoss));
  change("index", 1, std::int64_t{0});
  EXPECT_THAT(LabelCache::Open(files_, path_, kOurs),
              StatusIs(absl::StatusCode::kDataLoss));
  change("end", 3, std::int64_t{317});
  EXPECT_THAT(LabelCache::Open(files_, path_, kOurs),
              StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(LabelCacheTest, WrongSizesAndARepeatedIndexAreBugs) {
  ASSERT_OK_AND_ASSIGN(const auto writer,
                       LabelCacheWriter::Open(files_, path_, kOurs));
  ASSERT_OK(writer->Append(MakeLabels(3, 2)));
  EXPECT_DEATH(writer->Append(MakeLabels(3, 2)).IgnoreError(), "3");
  EXPECT_DEATH(writer->Append(MakeLabels(4, 0)).IgnoreError(), "num_rows");
  Labels uneven = MakeLabels(4, 2);
  uneven.ids_LK.pop_back();
  EXPECT_DEATH(writer->Append(uneven).IgnoreError(), "19 vs 20");
}

TEST_F(LabelCacheTest, VerifyReadsEverythingWhateverItWasMadeFrom) {
  EXPECT_THAT(LabelCache::Verify(files_, path_),
              StatusIs(absl::StatusCode::kNotFound));
  ASSERT_OK(WriteOrContinue(files_, path_));
  EXPECT_OK(LabelCache::Verify(files_, path_));
  {
    ASSERT_OK_AND_ASSIGN(const auto file,
                         Hdf5File::OpenForWrite(files_, path_));
    ASSERT_OK(file->Write<float>("lse", 300, std::vector<float>{0.125F}));
    ASSERT_OK(file->Close());
  }
  EXPECT_THAT(LabelCache::Verify(files_, path_),
              StatusIs(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace rtpurbo
