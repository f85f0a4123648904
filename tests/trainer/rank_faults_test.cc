// Whichever call of the file system fails on whichever rank of a run with its
// lock: every rank ends and says why, and the next start makes the same bytes.

#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "data/fenced_file_system.h"
#include "data/run_lock.h"
#include "dist/agree.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/core/log.h"
#include "kernels/core/status_macros.h"
#include "tests/data/failing_file_system.h"
#include "tests/dist/ranks.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"
#include "trainer/conversion/artefacts.h"
#include "trainer/trainer.h"

namespace rtpurbo::testing {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

constexpr std::int64_t kPerRank = 4;

// Weights in parts over the ranks, which move towards a target that a file
// holds; a collective inside each micro-batch, as in a model.
class SharedChase : public Stage {
 public:
  SharedChase(const ExecContext& ctx, FileSystem& files, Communicator& ranks,
              std::string data)
      : ctx_(ctx),
        files_(files),
        ranks_(ranks),
        data_(std::move(data)),
        weight_(Tensor::Zeros(ctx, DType::kF32, {kPerRank})),
        grad_(Tensor::Zeros(ctx, DType::kF32, {kPerRank})) {}

  absl::string_view name() const override { return "chase"; }
  std::vector<TrainedTensor> trained() override {
    return {{"w",
             weight_,
             grad_,
             0,
             {{"w", {kPerRank * ranks_.size()}, 0}},
             kPerRank * ranks_.rank()}};
  }
  std::int64_t num_micro_batches() const override { return 2; }
  absl::StatusOr<double> RowsOf(std::int64_t /*step*/,
                                std::int64_t /*micro_batch*/) override {
    return 1.0;
  }
  absl::Status RunMicroBatch(std::int64_t step, std::int64_t micro_batch,
                             float scale, StepSums* sums) override {
    this_step = step + 1;
    double target = 0;
    ASSIGN_OR_RETURN(const std::string text, files_.ReadFile(data_));
    CHECK(absl::SimpleAtod(text, &target)) << text;
    const std::int64_t n = kPerRank * ranks_.size();
    Tensor full_grad = Tensor::Zeros(ctx_, DType::kF32, {n});
    for (std::int64_t i = 0; i < n; ++i) {
      full_grad.data<float>()[i] =
          scale * std::sin(static_cast<float>(target) +
                           static_cast<float>(i + 10 * step + micro_batch));
    }
    Tensor shard = Tensor::Empty(ctx_, DType::kF32, {kPerRank});
    RETURN_IF_ERROR(ranks_.ReduceScatter(ctx_, full_grad, &shard));
    for (std::int64_t i = 0; i < kPerRank; ++i) {
      grad_.data<float>()[i] += shard.data<float>()[i];
    }
    sums->loss = sums->kl = target + static_cast<double>(step);
    sums->rows += 1;
    sums->tokens += 1;
    return absl::OkStatus();
  }
  std::int64_t num_held_out() const override { return 2; }
  absl::StatusOr<double> HeldOutMean(std::int64_t i) override {
    ASSIGN_OR_RETURN(const std::string text, files_.ReadFile(data_));
    return static_cast<double>(text.size()) - static_cast<double>(i);
  }

  std::int64_t this_step = 0;

 private:
  ExecContext ctx_;
  FileSystem& files_;
  Communicator& ranks_;
  std::string data_;
  Tensor weight_;
  Tensor grad_;
};

class NoRecorder : public Recorder {
 public:
  absl::Status Resume(absl::string_view, std::int64_t) override {
    return absl::OkStatus();
  }
  absl::Status Record(const StepRecord&) override { return absl::OkStatus(); }
};

class RankFaultsTest : public ::testing::TestWithParam<int> {
 protected:
  RankFaultsTest() {
    SetLogLevel(LogLevel::kError);
    EXPECT_OK(RealFileSystem().WriteFileAtomically(directory_ / "data", "0.5"));
  }
  ~RankFaultsTest() override { SetLogLevel(LogLevel::kInfo); }

