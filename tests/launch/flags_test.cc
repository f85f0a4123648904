#include "launch/flags.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/status_matchers.h"

namespace rtpurbo {
namespace {

using ::rtpurbo::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class FlagsTest : public ::testing::Test {
 protected:
  FlagsTest() {
    flags_.Add("run", "FILE", "Configuration.", &run_);
    flags_.Add("steps", "N", "Steps.", &steps_);
    flags_.Add("rate", "X", "Rate.", &rate_);
    flags_.Add("jsonl", "Lines.", &jsonl_);
    flags_.Add("set", "PATH=VALUE", "Edits.", &set_);
  }
  void ExpectRefused(const std::vector<std::string>& arguments,
                     const std::string& why) {
    EXPECT_THAT(flags_.Parse(arguments),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(why)));
  }

  FlagSet flags_;
  std::string run_ = "default";
  std::int64_t steps_ = 7;
  double rate_ = 0.5;
  bool jsonl_ = false;
  std::vector<std::string> set_;
};

TEST_F(FlagsTest, DefaultsStay) {
  ASSERT_OK_AND_ASSIGN(const std::vector<std::string> rest, flags_.Parse({}));
  EXPECT_THAT(rest, IsEmpty());
  EXPECT_EQ(run_, "default");
  EXPECT_EQ(steps_, 7);
}

TEST_F(FlagsTest, AValueFollowsAnEqualsSignOrASpace) {
  ASSERT_OK(flags_.Parse({"--run=a=b", "--steps", "-3", "--rate", "1e-3"}));
  EXPECT_EQ(run_, "a=b");
  EXPECT_EQ(steps_, -3);
  EXPECT_EQ(rate_, 1e-3);
}

TEST_F(FlagsTest, AnEmptyValueIsAValue) {
  ASSERT_OK(flags_.Parse({"--run="}));
  EXPECT_EQ(run_, "");
  run_ = "default";
  ASSERT_OK(flags_.Parse({"--run", ""}));
  EXPECT_EQ(run_, "");
}

TEST_F(FlagsTest, AYesOrNoTakesNoArgument) {
  ASSERT_OK_AND_ASSIGN(const std::vector<std::string> rest,
                       flags_.Parse({"--jsonl", "file"}));
  EXPECT_TRUE(jsonl_);
  EXPECT_THAT(rest, ElementsAre("file"));
  ASSERT_OK(flags_.Parse({"--nojsonl"}));
  EXPECT_FALSE(jsonl_);
  ASSERT_OK(flags_.Parse({"--jsonl=true"}));
  EXPECT_TRUE(jsonl_);
}

TEST_F(FlagsTest, AListTakesMany) {
  ASSERT_OK(flags_.Parse({"--set=a=1", "--set", "b=2"}));
  EXPECT_THAT(set_, ElementsAre("a=1", "b=2"));
}

TEST_F(FlagsTest, ArgumentsKeepTheirOrder) {
  ASSERT_OK_AND_ASSIGN(
      const std::vector<std::string> rest,
      flags_.Parse({"one", "--steps=1", "-", "-2", "--", "--run", "--"}));
  EXPECT_THAT(rest, ElementsAre("one", "-", "-2", "--run", "--"));
  EXPECT_EQ(run_, "default");
}

TEST_F(FlagsTest, RefusesAnUnknownFlagWithASuggestion) {
  ExpectRefused({"--stpes=1"},
                "unknown flag --stpes (did you mean \"--steps\"?)");
  ExpectRefused({"--colour"}, "unknown flag --colour");
  ExpectRefused({"--norun"}, "unknown flag --norun");
  ExpectRefused({"--nojsonl=false"}, "unknown flag --nojsonl");
}

TEST_F(FlagsTest, RefusesAMissingValue) {
  ExpectRefused({"--run"}, "--run needs a value: --run=FILE");
  ExpectRefused({"--run", "--steps=1"}, "--run needs a value");
}

TEST_F(FlagsTest, RefusesAValueThatDoesNotFit) {
  ExpectRefused({"--steps=many"}, "--steps=many: not a whole number");
  ExpectRefused({"--steps=99999999999999999999"}, "not a whole number");
  ExpectRefused({"--rate=fast"}, "--rate=fast: not a number");
  ExpectRefused({"--jsonl=maybe"}, "--jsonl=maybe: not true or false");
}

TEST_F(FlagsTest, RefusesAFlagGivenTwice) {
  ExpectRefused({"--steps=1", "--steps=2"}, "--steps is given twice");
  ExpectRefused({"--jsonl", "--nojsonl"}, "--jsonl is given twice");
}

TEST_F(FlagsTest, HelpNamesEveryFlag) {
  EXPECT_THAT(flags_.Help(), HasSubstr("  --run=FILE\n      Configuration.\n"));
  EXPECT_THAT(flags_.Help(), HasSubstr("  --jsonl\n      Lines.\n"));
  EXPECT_THAT(flags_.Help(),
              HasSubstr("  --set=PATH=VALUE (may be repeated)\n"));
}

TEST(WrapTest, BreaksBetweenWordsOnly) {
  EXPECT_EQ(Wrap("one two three", 2, 9), "  one two\n  three\n");
  EXPECT_EQ(Wrap("unbreakable one", 0, 5), "unbreakable\none\n");
  EXPECT_EQ(Wrap("a\n\nb", 0, 80), "a\n\nb\n");
}

}  // namespace
}  // namespace rtpurbo
