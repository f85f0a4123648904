// rtpurbo plan: its answers and its refusals.

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/launch/run_binary.h"

namespace rtpurbo::testing {
namespace {

using ::testing::HasSubstr;

Finished Plan(std::vector<std::string> more) {
  std::vector<std::string> arguments = {
      "plan", "--run=configs/recipes/tiny.textproto",
      "--machine=configs/machines/h100_80gb.textproto"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return RunBinary(arguments);
}

// The 30B shape at 48K tokens, all weights.
std::vector<std::string> Large(std::vector<std::string> more) {
  for (const char* edit :
       {"model.path=\"tests/data/shapes/qwen3_30b_a3b\"",
        "model.compute_type=BFLOAT16", "data.tokens=49152",
        "calibration.tokens=32768", "attention.window=8192",
        "attention.dense_below=16384", "distill.trainable=ALL",
        "distill.recompute=true", "distill.sequences_per_step=8"}) {
    more.push_back(std::string("--set=") + edit);
  }
  return more;
}

TEST(PlanCommandTest, ASmallModelFitsOnOneRank) {
  const Finished table = Plan({});
  EXPECT_EQ(table.exit_code, 0) << table.err;
  EXPECT_THAT(table.out, HasSubstr("distill 1 x 1 x 1 x 1"));
  EXPECT_THAT(table.out, HasSubstr("below 576 tokens"));
  const Finished json = Plan({"--json"});
  const auto rows = nlohmann::json::parse(json.out);
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0]["stage"], "align");
  EXPECT_EQ(rows[1]["fits"], true);
  EXPECT_GT(rows[1]["seconds"]["total"], 0.0);
}

TEST(PlanCommandTest, WhatDoesNotFitIsRefusedWithTheSmallestCountThatDoes) {
  const Finished one = Plan(Large({"--ranks=1"}));
  EXPECT_EQ(one.exit_code, 3);
  EXPECT_THAT(one.err, HasSubstr("distill needs "));
  EXPECT_THAT(one.err, HasSubstr("the smallest count of ranks that fits is "));
  const std::size_t at = one.err.rfind("that fits is ");
  const std::string count = std::to_string(std::stoi(one.err.substr(at + 13)));
  EXPECT_EQ(Plan(Large({"--all", "--ranks=" + count})).exit_code, 0);
  const std::string less =
      std::to_string(std::stoi(one.err.substr(at + 13)) / 2);
  EXPECT_EQ(Plan(Large({"--all", "--ranks=" + less})).exit_code, 3);
}

TEST(PlanCommandTest, UsageIsChecked) {
  EXPECT_EQ(RunBinary({"plan"}).exit_code, 2);
  EXPECT_EQ(Plan({"--ranks=0"}).exit_code, 2);
  EXPECT_EQ(Plan({"--ranks=2", "--set=mesh.shard=3"}).exit_code, 2);
}

}  // namespace
}  // namespace rtpurbo::testing
