#include "configs/validate.h"

#include <string>
#include <vector>

#include "configs/load.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/status_matchers.h"

namespace rtpurbo {
namespace {

using ::rtpurbo::testing::StatusIs;
using ::testing::HasSubstr;
using ::testing::Not;

absl::StatusOr<configs::Run> With(const std::vector<std::string>& edits,
                                  std::int64_t world_size = 1) {
  return ParseRun(
      "model { path: \"teacher\" }\n"
      "data { paths: \"text\" }\n",
      "run.textproto", edits, world_size);
}

void ExpectRefused(const std::vector<std::string>& edits,
                   const std::string& why, std::int64_t world_size = 1) {
  EXPECT_THAT(With(edits, world_size),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(why)));
}

// Of a range's ends: the last value inside, the first outside.
struct Bound {
  std::string edit;
  std::string inside;
  std::string outside;
};

class RangeTest : public ::testing::TestWithParam<Bound> {};

TEST_P(RangeTest, HoldsUpToItsEnd) {
  const Bound& bound = GetParam();
  // Other rules may fail there; the range does not.
  const absl::Status inside = With({bound.edit + "=" + bound.inside}).status();
  EXPECT_THAT(
      std::string(inside.message()),
      Not(HasSubstr(bound.edit + " is " + bound.inside + ", but must be in ")));
  ExpectRefused({bound.edit + "=" + bound.outside},
                "--set " + bound.edit + "=" + bound.outside + ": " +
                    bound.edit + " is " + bound.outside + ", but must be in ");
}

INSTANTIATE_TEST_SUITE_P(
    All, RangeTest,
    ::testing::Values(Bound{"attention.window", "1", "0"},
                      Bound{"attention.window", "1000000000", "1000000001"},
                      Bound{"attention.window", "1", "-9223372036854775808"},
                      Bound{"attention.window", "1", "9223372036854775807"},
                      Bound{"attention.top_p", "1", "1.01"},
                      Bound{"attention.top_p", "0.01", "0"},
                      Bound{"attention.top_p", "0.9", "nan"},
                      Bound{"attention.block", "4", "-9223372036854775808"},
                      Bound{"optimizer.beta1", "0", "1"},
                      Bound{"align.rows_from", "0", "1"},
                      Bound{"align.clip_norm", "1", "inf"},
                      Bound{"align.learning_rate", "0", "-1"},
                      Bound{"distill.top_k", "2", "1"},
                      Bound{"data.held_out_share", "0.5", "0"}));

TEST(ValidateTest, ChecksElementsOfLists) {
  ExpectRefused({"evaluation.tokens=[40000, 3]"},
                "evaluation.tokens[1] is 3, but must be in ");
  ExpectRefused({"align.recall_at=[0.5, 2]"}, "align.recall_at[1] is 2");
  ExpectRefused({"evaluation.kinds=[SINGLE, QUESTION_KIND_UNSPECIFIED]"},
                "evaluation.kinds[1] is QUESTION_KIND_UNSPECIFIED");
}

TEST(ValidateTest, RefusesUnspecifiedAndSaysWhatThereIs) {
  ExpectRefused({"calibration.method=METHOD_UNSPECIFIED"},
                "calibration.method is METHOD_UNSPECIFIED, but must be one of "
                "NEEDLE, EFFECT, ONE_BY_ONE");
}

TEST(ValidateTest, SaysThatAFieldWasNotSet) {
  ExpectRefused({"align.steps=50"},
                "run.textproto: align.warmup_steps is 100, more than "
                "align.steps, 50 (it was not set)");
}

TEST(ValidateTest, PathsAreRequired) {
  EXPECT_THAT(ParseRun("", "r", {}, 1),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("r: model.path is missing")));
  ExpectRefused({"model.path="}, "model.path is missing");
  ExpectRefused({"data.paths=[]"}, "data.paths is missing");
  ExpectRefused({"data.paths=[\"a\", \"\"]"}, "data.paths[1] is empty");
}

