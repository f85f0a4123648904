#include "launch/run_flags.h"

#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace rtpurbo {
namespace {

using ::rtpurbo::testing::StatusIs;
using ::testing::HasSubstr;

class RunFlagsTest : public ::testing::Test {
 protected:
  RunFlagsTest() {
    std::ofstream(folder_ / "run.textproto")
        << "model { path: \"teacher\" } data { paths: \"text\" } seed: 1";
    std::ofstream(folder_ / "other.textproto")
        << "model { path: \"teacher\" } data { paths: \"text\" } seed: 2";
    flags_.AddTo(&set_);
  }

  testing::TemporaryDirectory folder_;
  RunFlags flags_;
  FlagSet set_;
};

TEST_F(RunFlagsTest, ReadsTheFileAndEditsIt) {
  ASSERT_OK(
      set_.Parse({"--out=anywhere", "--run", folder_ / "other.textproto",
                  "--set=align.steps=100", "--set=align.warmup_steps=3"}));
  ASSERT_OK_AND_ASSIGN(const configs::Run run, flags_.Load());
  EXPECT_EQ(run.seed(), 2U);
  EXPECT_EQ(run.align().steps(), 100);
  EXPECT_EQ(run.align().warmup_steps(), 3);
}

TEST_F(RunFlagsTest, WithoutAFileTakesThatOfTheRun) {
  ASSERT_OK(set_.Parse({"--out=" + folder_.path()}));
  ASSERT_OK_AND_ASSIGN(const configs::Run run, flags_.Load());
  EXPECT_EQ(run.seed(), 1U);
}

TEST_F(RunFlagsTest, NeedsAFolder) {
  ASSERT_OK(set_.Parse({"--run=" + (folder_ / "other.textproto")}));
  EXPECT_THAT(flags_.Load(), StatusIs(absl::StatusCode::kInvalidArgument,
                                      HasSubstr("--out is missing")));
}

TEST_F(RunFlagsTest, SaysWhichFileIsMissing) {
  ASSERT_OK(set_.Parse({"--out=" + (folder_ / "nothing")}));
  EXPECT_THAT(flags_.Load(), StatusIs(absl::StatusCode::kNotFound,
                                      HasSubstr("nothing/run.textproto")));
}

}  // namespace
}  // namespace rtpurbo
