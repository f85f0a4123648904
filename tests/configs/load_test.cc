#include "configs/load.h"

#include <cstdlib>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace rtpurbo {
namespace {

using ::rtpurbo::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kLeast[] =
    "model { path: \"teacher\" }\n"
    "data { paths: \"text\" }\n";

TEST(LoadTest, TheLeastTextIsCompletedWithDefaults) {
  ASSERT_OK_AND_ASSIGN(const configs::Run run, ParseRun(kLeast, "r", {}, 1));
  EXPECT_EQ(run.attention().window(), 8192);
  EXPECT_EQ(run.attention().dense_below(), 16384);
  EXPECT_EQ(run.calibration().tokens(), 32768);
  EXPECT_EQ(run.calibration().effect_kinds_size(), 5);
  EXPECT_EQ(run.align().tokens(), 32768);
  EXPECT_THAT(run.align().recall_at(), ElementsAre(0.5, 0.8, 0.9, 0.95));
  EXPECT_EQ(run.distill().text_label_tokens(), 300);
  EXPECT_EQ(run.distill().held_out_every(), 150);
  EXPECT_EQ(run.mesh().expert(), 1);
}

TEST(LoadTest, DerivedDefaultsFollowWhatIsSet) {
  ASSERT_OK_AND_ASSIGN(
      const configs::Run run,
      ParseRun(kLeast, "r", {"attention.window=100", "data.tokens=1000"}, 1));
  EXPECT_EQ(run.attention().dense_below(), 200);
  EXPECT_EQ(run.data().min_tokens(), 1000);
  EXPECT_EQ(run.calibration().tokens(), 400);
  EXPECT_EQ(run.distill().tokens(), 1000);
  EXPECT_THAT(run.evaluation().tokens(), ElementsAre(1000));
}

TEST(LoadTest, AWrittenZeroIsNoDefault) {
  ASSERT_OK_AND_ASSIGN(const configs::Run run,
                       ParseRun(kLeast, "r", {"attention.dense_below=0"}, 1));
  EXPECT_EQ(run.attention().dense_below(), 0);
}

TEST(LoadTest, TheResolvedTextGivesTheSameRun) {
  ASSERT_OK_AND_ASSIGN(const configs::Run run,
                       ParseRun(kLeast, "r", {"align.learning_rate=3e-7"}, 1));
  EXPECT_THAT(ResolvedText(run), HasSubstr("learning_rate: 3e-07"));
  ASSERT_OK_AND_ASSIGN(const configs::Run again,
                       ParseRun(ResolvedText(run), "resolved", {}, 1));
  EXPECT_EQ(ResolvedText(again), ResolvedText(run));
}

TEST(LoadTest, EditsComeAfterTheTextAndBeforeTheRules) {
  const std::string text = std::string(kLeast) + "align { steps: 0 }\n";
  EXPECT_THAT(ParseRun(text, "r", {}, 1),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       StartsWith("r:3: align.steps is 0")));
  EXPECT_OK(ParseRun(text, "r", {"align.steps=200"}, 1));
}

TEST(LoadTest, AnUnknownFieldIsNamedWithItsLine) {
  EXPECT_THAT(
      ParseRun(std::string(kLeast) + "align {\n  stpes: 3\n}\n", "r", {}, 1),
      StatusIs(absl::StatusCode::kInvalidArgument,
               AllOf(StartsWith("r:4: "), HasSubstr("no field named \"stpes\""),
                     HasSubstr("(did you mean \"steps\"?)"))));
}

TEST(LoadTest, AllProblemsAreSaidAtOnce) {
  const std::string text =
      "model { path: \"teacher\" }\n"
      "colour: 3\n"
      "attention { window: 0 top_p: 1.5 }\n"
      "align {\n  nothing { at: all }\n  steps: -1\n}\n";
  const absl::Status status =
      ParseRun(text, "r", {"distill.tokns=3", "mesh.shard=2"}, 1).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  for (const char* part : {"r:2: ", "colour", "r:3: attention.window is 0",
                           "r:3: attention.top_p is 1.5", "r:5: ", "nothing",
                           "r:6: align.steps is -1",
                           "--set distill.tokns=3: ", "data.paths is missing",
                           "--set mesh.shard=2: mesh is 1 x 2"}) {
    EXPECT_THAT(std::string(status.message()), HasSubstr(part));
  }
}

TEST(LoadTest, AWrongValueIsShownWithItsLine) {
  EXPECT_THAT(ParseRun("align {\n  steps: many  # really\n}\n", "r", {}, 1),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(StartsWith("r:2: Expected integer, got: many"),
                             HasSubstr("In \"steps: many  # really\"."))));
}

TEST(LoadTest, AFieldGivenTwiceIsAnError) {
  EXPECT_THAT(ParseRun("seed: 1\nseed: 2\n", "r", {}, 1),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(StartsWith("r:2: "), HasSubstr("seed"))));
}

TEST(LoadTest, AnUnfinishedTextIsAnError) {
  EXPECT_THAT(ParseRun("align {\n  steps: 3\n", "r", {}, 1),
              StatusIs(absl::StatusCode::kInvalidArgument, StartsWith("r:3")));
}

TEST(LoadTest, ReadsAFile) {
  testing::TemporaryDirectory folder;
  const std::string path = folder.path() + "/run.textproto";
  std::ofstream(path) << kLeast << "attention { window: 0 }\n";
  EXPECT_OK(LoadRun(path, {"attention.window=80"}, 1));
  EXPECT_THAT(LoadRun(path, {}, 1),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       StartsWith(path + ":3: attention.window")));
}

TEST(LoadTest, AMissingFileIsNotFound) {
  EXPECT_THAT(LoadRun("/no/such/file", {}, 1),
              StatusIs(absl::StatusCode::kNotFound,
                       AllOf(HasSubstr("/no/such/file"),
                             HasSubstr("No such file or directory"))));
}

TEST(LoadTest, AFolderOrAnEmptyFileIsRefused) {
  testing::TemporaryDirectory folder;
  EXPECT_THAT(
      LoadRun(folder.path(), {}, 1),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is a folder")));
  const std::string path = folder.path() + "/empty.textproto";
  std::ofstream(path).close();
  EXPECT_THAT(LoadRun(path, {}, 1),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr(path + ": model.path is missing")));
}

}  // namespace
}  // namespace rtpurbo
