// The whole conversion of a model with two layers, and what becomes of it when
// it is interrupted, changed or damaged.

#include "trainer/conversion/conversion.h"

#include <cerrno>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "data/file_system.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/core/log.h"
#include "nlohmann/json.hpp"
#include "tests/data/failing_file_system.h"
#include "tests/device_test.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"
#include "tests/trainer/test_model.h"

namespace rtpurbo::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class ConversionTest : public ::testing::Test {
 protected:
  ConversionTest() {
    WriteTestModel(model_.path(), 3);
    run_ = TestRun(model_.path());
    SetLogWriter([this](absl::string_view line) { log_ += std::string(line); },
                 false);
  }
  ~ConversionTest() override { SetLogWriter(nullptr, false); }

  absl::Status Convert(FileSystem& files, const std::string& out) {
    log_.clear();
    ASSIGN_OR_RETURN(
        const auto conversion,
        Conversion::Open(device_->ctx(), files, alone_, run_, out));
    return conversion->MakeAll();
  }
  // Everything that must not depend on interruptions: all but times.
  static std::map<std::string, std::string> Contents(const std::string& out) {
    std::map<std::string, std::string> contents;
    for (const char* name :
         {"heads.textproto", "calibrate", "prepare", "align", "distill",
          "export", "evaluation.jsonl", "evaluate"}) {
      const std::string path = JoinPath(out, name);
      if (!absl::StrContains(name, "jsonl")) {
        contents[name] = DigestOf(RealFileSystem(), path).value();
        continue;
      }
      const std::string text = RealFileSystem().ReadFile(path).value();
      for (const absl::string_view line :
           absl::StrSplit(text, '\n', absl::SkipEmpty())) {
        nlohmann::json json = nlohmann::json::parse(line.begin(), line.end());
        json.erase("seconds");
        contents[name] += json.dump() + "\n";
      }
    }
    return contents;
  }

  std::unique_ptr<Device> device_ = *Device::Open(DeviceType::kCpu);
  SoloCommunicator alone_;
  TemporaryDirectory model_{TemporaryDirectory::Where::kInMemory};
  TemporaryDirectory out_{TemporaryDirectory::Where::kInMemory};
  configs::Run run_;
  std::string log_;
};

TEST_F(ConversionTest, MakesEveryStageOnceAndThenSkipsIt) {
  ASSERT_OK(Convert(RealFileSystem(), out_ / "a"));
  for (const std::string& stage : Conversion::StageNames()) {
    EXPECT_THAT(log_, HasSubstr(stage + " starts"));
  }
  const std::map<std::string, std::string> first = Contents(out_ / "a");
  ASSERT_OK(Convert(RealFileSystem(), out_ / "a"));
  EXPECT_THAT(log_, Not(HasSubstr("starts")));
  EXPECT_THAT(log_, Not(HasSubstr("made again")));
  EXPECT_EQ(Contents(out_ / "a"), first);
  const std::string page =
      RealFileSystem().ReadFile(out_ / "a/report.html").value();
  EXPECT_THAT(page, HasSubstr("distill"));
}

TEST_F(ConversionTest, TheSameSeedGivesTheSameBytesAndAnotherDoesNot) {
  ASSERT_OK(Convert(RealFileSystem(), out_ / "a"));
  ASSERT_OK(Convert(RealFileSystem(), out_ / "b"));
  EXPECT_EQ(Contents(out_ / "a"), Contents(out_ / "b"));
  run_.set_seed(1);
  ASSERT_OK(Convert(RealFileSystem(), out_ / "c"));
  EXPECT_NE(Contents(out_ / "a"), Contents(out_ / "c"));
}

TEST_F(ConversionTest, AChangedFieldRemakesWhatDependsOnItAndSaysWhy) {
  ASSERT_OK(Convert(RealFileSystem(), out_ / "a"));
  run_.mutable_distill()->set_learning_rate(2e-3);
  ASSERT_OK(Convert(RealFileSystem(), out_ / "a"));
  EXPECT_THAT(log_, HasSubstr("align complete and unchanged"));
  EXPECT_THAT(log_, HasSubstr("distill no longer fits, made again: config: "
                              "learning_rate: 0.001 -> learning_rate: 0.002"));
  EXPECT_THAT(log_, HasSubstr("export no longer fits"));
}

TEST_F(ConversionTest, WithALearningRateOfZeroNothingFalls) {
  run_.mutable_align()->set_learning_rate(0);
  run_.mutable_distill()->set_learning_rate(0);
  ASSERT_OK(Convert(RealFileSystem(), out_ / "a"));
  EXPECT_THAT(log_, HasSubstr("align held-out KL did not fall"));
  EXPECT_THAT(log_, HasSubstr("distill held-out KL did not fall"));
}

TEST_F(ConversionTest, AChangedTextIsTokenizedAgain) {
  ASSERT_OK(Convert(RealFileSystem(), out_ / "a"));
  ASSERT_OK(RealFileSystem().AppendToFile(model_ / "text/a.txt", "one more"));
  ASSERT_OK(Convert(RealFileSystem(), out_ / "a"));
  EXPECT_THAT(log_, HasSubstr("prepare no longer fits"));
}

// Every stage, whichever call of the file system fails. All of them would take
// too long: each prime-th, so that over stages every kind of call is met.
TEST_F(ConversionTest, InterruptedAnywhereItEndsWithTheSameBytes) {
  FailingFileSystem counting(RealFileSystem());
  ASSERT_OK(Convert(counting, out_ / "whole"));
  const std::map<std::string, std::string> expected = Contents(out_ / "whole");
  constexpr std::int64_t kEvery = 151;
  for (std::int64_t k = 1; k < counting.calls(); k += kEvery) {
    const std::string out = out_ / std::to_string(k);
    FailingFileSystem files(RealFileSystem());
    files.FailFrom(static_cast<int>(k), ENOSPC);
    ASSERT_FALSE(Convert(files, out).ok()) << "call " << k;
    ASSERT_OK(Convert(RealFileSystem(), out)) << "after call " << k;
    ASSERT_EQ(Contents(out), expected) << "after call " << k;
    ASSERT_OK(RealFileSystem().RemoveTree(out));
  }
}

}  // namespace
}  // namespace rtpurbo::testing
