#include "data/checkpoint.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "data/checkpoint_folder.h"
#include "data/digest.h"
#include "data/hdf5_file.h"
#include "data/manifest.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/checkpoint_testing.h"
#include "tests/data/failing_file_system.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace rtpurbo::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CheckpointTest : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) const {
    return root_ + "/step_00000040/" + name;
  }
  // Replaces one byte of a file.
  void Flip(const std::string& path, std::int64_t at) {
    std::string bytes = *files_.ReadFile(path);
    char& byte = bytes.at(static_cast<std::size_t>(at));
    byte = static_cast<char>(~byte);
    ASSERT_OK_AND_ASSIGN(const auto file,
                         files_.OpenForWrite(path, WriteMode::kExisting));
    ASSERT_OK(file->WriteAt(at, AsBytes(absl::string_view(&byte, 1))));
    ASSERT_OK(file->Close());
  }

  TemporaryDirectory dir_{TemporaryDirectory::Where::kInMemory};
  std::string root_ = dir_ / "run/distill";
  std::string step_ = root_ + "/step_00000040";
  FileSystem& files_ = RealFileSystem();
  std::vector<TensorSpec> model_ = SmallModel();
};

TEST_F(CheckpointTest, SavedByFourRanksItLoadsIntoAnyNumber) {
  ASSERT_OK(SaveModel(files_, root_, model_, 40, 5, 4));
  EXPECT_THAT(*files_.List(root_), ElementsAre("step_00000040"));
  EXPECT_THAT(*files_.List(step_),
              ElementsAre("manifest.textproto", "rank_0.h5", "rank_1.h5",
                          "rank_2.h5", "rank_3.h5"));
  EXPECT_OK(VerifyCheckpoint(files_, step_));
  for (const int world_size : {1, 2, 3, 4, 8}) {
    EXPECT_OK(LoadModel(files_, step_, model_, world_size)) << world_size;
  }
}

TEST_F(CheckpointTest, AllPairsOfWorldSizesUpToEight) {
  model_.pop_back();  // the large one
  for (int from = 1; from <= 8; ++from) {
    ASSERT_OK(SaveModel(files_, root_, model_, 40, 5, from));
    for (int to = 1; to <= 8; ++to) {
      EXPECT_OK(LoadModel(files_, step_, model_, to)) << from << ' ' << to;
    }
  }
}

TEST_F(CheckpointTest, KeepsConfigStateAndNames) {
  ASSERT_OK(SaveModel(files_, root_, model_, 40, 5, 2));
  ASSERT_OK_AND_ASSIGN(const Checkpoint checkpoint,
                       Checkpoint::Open(files_, step_));
  EXPECT_EQ(checkpoint.step(), 40);
  EXPECT_EQ(checkpoint.config(), "steps: 3\nname: \"a\"\n");
  EXPECT_EQ(*checkpoint.State("position"), "12");
  EXPECT_THAT(checkpoint.State("none"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("'none'")));
  const auto tensors = checkpoint.Tensors();
  EXPECT_EQ(tensors.size(), model_.size());
  EXPECT_EQ(tensors.at("none"), (Shape{0, 3}));
  EXPECT_EQ(tensors.at("scalar"), Shape{});
}

TEST_F(CheckpointTest, SameTensorsGiveTheSameBytes) {
  ASSERT_OK(SaveModel(files_, root_, model_, 40, 5, 2));
  ASSERT_OK(SaveModel(files_, dir_ / "b", model_, 40, 5, 2));
  for (const char* name : {"manifest.textproto", "rank_0.h5", "rank_1.h5"}) {
    EXPECT_EQ(*files_.ReadFile(Path(name)),
              *files_.ReadFile(dir_ / "b/step_00000040/" + name));
  }
}

TEST_F(CheckpointTest, OthersReadItAsHdf5) {
  ASSERT_OK(SaveModel(files_, root_, model_, 40, 5, 2));
  ASSERT_OK_AND_ASSIGN(const auto file,
                       Hdf5File::OpenForRead(files_, Path("rank_1.h5")));
  std::vector<float> half(18);
  ASSERT_OK(file->Read("adam.m/block.0.attention@17", 0, std::span(half)));
  EXPECT_EQ(std::as_bytes(std::span(half))[3],
            ByteOf("adam.m/block.0.attention", 17 * 4 + 3, 5));
  EXPECT_EQ(*file->Int("adam.m/block.0.attention@17", "begin"), 17);
  EXPECT_EQ(*file->Text("adam.m/block.0.attention@17", "shape"), "[7, 5]");
  EXPECT_EQ(file->Describe("block.0.experts.up@66")->type, Hdf5Type::kBF16);
  ASSERT_OK(SaveModel(files_, root_, model_, 40, 5, 1));
  ASSERT_OK_AND_ASSIGN(const auto whole,
                       Hdf5File::OpenForRead(files_, Path("rank_0.h5")));
  EXPECT_EQ(whole->Describe("block.0.experts.up")->shape, (Shape{4, 3, 11}));
}

