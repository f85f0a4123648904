#include "configs/edit.h"

#include "configs/schema/run.pb.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/status_matchers.h"

namespace rtpurbo {
namespace {

using ::rtpurbo::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class EditTest : public ::testing::Test {
 protected:
  absl::Status Apply(const std::string& edit) {
    return ApplyEdit(edit, &run_, &origins_);
  }
  void ExpectRefused(const std::string& edit, const std::string& why) {
    const configs::Run before = run_;
    EXPECT_THAT(Apply(edit),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(why)));
    EXPECT_THAT(Apply(edit), StatusIs(absl::StatusCode::kInvalidArgument,
                                      HasSubstr("--set " + edit + ": ")));
    EXPECT_EQ(run_.align().steps(), before.align().steps());
    EXPECT_EQ(run_.data().paths_size(), before.data().paths_size());
  }

  configs::Run run_;
  FieldOrigins origins_{"run.textproto"};
};

TEST_F(EditTest, ReplacesAScalarOfEachType) {
  run_.mutable_align()->set_steps(5);
  ASSERT_OK(Apply("align.steps=3"));
  ASSERT_OK(Apply("align.learning_rate=1e-2"));
  ASSERT_OK(Apply("distill.train_router=true"));
  ASSERT_OK(Apply("calibration.method=NEEDLE"));
  ASSERT_OK(Apply("seed=18446744073709551615"));
  EXPECT_EQ(run_.align().steps(), 3);
  EXPECT_EQ(run_.align().learning_rate(), 1e-2);
  EXPECT_TRUE(run_.distill().train_router());
  EXPECT_EQ(run_.calibration().method(), configs::Calibration::NEEDLE);
  EXPECT_EQ(run_.seed(), 18446744073709551615U);
}

TEST_F(EditTest, QuotesAroundAStringMayBeLeftOut) {
  ASSERT_OK(Apply("model.path=some folder/a\"b\\c=d"));
  EXPECT_EQ(run_.model().path(), "some folder/a\"b\\c=d");
  ASSERT_OK(Apply("model.path=\"quoted\""));
  EXPECT_EQ(run_.model().path(), "quoted");
}

TEST_F(EditTest, ReplacesARepeatedFieldByOneValueOrAList) {
  run_.mutable_data()->add_paths("old");
  ASSERT_OK(Apply("data.paths=new.txt"));
  EXPECT_THAT(run_.data().paths(), ElementsAre("new.txt"));
  ASSERT_OK(Apply("data.paths=[\"a\", \"b\"]"));
  EXPECT_THAT(run_.data().paths(), ElementsAre("a", "b"));
  ASSERT_OK(Apply("evaluation.tokens=[1024, 2048]"));
  EXPECT_THAT(run_.evaluation().tokens(), ElementsAre(1024, 2048));
}

TEST_F(EditTest, TheLastEditOfAFieldCounts) {
  ASSERT_OK(Apply("align.steps=3"));
  ASSERT_OK(Apply("align.steps=4"));
  EXPECT_EQ(run_.align().steps(), 4);
  EXPECT_EQ(origins_.Of("align.steps"), "--set align.steps=4");
}

TEST_F(EditTest, RefusesAFieldThatDoesNotExist) {
  ExpectRefused("align.stpes=3",
                "Align has no field \"stpes\" (did you mean \"steps\"?)");
  ExpectRefused("aling.steps=3",
                "Run has no field \"aling\" (did you mean \"align\"?)");
  ExpectRefused("align..steps=3", "Align has no field \"\"");
  ExpectRefused("seed.steps=3", "\"seed\" has no fields inside it");
  ExpectRefused("=3", "Run has no field \"\"");
}

TEST_F(EditTest, RefusesAGroupOfFields) {
  ExpectRefused("align={steps: 3}", "align is a group of fields");
}

TEST_F(EditTest, RefusesAValueThatDoesNotFit) {
  run_.mutable_align()->set_steps(5);
  ExpectRefused("align.steps=three", "Expected integer");
  ExpectRefused("align.steps=1.5", "Expected integer");
  ExpectRefused("align.steps=", "Expected integer");
  ExpectRefused("align.steps=99999999999999999999", "out of range");
  ExpectRefused("calibration.method=BEST", "Unknown enumeration value");
  ExpectRefused("distill.train_router=maybe", "Invalid value");
  ExpectRefused("align.steps", "write PATH=VALUE");
}

TEST_F(EditTest, RefusesAValueThatSetsAnotherFieldToo) {
  ExpectRefused("align.steps=3 warmup_steps: 4", "an edit sets one field");
}

}  // namespace
}  // namespace rtpurbo
