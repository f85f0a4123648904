#include "trainer/stages/projection_alignment.h"

#include <cmath>
#include <memory>
#include <numeric>
#include <vector>

#include "data/file_system.h"
#include "dist/solo_communicator.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/device_test.h"
#include "tests/temporary_directory.h"
#include "tests/trainer/test_model.h"
#include "trainer/stages/projection_start.h"
#include "trainer/trained_model.h"

namespace rtpurbo::testing {
namespace {

using ::testing::Each;
using ::testing::Ge;

TEST(AlignmentRowsTest, AreDrawnFromTheirShareAndEndWithTheAnswer) {
  const AlignmentRows rows{0.25, 0.125, 24, 7};
  const std::int64_t T = 8000;
  const std::vector<std::int32_t> drawn = rows.At(3, T);
  EXPECT_THAT(drawn, Each(Ge(1000)));
  EXPECT_TRUE(std::is_sorted(drawn.begin(), drawn.end()));
  for (std::int64_t t = T - 24; t < T; ++t) {
    EXPECT_TRUE(std::binary_search(drawn.begin(), drawn.end(), t)) << t;
  }
  // 6976 eligible rows at 1/4, 4 standard deviations around the mean.
  EXPECT_NEAR(static_cast<double>(drawn.size()), 24 + 6976 / 4.0, 145);
}

TEST(AlignmentRowsTest, DependOnSeedAndStepAlone) {
  const AlignmentRows rows{0.5, 0, 0, 7};
  EXPECT_EQ(rows.At(3, 500), rows.At(3, 500));
  EXPECT_NE(rows.At(3, 500), rows.At(4, 500));
  EXPECT_NE(rows.At(3, 500), (AlignmentRows{0.5, 0, 0, 8}.At(3, 500)));
  // A longer sequence has the same rows at its begin.
  std::vector<std::int32_t> longer = rows.At(3, 600);
  longer.resize(rows.At(3, 500).size());
  EXPECT_EQ(longer, rows.At(3, 500));
}

TEST(AlignmentRowsTest, AShortSequenceUsesAllItsRows) {
  const AlignmentRows rows{0.25, 0.125, 24, 7};
  EXPECT_EQ(rows.At(0, 3), (std::vector<std::int32_t>{0, 1, 2}));
}

TEST(AlignmentRowsTest, HeldOutRowsAreAlwaysTheSame) {
  const AlignmentRows rows{0.25, 0.5, 2, 7};
  EXPECT_EQ(rows.HeldOut(22), (std::vector<std::int32_t>{16, 20, 21}));
}

class ProjectionAlignmentTest : public ::testing::Test {
 protected:
  ProjectionAlignmentTest() {
    WriteTestModel(directory_.path(), 3);
    Transformer::Options options;
    options.max_positions = 256;
    options.comm = &alone_;
    model_ = LoadTransformer(device_->ctx(), RealFileSystem(),
                             directory_.path(), options)
                 .value();
    map_ = LocalMap(model_->config());
    map_.layers[0].retrieval_H[2] = true;
    map_.layers[1].retrieval_H[0] = true;
    map_.layers[1].retrieval_H[3] = true;
    map_.window = 8;
    for (int t = 0; t < 70; ++t) {
      tokens_.push_back((t * 37 + 11) % 8192);
      rows_.push_back(t);
    }
  }
  IndexProjections Start(ProjectionStart::Kind kind) {
    ProjectionStart start;
    start.kind = kind;
    start.width = 8;
    start.seed = 5;
    return StartProjections(*model_, map_, start, {tokens_});
  }
  double Loss(const IndexProjections& projections) {
    const std::vector<double> loss =
        AlignmentLoss(*model_, projections, tokens_, rows_, 0, nullptr);
    return std::accumulate(loss.begin(), loss.end(), 0.0);
  }

  std::unique_ptr<Device> device_ = *Device::Open(DeviceType::kCpu);
  SoloCommunicator alone_;
  TemporaryDirectory directory_;
  std::unique_ptr<Transformer> model_;
  HeadMap map_;
  std::vector<std::int32_t> tokens_;
  std::vector<std::int32_t> rows_;
};

TEST_F(ProjectionAlignmentTest, GradientIsTheSlopeOfTheLoss) {
  IndexProjections projections = Start(ProjectionStart::Kind::kRandom);
  ProjectionAlignment::Options options;
  options.rows = {1, 0, 0, 0};
  options.train = [&](std::int64_t index) -> absl::StatusOr<Sequence> {
    Sequence sequence;
    sequence.index = index;
    sequence.tokens_T = tokens_;
    return sequence;
  };
  ProjectionAlignment stage(*model_, options, &projections);
  constexpr float kScale = 0.5F;
  StepSums sums;
  ASSERT_TRUE(stage.RunMicroBatch(0, 0, kScale, &sums).ok());
  EXPECT_EQ(sums.rows, 70);
  EXPECT_NEAR(sums.loss, Loss(projections), 1e-4 * sums.loss);
  EXPECT_NEAR(sums.kl, sums.loss / 3, 1e-9);
  for (const TrainedTensor& tensor : stage.trained()) {
    for (std::int64_t i = 0; i < tensor.weight.size(); i += 41) {
      float& w = tensor.weight.data<float>()[i];
      const float old = w;
      constexpr float kStep = 1e-2F;
      w = old + kStep;
      const double above = Loss(projections);
      w = old - kStep;
      const double below = Loss(projections);
      w = old;
      const double slope = kScale * (above - below) / (2 * kStep);
      EXPECT_NEAR(static_cast<double>(tensor.grad.data<float>()[i]), slope,
                  0.02 * std::abs(slope) + 0.01)
          << tensor.name << "[" << i << "]";
    }
  }
}

TEST_F(ProjectionAlignmentTest, TheFittedStartIsCloserThanARandomOne) {
  const double random = Loss(Start(ProjectionStart::Kind::kRandom));
  const double rope = Loss(Start(ProjectionStart::Kind::kSvdRope));
  const double plain = Loss(Start(ProjectionStart::Kind::kSvdPlain));
  EXPECT_LT(rope, random);
  EXPECT_LT(plain, random);
  EXPECT_NE(rope, plain);
}

// Scores of full width before rotation equal the logits where there is no
// rotation to speak of: at distance 0 the KL of one row is 0.
TEST_F(ProjectionAlignmentTest, ARowThatSeesOneKeyHasNoLoss) {
  rows_ = {0};
  EXPECT_NEAR(Loss(Start(ProjectionStart::Kind::kRandom)), 0, 1e-6);
}

}  // namespace
}  // namespace rtpurbo::testing
