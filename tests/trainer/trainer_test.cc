#include "trainer/trainer.h"

#include <cerrno>
#include <cmath>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "data/checkpoint_folder.h"
#include "dist/solo_communicator.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/failing_file_system.h"
#include "tests/device_test.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"
#include "trainer/conversion/artefacts.h"

namespace rtpurbo::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// w moves towards a target that changes with the step: a loss whose optimum
// depends on every step before.
class Chase : public Stage {
 public:
  explicit Chase(const ExecContext& ctx)
      : ctx_(ctx),
        weight_(FromHost<float>(ctx, {1, -1, 2}, {3})),
        grad_(Tensor::Zeros(ctx, DType::kF32, {3})) {}

  absl::string_view name() const override { return "chase"; }
  std::vector<TrainedTensor> trained() override {
    return {{"w", weight_, grad_, 0.1F, {{"a", {2}, 0}, {"b", {1}, 2}}, 0}};
  }
  std::int64_t num_micro_batches() const override { return 2; }
  absl::StatusOr<double> RowsOf(std::int64_t /*step*/,
                                std::int64_t micro_batch) override {
    return micro_batch == 0 ? 3.0 : 300.0;
  }
  absl::Status RunMicroBatch(std::int64_t step, std::int64_t micro_batch,
                             float scale, StepSums* sums) override {
    this_step = step + 1;
    const float rows = micro_batch == 0 ? 3 : 300;
    for (int i = 0; i < 3; ++i) {
      const float gap =
          weight_.data<float>()[i] - std::sin(static_cast<float>(step + i));
      grad_.data<float>()[i] += scale * rows * gap;
      sums->loss += static_cast<double>(rows * gap * gap / 2);
    }
    if (bad_from <= step && step < bad_to) {
      sums->loss = std::numeric_limits<double>::quiet_NaN();
    }
    sums->kl = sums->loss;
    sums->rows += static_cast<double>(rows);
    sums->tokens += 10;
    return absl::OkStatus();
  }
  std::int64_t num_held_out() const override { return 1; }
  absl::StatusOr<double> HeldOutMean(std::int64_t /*i*/) override {
    // The best is in the middle of the way.
    return std::abs(static_cast<double>(weight_.data<float>()[2]) - 1.97);
  }

  std::vector<float> weight() const { return ToHost<float>(ctx_, weight_); }

  std::int64_t this_step = 0;
  std::int64_t bad_from = 0;
  std::int64_t bad_to = 0;

 private:
  ExecContext ctx_;
  Tensor weight_;
  Tensor grad_;
};

class Steps : public Recorder {
 public:
  absl::Status Resume(absl::string_view /*stage*/, std::int64_t step) override {
    resumed_after = step;
    return absl::OkStatus();
  }
  absl::Status Record(const StepRecord& record) override {
    records.push_back(record);
    return absl::OkStatus();
  }
  std::int64_t resumed_after = -2;
  std::vector<StepRecord> records;
};

class TrainerTest : public ::testing::Test {
 protected:
  TrainerTest() {
    options_.steps = 6;
    options_.schedule = {Schedule::Kind::kConstant, 0.02, 0, 6};
    options_.held_out_every = 2;
    options_.checkpoint_every = 3;
    options_.keep_last = 1;
    options_.config_text = "some";
  }
  ExecContext ctx() const { return device_->ctx(); }
  absl::StatusOr<TrainResult> Go(FileSystem& files, const std::string& folder,
                                 Chase* stage, Steps* steps) {
    options_.folder = folder;
    options_.control.may_go_on = [this, stage] {
      return !stop_after_.contains(stage->this_step);
    };
    return Train(ctx(), files, solo_, *stage, options_, *steps);
  }

  std::unique_ptr<Device> device_ = *Device::Open(DeviceType::kCpu);
  TemporaryDirectory directory_{TemporaryDirectory::Where::kInMemory};
  SoloCommunicator solo_;
  TrainOptions options_;
  std::set<std::int64_t> stop_after_;  // steps
};

TEST_F(TrainerTest, RecordsEveryStepAndTheHeldOutKlWhenDue) {
  Chase stage(ctx());
  Steps steps;
  ASSERT_OK(Go(RealFileSystem(), directory_ / "a", &stage, &steps));
  EXPECT_EQ(steps.resumed_after, -1);
  ASSERT_EQ(steps.records.size(), 7U);
  for (std::size_t i = 0; i < steps.records.size(); ++i) {
    EXPECT_EQ(steps.records[i].step, static_cast<std::int64_t>(i));
    EXPECT_EQ(steps.records[i].held_out.empty(), i % 2 == 1) << i;
  }
  EXPECT_EQ(steps.records[1].label_tokens, 303);
  EXPECT_EQ(steps.records[1].tokens, 20);
}

// Two micro-batches with 3 and 300 rows weigh as their rows do.
TEST_F(TrainerTest, LossIsAMeanOverRowsNotOverMicroBatches) {
  Chase stage(ctx());
  Steps steps;
  ASSERT_OK(Go(RealFileSystem(), directory_ / "a", &stage, &steps));
  double loss = 0;
  const std::vector<double> w = {1, -1, 2};
  for (std::size_t i = 0; i < 3; ++i) {
    loss += std::pow(w[i] - std::sin(static_cast<double>(i)), 2) / 2;
  }
  EXPECT_NEAR(steps.records[1].loss, loss, 1e-6);
}

