// The recipes that we stand behind load, hold, and say what they cost.

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "configs/load.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/status_matchers.h"

namespace rtpurbo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string PathOf(const std::string& recipe) {
  const char* root = std::getenv("RTPURBO_ROOT");
  return std::string(root == nullptr ? "." : root) + "/configs/recipes/" +
         recipe + ".textproto";
}

class RecipesTest : public ::testing::TestWithParam<const char*> {};

TEST_P(RecipesTest, Holds) {
  ASSERT_OK_AND_ASSIGN(const configs::Run run,
                       LoadRun(PathOf(GetParam()), {}, 1));
  ASSERT_OK_AND_ASSIGN(const configs::Run again,
                       ParseRun(ResolvedText(run), "resolved", {}, 1));
  EXPECT_EQ(ResolvedText(run), ResolvedText(again));
}

TEST_P(RecipesTest, SaysHardwareTimeAndWhatToExpect) {
  std::ifstream file(PathOf(GetParam()));
  std::ostringstream text;
  text << file.rdbuf();
  EXPECT_THAT(text.str(), HasSubstr(" Hardware: "));
  EXPECT_THAT(text.str(), HasSubstr(" Expected: "));
}

INSTANTIATE_TEST_SUITE_P(All, RecipesTest,
                         ::testing::Values("tiny", "small", "test_model"));

TEST(TinyRecipeTest, IsTheQuickstart) {
  ASSERT_OK_AND_ASSIGN(const configs::Run run, LoadRun(PathOf("tiny"), {}, 1));
  EXPECT_EQ(run.model().path(), "tests/data/tiny");
  EXPECT_EQ(run.calibration().share(), 0.19);
  EXPECT_EQ(run.align().tokens(), 2048);
  EXPECT_EQ(run.distill().held_out_every(), 10);
  EXPECT_EQ(run.distill().label_tokens(), 300);
  EXPECT_EQ(run.distill().text_label_tokens(), 64);
  EXPECT_FALSE(run.distill().train_router());
  EXPECT_THAT(run.evaluation().tokens(), ElementsAre(2048));
  EXPECT_THAT(run.evaluation().kinds(),
              ElementsAre(configs::SINGLE, configs::MULTI_KEY,
                          configs::MULTI_QUERY, configs::VARIABLE_TRACKING));
}

}  // namespace
}  // namespace rtpurbo