TEST(ValidateTest, BlocksArePowersOfTwo) {
  ExpectRefused({"attention.block=48"}, "must be a power of two");
  EXPECT_OK(With({"attention.block=32"}));
}

TEST(ValidateTest, SequencesAreLongEnoughToBeSparse) {
  ExpectRefused({"align.tokens=16384"}, "align.tokens is 16384, but up to ");
  EXPECT_OK(With({"align.tokens=16385"}));
  ExpectRefused({"distill.tokens=16384"}, "distill.tokens is 16384");
  ExpectRefused({"evaluation.tokens=16384"}, "evaluation.tokens[0] is 16384");
}

TEST(ValidateTest, SequencesAreLongEnoughForQuestions) {
  const std::vector<std::string> edits = {
      "attention.dense_below=0", "attention.window=1000", "data.tokens=1165",
      "calibration.tokens=4000", "distill.label_tokens=10"};
  EXPECT_OK(With(edits));  // 64 + 1000 + 100 is 1164
  std::vector<std::string> shorter = edits;
  shorter.emplace_back("data.tokens=1164");
  ExpectRefused(shorter, "align.tokens is 1164, too short for a question");
  shorter.emplace_back("align.question_share=0");
  EXPECT_THAT(std::string(With(shorter).status().message()),
              Not(HasSubstr("align.tokens")));
}

TEST(ValidateTest, CalibrationHasRoomForTwoNeedles) {
  // 64 + 2 x 48 + 8192 + 4
  ExpectRefused({"calibration.tokens=8356"}, "needs more than 8356");
  EXPECT_OK(With({"calibration.tokens=8357"}));
}

TEST(ValidateTest, CountsFitTogether) {
  ExpectRefused({"data.min_tokens=40000"}, "more than data.tokens, 32768");
  ExpectRefused({"distill.warmup_steps=601"}, "more than distill.steps, 600");
  ExpectRefused({"distill.label_tokens=32768"}, "less than distill.tokens");
  ExpectRefused({"distill.text_label_tokens=301"},
                "more than distill.label_tokens, 300");
  ExpectRefused({"distill.held_out_every=601"}, "more than distill.steps");
  ExpectRefused({"align.answer_rows=32768"}, "less than align.tokens");
}

TEST(ValidateTest, ListsNameNothingTwice) {
  ExpectRefused({"data.question_kinds=[SINGLE, SINGLE]"},
                "data.question_kinds names a kind twice");
  ExpectRefused({"calibration.effect_kinds=[SINGLE, SINGLE]"},
                "calibration.effect_kinds names a kind twice");
  ExpectRefused({"evaluation.kinds=[SINGLE, SINGLE]"},
                "evaluation.kinds names a kind twice");
  ExpectRefused({"evaluation.tokens=[32768, 32768]"}, "names a length twice");
  ExpectRefused({"align.recall_at=[0.5, 0.5]"}, "names a mass twice");
  ExpectRefused({"evaluation.kinds=[SINGLE, MULTI_VALUE]",
                 "evaluation.multi_value_questions=10"},
                "choose one");
}

TEST(ValidateTest, TheMeshHasAsManyPlacesAsProcesses) {
  ExpectRefused({"mesh.shard=2"}, "1 x 2 x 1 x 1");
  ExpectRefused({"mesh.shard=2"}, "but the run has 1 process");
  ExpectRefused({"mesh.replica=1"}, "but the run has 2 processes", 2);
  EXPECT_OK(With({}, 2));  // nothing said: all processes are shards
  EXPECT_OK(With({"mesh.shard=2", "mesh.expert=4"}, 8));
  ExpectRefused({"mesh.shard=2", "mesh.expert=2"}, "mesh is 1 x 2 x 1 x 2", 8);
  ExpectRefused({"mesh.shard=3"}, "mesh is 1 x 3 x 1 x 1", 8);
}

}  // namespace
}  // namespace rtpurbo
