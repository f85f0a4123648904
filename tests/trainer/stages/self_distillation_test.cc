#include "trainer/stages/self_distillation.h"

#include <cmath>
#include <memory>
#include <vector>

#include "dist/solo_communicator.h"
#include "gtest/gtest.h"
#include "tests/device_test.h"
#include "tests/temporary_directory.h"
#include "tests/trainer/test_distillation.h"
#include "tests/trainer/test_model.h"

namespace rtpurbo::testing {
namespace {

class SelfDistillationTest : public ::testing::Test {
 protected:
  SelfDistillationTest() {
    WriteTestModel(directory_.path(), 3);
    teacher_ = Load({});
  }
  std::unique_ptr<Transformer> Load(const std::set<Role>& trainable) {
    return LoadTestModel(device_->ctx(), alone_, directory_.path(), trainable);
  }
  SelfDistillation::Options OptionsOf(const SparseMode& mode) {
    SelfDistillation::Options options;
    options.mode = mode;
    options.sequences_per_step = 2;
    options.train = TestSequence;
    options.train_labels = [this](std::int64_t i) -> absl::StatusOr<TopLabels> {
      return TestLabels(*teacher_, TestSequence(i));
    };
    options.held_out = options.train;
    options.held_out_labels = options.train_labels;
    options.num_held_out = 2;
    return options;
  }
  std::unique_ptr<Device> device_ = *Device::Open(DeviceType::kCpu);
  SoloCommunicator alone_;
  TemporaryDirectory directory_;
  std::unique_ptr<Transformer> teacher_;
};

const std::set<Role> kAll = {Role::kEmbedding, Role::kAttention, Role::kNorms,
                             Role::kExperts, Role::kHead};

TEST_F(SelfDistillationTest, ADenseStudentHasNothingToLearn) {
  const auto student = Load(kAll);
  SelfDistillation stage(*student, OptionsOf(DenseMode(student->config())));
  for (std::int64_t i = 0; i < stage.num_held_out(); ++i) {
    EXPECT_NEAR(stage.HeldOutMean(i).value(), 0, 1e-5);
  }
}

TEST_F(SelfDistillationTest, ASparseStudentDiffers) {
  const auto student = Load(kAll);
  SelfDistillation stage(*student, OptionsOf(TestMode(*teacher_)));
  for (std::int64_t i = 0; i < stage.num_held_out(); ++i) {
    EXPECT_GT(stage.HeldOutMean(i).value(), 1e-4);
  }
}

// 3 and 30 labels weigh as 33 rows: one backward pass over each micro-batch,
// scaled by 1 / 33, adds up to the gradient of the mean over rows.
TEST_F(SelfDistillationTest, MicroBatchesAddUpToTheMeanOverRows) {
  const auto student = Load(kAll);
  SparseMode mode = TestMode(*teacher_);
  mode.projections = nullptr;  // a selection jumps where weights move
  SelfDistillation stage(*student, OptionsOf(mode));
  StepSums sums;
  const double rows = *stage.RowsOf(0, 0) + *stage.RowsOf(0, 1);
  EXPECT_EQ(rows, 33);
  ASSERT_TRUE(stage.RunMicroBatch(0, 0, 1 / 33.0F, &sums).ok());
  ASSERT_TRUE(stage.RunMicroBatch(0, 1, 1 / 33.0F, &sums).ok());
  EXPECT_EQ(sums.rows, 33);
  double square = 0;
  for (const TrainedTensor& tensor : stage.trained()) {
    for (const float grad : ToHost<float>(device_->ctx(), tensor.grad)) {
      square += static_cast<double>(grad) * static_cast<double>(grad);
    }
  }
  ASSERT_GT(square, 0);
  // A step of length r against the gradient g changes the mean by -r |g|^2, to
  // first order: small enough here to change no choice of experts.
  const double before = sums.loss / 33;
  const double rate = 0.001 * before / square;
  for (const TrainedTensor& tensor : stage.trained()) {
    for (std::int64_t i = 0; i < tensor.weight.size(); ++i) {
      tensor.weight.data<float>()[i] -=
          static_cast<float>(rate) * tensor.grad.data<float>()[i];
    }
  }
  const double after = *stage.HeldOutMean(0) * 3 + *stage.HeldOutMean(1) * 30;
  const double fall = before - after / 33;
  EXPECT_NEAR(fall / (rate * square), 1, 0.1);
}

TEST_F(SelfDistillationTest, RecomputedEqualsKeptBitForBit) {
  std::vector<std::vector<float>> grads[2];
  for (const bool recompute : {false, true}) {
    const auto student = Load(kAll);
    SelfDistillation::Options options = OptionsOf(TestMode(*teacher_));
    options.recompute = recompute;
    SelfDistillation stage(*student, options);
    StepSums sums;
    ASSERT_TRUE(stage.RunMicroBatch(0, 1, 1, &sums).ok());
    for (const TrainedTensor& tensor : stage.trained()) {
      grads[recompute ? 1 : 0].push_back(
          ToHost<float>(device_->ctx(), tensor.grad));
    }
  }
  EXPECT_EQ(grads[0], grads[1]);
}

TEST_F(SelfDistillationTest, OnlyTrainableRolesAreTrained) {
  const auto student = Load({Role::kAttention});
  SelfDistillation stage(*student, OptionsOf(TestMode(*teacher_)));
  for (const TrainedTensor& tensor : stage.trained()) {
    EXPECT_NE(tensor.name.find("attention"), std::string::npos) << tensor.name;
  }
  EXPECT_EQ(stage.trained().size(), 2U);
}

}  // namespace
}  // namespace rtpurbo::testing
