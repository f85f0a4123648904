#include "data/checkpoint_folder.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/checkpoint_testing.h"
#include "tests/data/failing_file_system.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace rtpurbo::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class CheckpointFolderTest : public ::testing::Test {
 protected:
  CheckpointFolderTest() { model_.pop_back(); }  // the large tensor
  absl::Status Save(std::int64_t step) {
    return SaveModel(files_, root_, model_, step,
                     static_cast<std::uint64_t>(step), 1);
  }
  std::vector<CheckpointRef> Refs() {
    auto refs = ListCheckpoints(files_, root_);
    EXPECT_OK(refs);
    return *std::move(refs);
  }
  std::vector<std::int64_t> Steps() {
    std::vector<std::int64_t> steps;
    for (const CheckpointRef& ref : Refs()) {
      steps.push_back(ref.step);
    }
    return steps;
  }
  // Ends the process, by itself only if something fails.
  [[noreturn]] void SaveUntilKilled(std::int64_t step) {
    while (Save(step).ok() && RemoveOldCheckpoints(files_, root_, 2).ok()) {
      ++step;
    }
    _exit(1);
  }

  TemporaryDirectory dir_{TemporaryDirectory::Where::kInMemory};
  std::string root_ = dir_ / "run";
  FileSystem& files_ = RealFileSystem();
  std::vector<TensorSpec> model_ = SmallModel();
};

TEST_F(CheckpointFolderTest, ListsTheCommittedOnesNewestFirst) {
  EXPECT_THAT(Steps(), IsEmpty());
  for (const std::int64_t step : {7, 123456789, 40}) {
    ASSERT_OK(Save(step));
  }
  ASSERT_OK(PrepareCheckpoint(files_, root_, 50));
  ASSERT_OK(PrepareCheckpoint(files_, root_, 51, 7));
  for (const char* name : {"step_00000060", "step_8/x", "step_+0000061"}) {
    ASSERT_OK(files_.CreateDirectories(root_ + "/" + name));
  }
  EXPECT_THAT(Steps(), ElementsAre(123456789, 40, 7));
}

TEST_F(CheckpointFolderTest, PassesOverDamagedOnes) {
  EXPECT_THAT(NewestIntactCheckpoint(files_, root_),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr(root_)));
  for (const std::int64_t step : {1, 2, 3}) {
    ASSERT_OK(Save(step));
  }
  const std::string newest = root_ + "/step_00000003";
  ASSERT_OK(files_.AppendToFile(newest + "/rank_0.h5", "x"));
  ASSERT_OK(
      files_.AppendToFile(root_ + "/step_00000002/manifest.textproto", "\n"));
  std::vector<std::string> skipped;
  ASSERT_OK_AND_ASSIGN(const CheckpointRef ref,
                       NewestIntactCheckpoint(files_, root_, &skipped));
  EXPECT_EQ(ref.step, 1);
  ASSERT_THAT(skipped, SizeIs(2));
  EXPECT_THAT(skipped[0], HasSubstr(newest + "/rank_0.h5"));
  ASSERT_OK(files_.RemoveTree(ref.dir));
  EXPECT_THAT(
      NewestIntactCheckpoint(files_, root_),
      StatusIs(absl::StatusCode::kNotFound, HasSubstr("digest differ")));
}

TEST_F(CheckpointFolderTest, ADiskThatFailsIsNoDamage) {
  ASSERT_OK(Save(1));
  ASSERT_OK(Save(2));
  std::int64_t k = 1;
  for (;; ++k) {
    FailingFileSystem failing(files_);
    failing.FailOnce(k, EIO);
    const auto ref = NewestIntactCheckpoint(failing, root_);
    if (failing.calls() < k) {
      ASSERT_OK(ref);
      break;
    }
    EXPECT_THAT(ref, StatusIs(absl::StatusCode::kUnavailable)) << k;
  }
  EXPECT_GT(k, 5);
}