TEST_F(CheckpointTest, WrongRequestsAreRefusedByName) {
  ASSERT_OK(SaveModel(files_, root_, model_, 40, 5, 2));
  const auto load = [&](const TensorSpec& spec) {
    return LoadModel(files_, step_, {spec}, 1);
  };
  EXPECT_THAT(load({"block.0.attention", {5, 7}, DType::kF32}),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("'block.0.attention' is f32 [7, 5] there, but "
                                 "f32 [5, 7] is needed")));
  EXPECT_THAT(load({"one", {1}, DType::kF32}),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("is i32 [1] there, but f32 [1]")));
  EXPECT_THAT(load({"two", {1}, DType::kF32}),
              StatusIs(absl::StatusCode::kNotFound,
                       AllOf(HasSubstr(step_), HasSubstr("'two'"))));
}

TEST_F(CheckpointTest, PartsThatAreNoCoverAreNotCommitted) {
  model_ = {{"x", {10}, DType::kF32}};
  const auto commit = [&](std::vector<std::pair<int, int>> intervals) {
    CheckpointContents contents;
    contents.step = 40;
    EXPECT_OK(PrepareCheckpoint(files_, root_, 40));
    for (std::size_t i = 0; i < intervals.size(); ++i) {
      const auto [begin, end] = intervals[i];
      RankParts whole(model_, 0, 1);
      TensorPart& part = whole.parts()[0];
      part.local = part.local.Slice(begin, end);
      part.begin = begin;
      part.end = end;
      contents.files.push_back(*WriteCheckpointFile(
          files_, root_, 40, static_cast<int>(i), whole.parts()));
    }
    return CommitCheckpoint(files_, root_, contents);
  };
  EXPECT_OK(commit({{0, 4}, {4, 4}, {4, 10}}));
  const auto refused = absl::StatusCode::kFailedPrecondition;
  EXPECT_THAT(commit({{0, 4}, {5, 10}}),
              StatusIs(refused, HasSubstr("'x' lacks elements near 4")));
  EXPECT_THAT(commit({{0, 4}, {3, 10}}),
              StatusIs(refused, HasSubstr("'x' has elements twice near 3")));
  EXPECT_THAT(commit({{0, 4}}),
              StatusIs(refused, HasSubstr("10 elements, but parts up to 4")));
  EXPECT_THAT(commit({{0, 10}, {0, 10}}), StatusIs(refused));
}

// Two starts of a run write the same step at once: neither meets a file of the
// other, and each commits its own.
TEST_F(CheckpointTest, IncarnationsDoNotWriteToTheSameFiles) {
  const auto write = [&](std::int64_t incarnation, std::uint64_t seed) {
    RankParts whole(model_, 0, 1);
    whole.Fill(seed);
    return *WriteCheckpointFile(files_, root_, 40, 0, whole.parts(),
                                incarnation);
  };
  const auto commit = [&](std::int64_t incarnation, std::uint64_t seed,
                          const CheckpointFile& file) {
    return CommitCheckpoint(files_, root_,
                            {.step = 40,
                             .config = "",
                             .state = {{"seed", std::to_string(seed)}},
                             .files = {file},
                             .incarnation = incarnation});
  };
  for (const std::int64_t incarnation : {1, 2}) {
    ASSERT_OK(PrepareCheckpoint(files_, root_, 40, incarnation));
  }
  const CheckpointFile old = write(1, 5);
  const CheckpointFile file = write(2, 6);
  ASSERT_OK(PrepareCheckpoint(files_, root_, 40, 3));
  for (const auto& [incarnation, seed, written] :
       {std::tuple{2, 6, file}, {1, 5, old}}) {
    ASSERT_OK(commit(incarnation, static_cast<std::uint64_t>(seed), written));
    ASSERT_OK(VerifyCheckpoint(files_, step_));
    ASSERT_OK(LoadModel(files_, step_, model_, 1));
  }
}