  // A start of the run, as launch/run_session.h makes it, of a Slurm job that
  // was requeued: it takes over whatever the last one left.
  struct Start {
    std::vector<absl::Status> ends;   // by rank
    std::vector<std::int64_t> steps;  // that each rank was in at last
    std::int64_t calls = 0;           // of the failing file system
  };
  // files: of rank `bad`.
  Start Run(const std::string& folder, int bad, FailingFileSystem& files) {
    Start start;
    start.ends.resize(static_cast<std::size_t>(GetParam()));
    start.steps.resize(static_cast<std::size_t>(GetParam()));
    ++num_starts_;
    RunCpuRanks(GetParam(), [&](const ExecContext& ctx, Communicator& ranks) {
      FileSystem& mine = ranks.rank() == bad ? static_cast<FileSystem&>(files)
                                             : RealFileSystem();
      const auto rank = static_cast<std::size_t>(ranks.rank());
      start.ends[rank] = RunRank(ctx, mine, ranks, folder, &start.steps[rank]);
    });
    start.calls = files.calls();
    return start;
  }
  absl::Status RunRank(const ExecContext& ctx, FileSystem& files,
                       Communicator& ranks, const std::string& folder,
                       std::int64_t* step) {
    std::unique_ptr<RunLock> lock;
    RunLockOptions lock_options;
    lock_options.beat_every = beat_every_;
    lock_options.gone_after = 4 * beat_every_;
    lock_options.self.place = "elsewhere";
    lock_options.self.job = "t/12";
    lock_options.self.job_restarts = num_starts_;
    TrainOptions options;
    const auto acquire = [&]() -> absl::StatusOr<std::string> {
      ASSIGN_OR_RETURN(lock, RunLock::Acquire(files, folder, lock_options));
      return absl::StrCat(lock->incarnation());
    };
    ASSIGN_OR_RETURN(const std::string number,
                     FromFirstRank(ctx, ranks, acquire));
    CHECK(absl::SimpleAtoi(number, &options.control.incarnation));
    const std::int64_t incarnation = options.control.incarnation;
    FencedFileSystem fenced(files, [&] {
      return lock != nullptr ? lock->CheckHeld()
                             : CheckIncarnation(files, folder, incarnation);
    });
    options.steps = 2;
    options.schedule = {Schedule::Kind::kConstant, 0.1, 0, 2};
    options.held_out_every = 2;
    options.checkpoint_every = 1;
    options.keep_last = 1;
    options.folder = JoinPath(folder, "chase");
    options.config_text = "some";
    SharedChase stage(ctx, fenced, ranks, directory_ / "data");
    options.control.may_go_on = [&] {
      return ranks.rank() != stopped_rank_ || stage.this_step != 1;
    };
    NoRecorder recorder;
    const absl::Status trained =
        Train(ctx, fenced, ranks, stage, options, recorder).status();
    *step = stage.this_step;
    RETURN_IF_ERROR(trained);
    return OnFirstRank(ctx, ranks, [&] { return lock->Release(); });
  }
  Start RunWell(const std::string& folder) {
    FailingFileSystem files(RealFileSystem());
    beat_every_ = std::chrono::milliseconds(50);  // of a damaged claim
    Start start = Run(folder, 0, files);
    beat_every_ = std::chrono::hours(1);
    for (const absl::Status& end : start.ends) {
      EXPECT_OK(end);
    }
    return start;
  }
  Start StopAfterOneStep(const std::string& folder, int asked = 0) {
    stopped_rank_ = asked;
    FailingFileSystem files(RealFileSystem());
    Start start = Run(folder, 0, files);
    stopped_rank_ = -1;
    for (const absl::Status& end : start.ends) {
      EXPECT_THAT(end, StatusIs(absl::StatusCode::kCancelled,
                                HasSubstr("after step 1 of 2")));
    }
    return start;
  }
  // A start of which call `k` fails on rank `bad`, and all later ones too if it
  // is the final one, and one that goes on from there. False if there are fewer
  // calls.
  bool FailsAndGoesOn(const std::string& folder, int bad, bool is_final,
                      std::int64_t k, const std::string& expected) {
    if (!is_final) {
      StopAfterOneStep(folder);
    }
    FailingFileSystem files(RealFileSystem());
    is_final ? files.FailFrom(k, ENOSPC) : files.FailOnce(k, ENOSPC);
    const Start start = Run(folder, bad, files);
    if (start.calls >= k) {
      for (const absl::Status& end : start.ends) {
        EXPECT_THAT(end.message(), HasSubstr("No space left on device"));
      }
      RunWell(folder);
      EXPECT_EQ(Digest(folder), expected);
    }
    EXPECT_OK(RealFileSystem().RemoveTree(folder));
    return start.calls >= k;
  }
  static std::string Digest(const std::string& folder) {
    return DigestOf(RealFileSystem(), JoinPath(folder, "chase")).value();
  }

  TemporaryDirectory directory_{TemporaryDirectory::Where::kInMemory};
  std::int64_t num_starts_ = 0;
  int stopped_rank_ = -1;
  // Calls are counted: none may come between.
  std::chrono::milliseconds beat_every_ = std::chrono::hours(1);
};

INSTANTIATE_TEST_SUITE_P(Ranks, RankFaultsTest, ::testing::Values(2, 4));

// A new run, of which all later calls fail as well, and one that goes on from a
// checkpoint, of which one call fails. RTPURBO_STRIDE=1 fails each call. The
// first ones take the lock: each of them is always failed.
TEST_P(RankFaultsTest, AnyFailingCallEndsAllRanksAndTheNextStartGoesOn) {
  RunWell(directory_ / "whole");
  const std::string expected = Digest(directory_ / "whole");
  const std::string folder = directory_ / "failed";
  constexpr std::int64_t kFirstCalls = 20;
  std::int64_t stride = 19;
  const char* const text = std::getenv("RTPURBO_STRIDE");
  ASSERT_TRUE(text == nullptr || absl::SimpleAtoi(text, &stride));
  for (const int bad : {0, GetParam() - 1}) {
    for (const bool is_final : {false, true}) {
      std::int64_t k = 1;
      while (FailsAndGoesOn(folder, bad, is_final, k, expected)) {
        ASSERT_FALSE(HasFailure()) << "rank " << bad << ", call " << k;
        k += k < kFirstCalls ? 1 : stride;
      }
      EXPECT_GT(k, kFirstCalls);
    }
  }
}

// The word of one rank stops all after the same step.
TEST_P(RankFaultsTest, AskedToStopOnAnyRankAllStopTogether) {
  RunWell(directory_ / "whole");
  for (int rank = 0; rank < GetParam(); ++rank) {
    const std::string folder = directory_ / absl::StrCat(rank);
    const Start start = StopAfterOneStep(folder, rank);
    EXPECT_THAT(start.steps, Each(1));
    RunWell(folder);
    EXPECT_EQ(Digest(folder), Digest(directory_ / "whole"));
  }
}

}  // namespace
}  // namespace rtpurbo::testing