TEST_F(CheckpointFolderTest, BestNamesOneThatIsThere) {
  EXPECT_THAT(BestCheckpoint(files_, root_),
              StatusIs(absl::StatusCode::kNotFound));
  ASSERT_OK(Save(1));
  EXPECT_THAT(
      SetBestCheckpoint(files_, root_, 2),
      StatusIs(absl::StatusCode::kNotFound, HasSubstr("step_00000002")));
  ASSERT_OK(SetBestCheckpoint(files_, root_, 1));
  EXPECT_EQ(*files_.ReadFile(root_ + "/best"), "step_00000001\n");
  EXPECT_EQ(BestCheckpoint(files_, root_)->dir, root_ + "/step_00000001");
  ASSERT_OK(files_.RemoveTree(root_ + "/step_00000001"));
  EXPECT_THAT(BestCheckpoint(files_, root_),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("not there")));
  ASSERT_OK(files_.WriteFileAtomically(root_ + "/best", "x"));
  EXPECT_THAT(BestCheckpoint(files_, root_),
              StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(CheckpointFolderTest, KeepsTheNewestAndTheBest) {
  for (const std::int64_t step : {1, 2, 3, 4, 5}) {
    ASSERT_OK(Save(step));
  }
  ASSERT_OK(SetBestCheckpoint(files_, root_, 2));
  ASSERT_OK(PrepareCheckpoint(files_, root_, 3));  // an interrupted one
  ASSERT_OK(PrepareCheckpoint(files_, root_, 5, 7));
  for (const char* name : {"step_00000003.x.tmp", "step_00000003.0.tmp"}) {
    ASSERT_OK(files_.CreateDirectories(root_ + "/" + name));  // not ours
  }
  ASSERT_OK(RemoveOldCheckpoints(files_, root_, 2));
  EXPECT_THAT(
      *files_.List(root_),
      ElementsAre("best", "step_00000002", "step_00000003.0.tmp",
                  "step_00000003.x.tmp", "step_00000004", "step_00000005"));
  ASSERT_OK(RemoveCheckpointsAfter(files_, root_, 4));
  EXPECT_THAT(Steps(), ElementsAre(4, 2));
}

// Steps of 10 count; 35 and 37 were made to stop there.
TEST_F(CheckpointFolderTest, ThoseThatDoNotCountGoWithTheNextOne) {
  const auto counts = [](std::int64_t step) { return step % 10 == 0; };
  for (const std::int64_t step : {10, 20, 30, 35, 37}) {
    ASSERT_OK(Save(step));
  }
  ASSERT_OK(RemoveOldCheckpoints(files_, root_, 2, counts));
  EXPECT_THAT(Steps(), ElementsAre(37, 30, 20));
  ASSERT_OK(Save(40));
  ASSERT_OK(RemoveOldCheckpoints(files_, root_, 2, counts));
  EXPECT_THAT(Steps(), ElementsAre(40, 30));
}

TEST_F(CheckpointFolderTest, FailureWhileRemovingLeavesWhatIsKept) {
  for (std::int64_t k = 1;; ++k) {
    for (const std::int64_t step : {1, 2, 3}) {
      ASSERT_OK(Save(step));
    }
    FailingFileSystem failing(files_);
    failing.FailFrom(k, EIO);
    const absl::Status status = RemoveOldCheckpoints(failing, root_, 1);
    // What is listed is whole.
    for (const CheckpointRef& ref : Refs()) {
      EXPECT_OK(LoadModel(files_, ref.dir, model_, 1)) << k;
    }
    EXPECT_EQ(Steps().front(), 3);
    if (status.ok()) {
      break;
    }
  }
  EXPECT_THAT(Steps(), ElementsAre(3));
}

TEST_F(CheckpointFolderTest, KilledAtAnyMomentItGoesOnFromAWholeOne) {
  ASSERT_OK(Save(1));
  Rng rng(1, 1);
  std::int64_t last = 1;
  for (int trial = 0; trial < 12; ++trial) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      SaveUntilKilled(last + 1);
    }
    usleep(static_cast<useconds_t>(1000 + rng.Below(40'000)));
    ASSERT_EQ(kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child failed by itself";
    ASSERT_OK_AND_ASSIGN(const CheckpointRef newest,
                         NewestIntactCheckpoint(files_, root_));
    EXPECT_GE(newest.step, last);
    EXPECT_OK(LoadModel(files_, newest.dir, model_, 2));
    last = newest.step;
  }
}

}  // namespace
}  // namespace rtpurbo::testing