TEST_F(CheckpointTest, MissingAndShortFilesAreFound) {
  ASSERT_OK(SaveModel(files_, root_, model_, 40, 5, 2));
  const std::string rank = Path("rank_1.h5");
  ASSERT_OK(files_.Truncate(rank, *files_.Size(rank) - 1));
  EXPECT_THAT(VerifyCheckpoint(files_, step_),
              StatusIs(absl::StatusCode::kDataLoss,
                       AllOf(HasSubstr(rank), HasSubstr("were written"))));
  ASSERT_OK(files_.Remove(rank));
  EXPECT_THAT(VerifyCheckpoint(files_, step_),
              StatusIs(absl::StatusCode::kDataLoss,
                       AllOf(HasSubstr(rank), HasSubstr("is not there"))));
  ASSERT_OK(files_.Remove(Path("manifest.textproto")));
  EXPECT_THAT(VerifyCheckpoint(files_, step_),
              StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(CheckpointTest, EveryFlippedByteIsFound) {
  ASSERT_OK(SaveModel(files_, root_, model_, 40, 5, 2));
  Rng rng(3, 4);
  for (const char* name : {"manifest.textproto", "rank_0.h5", "rank_1.h5"}) {
    const std::int64_t size = *files_.Size(Path(name));
    std::vector<std::int64_t> places = {0, size - 1};
    for (int i = 0; i < 20; ++i) {
      places.push_back(rng.Below(size));
      places.push_back(rng.Below(std::min<std::int64_t>(size, 4096)));
    }
    for (const std::int64_t at : places) {
      Flip(Path(name), at);
      EXPECT_THAT(VerifyCheckpoint(files_, step_),
                  StatusIs(absl::StatusCode::kDataLoss, HasSubstr(Path(name))))
          << at;
      Flip(Path(name), at);
    }
  }
  EXPECT_OK(VerifyCheckpoint(files_, step_));
}

TEST_F(CheckpointTest, LoadingChecksTheBlocksThatItReads) {
  ASSERT_OK(SaveModel(files_, root_, model_, 40, 5, 1));
  const Manifest manifest = *ReadManifest(files_, step_);
  const CheckpointPart& large = manifest.files(0).parts(6);
  ASSERT_EQ(large.name(), "large");
  Flip(Path("rank_0.h5"), large.offset() + 7'000'000);
  EXPECT_THAT(
      LoadModel(files_, step_, model_, 1),
      StatusIs(absl::StatusCode::kDataLoss, HasSubstr("bytes [4194304, ")));
  model_.pop_back();
  EXPECT_OK(LoadModel(files_, step_, model_, 1));
}

TEST_F(CheckpointTest, OtherVersionsAndFalsePlacesAreRefused) {
  ASSERT_OK(SaveModel(files_, root_, model_, 40, 5, 1));
  const Manifest good = *ReadManifest(files_, step_);
  const auto read = [&](const Manifest& manifest) {
    EXPECT_OK(files_.WriteFileAtomically(Path("manifest.textproto"),
                                         FormatManifest(manifest)));
    return ReadManifest(files_, step_).status();
  };
  EXPECT_OK(read(good));
  Manifest bad = good;
  bad.set_version(2);
  EXPECT_THAT(read(bad), StatusIs(absl::StatusCode::kFailedPrecondition,
                                  HasSubstr("is of version 2")));
  bad = good;
  bad.mutable_files(0)->mutable_parts(0)->set_offset(good.files(0).size() - 1);
  EXPECT_THAT(read(bad), StatusIs(absl::StatusCode::kDataLoss,
                                  HasSubstr("has no place in rank_0.h5")));
  bad = good;
  bad.mutable_files(0)->add_crc32c(1);
  EXPECT_THAT(read(bad),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("check sums")));
  bad = good;
  bad.mutable_files(0)->set_name("../rank_0.h5");
  EXPECT_THAT(read(bad), StatusIs(absl::StatusCode::kDataLoss,
                                  HasSubstr("is no file name")));
}

// Of the next checkpoint, and of one that replaces another of its step.
class CheckpointFailureTest
    : public CheckpointTest,
      public ::testing::WithParamInterface<std::pair<std::int64_t, bool>> {};

INSTANTIATE_TEST_SUITE_P(
    Steps, CheckpointFailureTest,
    ::testing::Values(std::pair(40, false), std::pair(40, true),
                      std::pair(41, false), std::pair(41, true)),
    [](const auto& p) {
      return std::string(p.param.first == 40 ? "Replacing" : "Next") +
             (p.param.second ? "FailingOnce" : "FailingFrom");
    });

TEST_P(CheckpointFailureTest, OfAnyCallLeavesTheOldOrTheNewOneUsable) {
  const auto [step, once] = GetParam();
  model_.resize(2);
  std::int64_t k = 1;
  for (;; ++k) {
    ASSERT_OK(files_.RemoveTree(root_));
    ASSERT_OK(SaveModel(files_, root_, model_, 40, 5, 1));
    FailingFileSystem failing(files_);
    once ? failing.FailOnce(k, EIO) : failing.FailFrom(k, ENOSPC);
    const absl::Status status = SaveModel(failing, root_, model_, step, 6, 2);
    ASSERT_OK_AND_ASSIGN(const CheckpointRef newest,
                         NewestIntactCheckpoint(files_, root_));
    ASSERT_OK(LoadModel(files_, newest.dir, model_, 1)) << k;
    ASSERT_OK_AND_ASSIGN(const Checkpoint checkpoint,
                         Checkpoint::Open(files_, newest.dir));
    if (failing.calls() < k) {
      ASSERT_OK(status);
      EXPECT_EQ(*checkpoint.State("seed"), "6");
      break;
    }
    ASSERT_FALSE(status.ok()) << k;
    if (k % 8 == 0) {  // what is left is not in the way of the next attempt
      ASSERT_OK(SaveModel(files_, root_, model_, step, 6, 2)) << k;
      EXPECT_EQ(NewestIntactCheckpoint(files_, root_)->step, step);
    }
  }
  EXPECT_GT(k, 30);
}

}  // namespace
}  // namespace rtpurbo::testing
