#include "trainer/conversion/artefacts.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace rtpurbo::testing {
namespace {

using Action = StagePlan::Action;
using ::testing::HasSubstr;

class ArtefactsTest : public ::testing::Test {
 protected:
  void WriteOutput(const std::string& name, const std::string& text) {
    ASSERT_OK(RealFileSystem().WriteFileAtomically(directory_ / name, text));
  }
  StagePlan PlanOf(const StageInputs& inputs) const {
    return artefacts_.Plan("align", inputs).value();
  }

  TemporaryDirectory directory_;
  Artefacts artefacts_{RealFileSystem(), directory_.path()};
  const StageInputs inputs_ = {{"config", "seed: 0\nsteps: 100\n"},
                               {"teacher", "abc"}};
};

TEST_F(ArtefactsTest, WhatWasNeverStartedIsMade) {
  EXPECT_EQ(PlanOf(inputs_).action, Action::kMake);
}

TEST_F(ArtefactsTest, WhatWasInterruptedContinues) {
  ASSERT_OK(artefacts_.Begin("align", inputs_));
  EXPECT_EQ(PlanOf(inputs_).action, Action::kContinue);
  EXPECT_THAT(artefacts_.Complete("align"),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("stage align")));
}

TEST_F(ArtefactsTest, WhatIsCompleteAndUnchangedIsSkipped) {
  ASSERT_OK(artefacts_.Begin("align", inputs_));
  WriteOutput("out", "1");
  ASSERT_OK(artefacts_.Finish("align", inputs_, {"out"}, 2, {{"kl", 0.5}}));
  EXPECT_EQ(PlanOf(inputs_).action, Action::kSkip);
  ASSERT_OK_AND_ASSIGN(const Artefact artefact, artefacts_.Complete("align"));
  EXPECT_EQ(artefact.seconds(), 2);
  EXPECT_EQ(artefact.numbers(0).value(), 0.5);
}

TEST_F(ArtefactsTest, AnotherInputIsRedoneAndSaysWhich) {
  WriteOutput("out", "1");
  ASSERT_OK(artefacts_.Finish("align", inputs_, {"out"}, 2, {}));
  StageInputs changed = inputs_;
  changed[0].second = "seed: 0\nsteps: 50\n";
  const StagePlan plan = PlanOf(changed);
  EXPECT_EQ(plan.action, Action::kRedo);
  EXPECT_EQ(plan.why, "config: steps: 100 -> steps: 50");
  changed = inputs_;
  changed.emplace_back("heads", "x");
  EXPECT_EQ(PlanOf(changed).why, "heads is new");
  changed = {inputs_[0]};
  EXPECT_EQ(PlanOf(changed).why, "teacher is gone");
}

TEST_F(ArtefactsTest, AChangedOrMissingOutputIsRedone) {
  ASSERT_OK(RealFileSystem().CreateDirectories(directory_ / "dir"));
  WriteOutput("dir/out", "1");
  ASSERT_OK(artefacts_.Finish("align", inputs_, {"dir"}, 2, {}));
  EXPECT_EQ(PlanOf(inputs_).action, Action::kSkip);
  WriteOutput("dir/out", "2");
  EXPECT_THAT(PlanOf(inputs_).why, HasSubstr("was changed"));
  ASSERT_OK(RealFileSystem().RemoveTree(directory_ / "dir"));
  EXPECT_THAT(PlanOf(inputs_).why, HasSubstr("is gone"));
}

TEST_F(ArtefactsTest, ADamagedArtefactIsNamed) {
  ASSERT_OK(artefacts_.Begin("align", inputs_));
  WriteOutput("artefacts/align.textproto", "stage: 7 }");
  EXPECT_THAT(artefacts_.Plan("align", inputs_),
              StatusIs(absl::StatusCode::kDataLoss,
                       HasSubstr("artefacts/align.textproto")));
}

}  // namespace
}  // namespace rtpurbo::testing
