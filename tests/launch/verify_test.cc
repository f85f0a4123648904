#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "data/file_system.h"
#include "data/label_cache.h"
#include "data/token_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/checkpoint_testing.h"
#include "tests/launch/run_binary.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace rtpurbo::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class VerifyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* folder : {"prepare", "distill", "export", "calibrate"}) {
      std::filesystem::create_directories(run_ / folder);
    }
    ASSERT_OK_AND_ASSIGN(
        const auto store,
        TokenStoreWriter::Create(RealFileSystem(), run_ / "prepare/tokens.h5",
                                 "tok", {}));
    ASSERT_OK(store->Append({"a", std::vector<std::int32_t>(300'000, 7), {}}));
    ASSERT_OK(store->Finish());
    ASSERT_OK_AND_ASSIGN(
        const auto labels,
        LabelCacheWriter::Open(RealFileSystem(), run_ / "prepare/labels.h5",
                               {"w", "c", "s"}));
    ASSERT_OK(labels->Append({3, std::vector<std::uint32_t>(20'000, 5),
                              std::vector<float>(20'000, 1.5F),
                              std::vector<float>(2'000, 2.5F)}));
    ASSERT_OK(labels->Finish());
    ASSERT_OK(SaveModel(RealFileSystem(), run_ / "distill", SmallModel(), 20,
                        /*seed=*/1, /*world_size=*/2));
    std::filesystem::copy(std::string(std::getenv("RTPURBO_ROOT")) +
                              "/tests/data/tiny/model.safetensors",
                          run_ / "export/model.safetensors");
    std::ofstream(run_ / "heads.textproto") << "method: \"needle\"\n";
    std::ofstream(run_ / "metrics.jsonl") << "{\"step\": 1}\n{\"step\": 2}\n";
    std::ofstream(run_ / "summary.json") << "{\"version\": 1}";
    std::ofstream(run_ / "notes.txt") << "not checked";
  }

  Finished Verify(const std::string& folder = "") const {
    return RunBinary({"verify", folder.empty() ? run_.path() : run_ / folder});
  }
  // Changes a byte, verifies, changes it back.
  Finished Flip(const std::string& name, double place) {
    const auto at = static_cast<std::int64_t>(
        place * static_cast<double>(std::filesystem::file_size(run_ / name)));
    FlipByte(name, at);
    const Finished finished = Verify();
    FlipByte(name, at);
    return finished;
  }
  void FlipByte(const std::string& name, std::int64_t at) {
    std::fstream file(run_ / name,
                      std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(at);
    const int byte = file.get();
    file.seekp(at);
    file.put(static_cast<char>(byte ^ 0x10));
  }

  TemporaryDirectory run_{TemporaryDirectory::Where::kInMemory};
};

TEST_F(VerifyTest, AnIntactRunIsOkFileByFile) {
  const Finished finished = Verify();
  EXPECT_EQ(finished.exit_code, 0) << finished.out << finished.err;
  for (const char* name :
       {"prepare/tokens.h5", "prepare/labels.h5", "distill/step_00000020",
        "export/model.safetensors", "heads.textproto", "metrics.jsonl",
        "summary.json"}) {
    EXPECT_THAT(finished.out, HasSubstr("ok       " + (run_ / name) + " ("));
  }
  EXPECT_THAT(finished.out,
              AllOf(Not(HasSubstr("notes.txt")), Not(HasSubstr("rank_0.h5"))));
}

TEST_F(VerifyTest, OneCheckpointCanBeNamed) {
  const Finished finished = Verify("distill/step_00000020");
  EXPECT_EQ(finished.exit_code, 0) << finished.err;
  EXPECT_THAT(finished.out,
              AllOf(HasSubstr("step_00000020"), Not(HasSubstr("tokens.h5"))));
}

TEST_F(VerifyTest, AFlippedByteIsFoundAndItsFileNamed) {
  for (const auto& [name, place] : std::vector<std::pair<std::string, double>>{
           {"distill/step_00000020/rank_1.h5", 0.5},
           {"distill/step_00000020/manifest.textproto", 0.3},
           {"prepare/tokens.h5", 0.5},
           {"prepare/labels.h5", 0.5},
           {"export/model.safetensors", 0}}) {
    const Finished finished = Flip(name, place);
    EXPECT_EQ(finished.exit_code, 4) << name << "\n" << finished.out;
    const std::string shown =
        name.substr(0, 8) == "distill/" ? "distill/step_00000020" : name;
    EXPECT_THAT(finished.out, HasSubstr("damaged  " + (run_ / shown)));
    EXPECT_THAT(finished.err, HasSubstr("1 of 7 checked"));
  }
  EXPECT_EQ(Verify().exit_code, 0);
}

TEST_F(VerifyTest, BrokenTextIsFoundWithItsLine) {
  std::ofstream(run_ / "metrics.jsonl", std::ios::app) << "{\"step\":\n";
  std::ofstream(run_ / "heads.textproto") << "method: 3 {";
  std::filesystem::remove(run_ / "distill/step_00000020/rank_0.h5");
  const Finished finished = Verify();
  EXPECT_EQ(finished.exit_code, 4);
  EXPECT_THAT(finished.out,
              AllOf(HasSubstr("metrics.jsonl:3"),
                    HasSubstr("heads.textproto:1"), HasSubstr("rank_0.h5")));
  EXPECT_THAT(finished.err, HasSubstr("3 of 7 checked"));
}

TEST_F(VerifyTest, WhatInterruptedWritersLeftIsNamed) {
  std::filesystem::create_directories(run_ / "distill/step_00000030.tmp");
  const Finished finished = Verify();
  EXPECT_EQ(finished.exit_code, 0);
  EXPECT_THAT(finished.out,
              HasSubstr("left     " + (run_ / "distill/step_00000030.tmp")));
}

TEST_F(VerifyTest, AFolderWithNothingToCheckIsAnInputError) {
  EXPECT_EQ(Verify("calibrate").exit_code, 3);
  EXPECT_EQ(Verify("no/such").exit_code, 3);
  EXPECT_EQ(Verify("notes.txt").exit_code, 3);
}

}  // namespace
}  // namespace rtpurbo::testing