TEST_F(TrainerTest, EndsAtTheBestCheckpointAndKeepsIt) {
  Chase stage(ctx());
  Steps steps;
  ASSERT_OK_AND_ASSIGN(const TrainResult result,
                       Go(RealFileSystem(), directory_ / "a", &stage, &steps));
  std::int64_t best = 0;
  double lowest = std::numeric_limits<double>::infinity();
  for (const StepRecord& record : steps.records) {
    if (!record.held_out.empty() && record.held_out[0] < lowest) {
      lowest = record.held_out[0];
      best = record.step;
    }
  }
  EXPECT_EQ(result.best_step, best);
  EXPECT_THAT(result.best_held_out, ElementsAre(lowest));
  ASSERT_OK_AND_ASSIGN(const double now, stage.HeldOutMean(0));
  EXPECT_EQ(now, lowest);
  ASSERT_OK_AND_ASSIGN(const CheckpointRef kept,
                       BestCheckpoint(RealFileSystem(), directory_ / "a"));
  EXPECT_EQ(kept.step, best);
}

// Whichever call of the file system fails, the run can be started again, and
// ends with the bytes of one that was never interrupted.
TEST_F(TrainerTest, InterruptedAnywhereItEndsWithTheSameBytes) {
  Chase whole(ctx());
  Steps steps;
  ASSERT_OK(Go(RealFileSystem(), directory_ / "whole", &whole, &steps));
  ASSERT_OK_AND_ASSIGN(const std::string expected,
                       DigestOf(RealFileSystem(), directory_ / "whole"));
  bool failed = true;
  std::int64_t resumed = 0;
  for (int k = 1; failed; ++k) {
    const std::string folder = directory_ / std::to_string(k);
    {
      FailingFileSystem files(RealFileSystem());
      files.FailFrom(k, ENOSPC);
      Chase stage(ctx());
      failed = !Go(files, folder, &stage, &steps).ok();
    }
    Chase stage(ctx());
    ASSERT_OK(Go(RealFileSystem(), folder, &stage, &steps)) << "call " << k;
    resumed += steps.resumed_after > 0 ? 1 : 0;
    ASSERT_OK_AND_ASSIGN(const std::string digest,
                         DigestOf(RealFileSystem(), folder));
    ASSERT_EQ(digest, expected) << "after call " << k;
    EXPECT_EQ(stage.weight(), whole.weight());
    ASSERT_OK(RealFileSystem().RemoveTree(folder));
  }
  EXPECT_GT(resumed, 10);
}

// Also the checkpoints that are kept are the same, though one was made to stop.
TEST_F(TrainerTest, StoppedAfterAnyStepsItEndsWithTheSameBytes) {
  Chase whole(ctx());
  Steps steps;
  ASSERT_OK(Go(RealFileSystem(), directory_ / "whole", &whole, &steps));
  ASSERT_OK_AND_ASSIGN(const std::string expected,
                       DigestOf(RealFileSystem(), directory_ / "whole"));
  for (unsigned which = 1; which < (1U << 6); ++which) {
    const std::string folder = directory_ / std::to_string(which);
    stop_after_.clear();
    for (std::int64_t step = 1; step <= 6; ++step) {
      if ((which >> (step - 1) & 1U) != 0) {
        stop_after_.insert(step);
      }
    }
    for (const std::int64_t step : stop_after_) {
      Chase stage(ctx());
      const absl::Status status =
          Go(RealFileSystem(), folder, &stage, &steps).status();
      if (step < 6) {
        EXPECT_THAT(status,
                    StatusIs(absl::StatusCode::kCancelled,
                             HasSubstr("stopped after step " +
                                       std::to_string(step) + " of 6")));
      } else {
        EXPECT_OK(status);  // it is at its end
      }
    }
    Chase stage(ctx());
    ASSERT_OK(Go(RealFileSystem(), folder, &stage, &steps));
    EXPECT_EQ(*DigestOf(RealFileSystem(), folder), expected) << which;
    EXPECT_EQ(stage.weight(), whole.weight());
  }
}

TEST_F(TrainerTest, OneBadStepIsSkipped) {
  Chase stage(ctx());
  stage.bad_from = 2;
  stage.bad_to = 4;
  Steps steps;
  ASSERT_OK(Go(RealFileSystem(), directory_ / "a", &stage, &steps));
  ASSERT_EQ(steps.records.size(), 7U);
  EXPECT_TRUE(std::isnan(steps.records[3].loss));
  EXPECT_TRUE(std::isfinite(stage.weight()[0]));
}

TEST_F(TrainerTest, ThirdBadStepInARowStops) {
  Chase stage(ctx());
  stage.bad_from = 2;
  stage.bad_to = 5;
  Steps steps;
  EXPECT_THAT(Go(RealFileSystem(), directory_ / "a", &stage, &steps),
              StatusIs(absl::StatusCode::kAborted, HasSubstr("step 5")));
  // Started again at the checkpoint of step 3 or 4, it counts on.
  EXPECT_THAT(Go(RealFileSystem(), directory_ / "a", &stage, &steps),
              StatusIs(absl::StatusCode::kAborted, HasSubstr("step 5")));
}

TEST_F(TrainerTest, CheckpointsOfAnotherConfigurationAreRefused) {
  Chase stage(ctx());
  Steps steps;
  ASSERT_OK(Go(RealFileSystem(), directory_ / "a", &stage, &steps));
  options_.config_text = "other";
  EXPECT_THAT(Go(RealFileSystem(), directory_ / "a", &stage, &steps),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("another configuration")));
}

}  // namespace
}  // namespace rtpurbo::testing
