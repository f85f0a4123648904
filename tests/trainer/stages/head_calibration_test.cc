#include "trainer/stages/head_calibration.h"

#include <cmath>
#include <memory>
#include <numeric>
#include <span>
#include <vector>

#include "data/file_system.h"
#include "dist/solo_communicator.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/attention.h"
#include "tests/device_test.h"
#include "tests/temporary_directory.h"
#include "tests/trainer/test_model.h"
#include "trainer/model_input.h"
#include "trainer/trained_model.h"

namespace rtpurbo::testing {
namespace {

class HeadCalibrationTest : public ::testing::Test {
 protected:
  HeadCalibrationTest() {
    WriteTestModel(directory_.path(), 4);
    Transformer::Options options;
    options.max_positions = 256;
    options.comm = &alone_;
    model_ = LoadTransformer(device_->ctx(), RealFileSystem(),
                             directory_.path(), options)
                 .value();
    for (int t = 0; t < 80; ++t) {
      question_.tokens.push_back((t * 53 + 17) % 8192);
    }
    question_.answer_begin = 72;
  }
  // KL to the dense model's top 10 with all heads of `map` as it says, mean
  // over answer rows.
  double Kl(const HeadMap& map) {
    const std::span<const std::int32_t> all(question_.tokens);
    const ForwardInput input = MakeInput(device_->ctx(), all.first(79), 8);
    const ModelConfig& config = model_->config();
    const TopLabels labels =
        TeacherLabels(*model_, input,
                      RangeAttend(MakePatterns(config, DenseMap(config))), 10);
    Tape tape(device_->ctx(), Tape::Mode::kOff);
    const Var x =
        model_->Hidden(tape, input, RangeAttend(MakePatterns(config, map)));
    const Var loss = LabelLoss(tape, *model_, x, labels);
    return static_cast<double>(ToHost<float>(device_->ctx(), loss.value())[0]) /
           8;
  }
  HeadMap Local() const {
    HeadMap map = LocalMap(model_->config());
    map.window = local_.window;
    map.sinks = local_.sinks;
    return map;
  }

  std::unique_ptr<Device> device_ = *Device::Open(DeviceType::kCpu);
  SoloCommunicator alone_;
  TemporaryDirectory directory_;
  std::unique_ptr<Transformer> model_;
  AnsweredTokens question_;
  const LocalShape local_{8, 2};
};

// Completeness of integrated gradients: the scores of all heads add up to what
// windowing all of them costs.
TEST_F(HeadCalibrationTest, EffectsAddUpToTheLossOfWindowingAllHeads) {
  const std::vector<float> score =
      EffectScores(*model_, local_, question_, 24, false);
  ASSERT_EQ(score.size(), 8U);
  const double sum = std::accumulate(score.begin(), score.end(), 0.0);
  const double cost = Kl(Local());
  ASSERT_GT(cost, 1e-3);
  EXPECT_NEAR(sum / cost, 1, 0.05);
}

TEST_F(HeadCalibrationTest, RecomputationChangesNothing) {
  EXPECT_EQ(EffectScores(*model_, local_, question_, 3, false),
            EffectScores(*model_, local_, question_, 3, true));
}

TEST_F(HeadCalibrationTest, OneByOneIsTheLossWithThatHeadAloneWindowed) {
  const std::vector<float> score = OneByOneScores(*model_, local_, question_);
  ASSERT_EQ(score.size(), 8U);
  for (const std::int64_t head : {0, 3, 5}) {
    HeadMap map = DenseMap(model_->config());
    map.window = local_.window;
    map.sinks = local_.sinks;
    map.layers[static_cast<std::size_t>(head / 4)]
        .retrieval_H[static_cast<std::size_t>(head % 4)] = false;
    EXPECT_NEAR(static_cast<double>(score[static_cast<std::size_t>(head)]),
                Kl(map), 1e-6)
        << head;
  }
}

TEST_F(HeadCalibrationTest, NoHeadLosesByAWindowThatSeesAll) {
  for (const float score : OneByOneScores(*model_, {1000, 2}, question_)) {
    EXPECT_NEAR(score, 0, 1e-6);
  }
}

TEST_F(HeadCalibrationTest, NeedleScoresAreSharesOfMass) {
  const std::vector<float> score =
      NeedleScores(*model_, question_.tokens, {60, 80}, {10, 30});
  ASSERT_EQ(score.size(), 8U);
  for (const float share : score) {
    EXPECT_GT(share, 0);
    EXPECT_LT(share, 1);
  }
}

TEST(RankOverlapTest, IsTheShareOfCommonBestHeads) {
  EXPECT_EQ(RankOverlap({4, 3, 2, 1}, {4, 3, 2, 1}, 2), 1);
  EXPECT_EQ(RankOverlap({4, 3, 2, 1}, {4, 1, 2, 3}, 2), 0.5);
  EXPECT_EQ(RankOverlap({4, 3, 2, 1}, {1, 2, 3, 4}, 2), 0);
}

}  // namespace
}  // namespace rtpurbo::testing
