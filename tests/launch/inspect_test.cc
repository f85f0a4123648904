#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/launch/run_binary.h"
#include "tests/temporary_directory.h"

namespace rtpurbo {
namespace {

using ::rtpurbo::testing::Finished;
using ::rtpurbo::testing::RunBinary;
using ::rtpurbo::testing::TemporaryDirectory;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr char kTiny[] = "configs/recipes/tiny.textproto";

TEST(InspectTest, PrintsAConfigurationWithItsDefaults) {
  const Finished finished =
      RunBinary({"inspect", kTiny, "--set", "align.steps=50"});
  EXPECT_EQ(finished.exit_code, 0) << finished.err;
  EXPECT_THAT(finished.out,
              AllOf(HasSubstr("window: 256"), HasSubstr("granularity: BLOCK"),
                    HasSubstr("steps: 50\n")));
}

TEST(InspectTest, WhatItPrintsIsAConfiguration) {
  const TemporaryDirectory folder;
  const Finished first = RunBinary({"inspect", kTiny});
  std::ofstream(folder / "run.textproto") << first.out;
  const Finished second = RunBinary({"inspect", folder.path()});
  EXPECT_EQ(second.exit_code, 0) << second.err;
  EXPECT_EQ(second.out, first.out);
}

TEST(InspectTest, SaysAllThatIsWrongWithAConfiguration) {
  const TemporaryDirectory folder;
  const std::string path = folder / "bad.textproto";
  std::ofstream(path) << "model { path: \"x\" }\nalign { steps: 0 }\n";
  const Finished finished =
      RunBinary({"inspect", path, "--set=attention.top_p=2"});
  EXPECT_EQ(finished.exit_code, 2);
  EXPECT_THAT(finished.out, IsEmpty());
  EXPECT_THAT(finished.err,
              AllOf(HasSubstr(path + ":2: align.steps is 0"),
                    HasSubstr("--set attention.top_p=2: attention.top_p is 2"),
                    HasSubstr("data.paths is missing")));
}

TEST(InspectTest, ShowsTheSizesOfAModel) {
  for (const char* path : {"tests/data/tiny", "tests/data/tiny/config.json"}) {
    const Finished finished = RunBinary({"inspect", path});
    EXPECT_EQ(finished.exit_code, 0) << finished.err;
    EXPECT_THAT(finished.out,
                AllOf(StartsWith("model: qwen3_moe, bfloat16\n"),
                      HasSubstr("heads: 8 query, 2 key/value, width 32\n"),
                      HasSubstr("experts: 8, 2 a token, width 96, in 4 "
                                "layers\n")));
  }
}

TEST(InspectTest, RefusesAModelThatIsNotSupportedByName) {
  const TemporaryDirectory folder;
  std::ofstream(folder / "config.json") << "{\"model_type\": \"mamba\"}";
  const Finished finished = RunBinary({"inspect", folder.path()});
  EXPECT_EQ(finished.exit_code, 3);
  EXPECT_THAT(finished.err, HasSubstr("mamba"));
}

TEST(InspectTest, MalformedConfigsAreInputsAndDamagedOnesDamage) {
  const TemporaryDirectory folder;
  std::ofstream(folder / "config.json")
      << "{\"model_type\": \"qwen3\", \"vocab_size\": -1}";
  const Finished unfit = RunBinary({"inspect", folder.path()});
  EXPECT_EQ(unfit.exit_code, 3);
  EXPECT_THAT(unfit.err, HasSubstr("vocab_size is -1"));
  std::ofstream(folder / "config.json") << "{\"model_type\": ";
  EXPECT_EQ(RunBinary({"inspect", folder.path()}).exit_code, 4);
}

TEST(InspectTest, ShowsWhichHeadsRetrieve) {
  const TemporaryDirectory folder;
  const std::string path = folder / "heads.effect.textproto";
  std::ofstream(path)
      << "method: \"effect\" share: 0.3 window: 256 sinks: 4 documents: 10\n"
      << "layers { retrieval: [false, true, false] score: [1, 2, 3] }\n"
      << "layers { retrieval: [true, false, true] score: [1, 2, 3] }\n";
  const Finished finished = RunBinary({"inspect", path});
  EXPECT_EQ(finished.exit_code, 0) << finished.err;
  EXPECT_THAT(
      finished.out,
      AllOf(StartsWith("head map: effect, mean of 10 documents\nshare: 0.3\n"),
            HasSubstr("retrieval heads: 3 of 6\nwindow: 256, sinks: 4\n"),
            HasSubstr("    0    1  .#.\n    1    2  #.#\n")));
  std::ofstream(path) << "layers {";
  EXPECT_EQ(RunBinary({"inspect", path}).exit_code, 4);
}

TEST(InspectTest, ShowsTheTensorsOfAFileOfWeights) {
  const Finished finished =
      RunBinary({"inspect", "tests/data/tiny/model.safetensors"});
  EXPECT_EQ(finished.exit_code, 0) << finished.err;
  EXPECT_THAT(finished.out,
              AllOf(StartsWith("tensors: "), HasSubstr("metadata: format = pt"),
                    HasSubstr("\nmodel.embed_tokens.weight  BF16 [8192, "
                              "192]\n")));
  const TemporaryDirectory folder;
  std::ofstream(folder / "x.safetensors") << "short";
  EXPECT_EQ(RunBinary({"inspect", folder / "x.safetensors"}).exit_code, 4);
}

TEST(InspectTest, EditsAreForConfigurations) {
  const Finished finished =
      RunBinary({"inspect", "tests/data/tiny", "--set=align.steps=1"});
  EXPECT_EQ(finished.exit_code, 2);
  EXPECT_THAT(finished.err, HasSubstr("--set is for a run's configuration"));
}

TEST(InspectTest, AMissingOrUnknownPathIsAnInputError) {
  const TemporaryDirectory folder;
  const Finished missing = RunBinary({"inspect", folder / "nothing"});
  EXPECT_EQ(missing.exit_code, 3);
  EXPECT_THAT(missing.err, HasSubstr("nothing"));
  const Finished unknown = RunBinary({"inspect", folder.path()});
  EXPECT_EQ(unknown.exit_code, 3);
  EXPECT_THAT(unknown.err, HasSubstr("has neither config.json"));
}

TEST(InspectTest, LoadsAModelAsOneRankOfMany) {
  const Finished whole = RunBinary({"inspect", "tests/data/tiny", "--load"});
  EXPECT_EQ(whole.exit_code, 0) << whole.err;
  EXPECT_THAT(whole.out, HasSubstr("rank 0 of 1: holds "));
  const Finished part =
      RunBinary({"inspect", "tests/data/tiny", "--load", "--pretend-rank=3/8"});
  EXPECT_EQ(part.exit_code, 0) << part.err;
  EXPECT_THAT(part.out, HasSubstr("rank 3 of 8: holds "));
  for (const char* wrong : {"8/8", "-1/8", "3", "a/b", "1/2/3"}) {
    const Finished refused =
        RunBinary({"inspect", "tests/data/tiny", "--load",
                   std::string("--pretend-rank=") + wrong});
    EXPECT_EQ(refused.exit_code, 2) << wrong;
    EXPECT_THAT(refused.err, HasSubstr("as in --pretend-rank=3/8"));
  }
  EXPECT_EQ(
      RunBinary({"inspect", "tests/data/tiny", "--pretend-rank=3/8"}).exit_code,
      2);
}

}  // namespace
}  // namespace rtpurbo
