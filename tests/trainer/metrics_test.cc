#include "trainer/metrics.h"

#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "data/digest.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"
#include "trainer/event.pb.h"

namespace rtpurbo::testing {
namespace {

class MetricsTest : public ::testing::Test {
 protected:
  std::vector<nlohmann::json> Lines() const {
    std::vector<nlohmann::json> lines;
    const std::string text =
        RealFileSystem().ReadFile(directory_ / "metrics.jsonl").value();
    for (const absl::string_view line :
         absl::StrSplit(text, '\n', absl::SkipEmpty())) {
      lines.push_back(nlohmann::json::parse(line.begin(), line.end()));
    }
    return lines;
  }
  static StepRecord RecordOf(const std::string& stage, std::int64_t step) {
    StepRecord record;
    record.stage = stage;
    record.step = step;
    record.loss = 0.5;
    record.tokens = 7;
    return record;
  }
  void Write(const std::string& stage, std::int64_t after, std::int64_t last) {
    Metrics metrics(RealFileSystem(), directory_.path(), last);
    ASSERT_OK(metrics.Resume(stage, after));
    for (std::int64_t step = after + 1; step <= last; ++step) {
      ASSERT_OK(metrics.Record(RecordOf(stage, step)));
    }
  }
  // Stage and step of each line.
  std::string Sequence() const {
    std::string text;
    for (const nlohmann::json& line : Lines()) {
      text += line["stage"].get<std::string>() +
              std::to_string(line["step"].get<int>()) + " ";
    }
    return text;
  }

  TemporaryDirectory directory_;
};

TEST_F(MetricsTest, ALineHasTheFieldsThatReadersExpect) {
  Write("align", 0, 1);
  const nlohmann::json line = Lines().at(0);
  for (const char* key : {"stage", "step", "loss", "kl", "lr", "grad_norm",
                          "tokens", "label_tokens", "seconds"}) {
    EXPECT_TRUE(line.contains(key)) << key;
  }
}

TEST_F(MetricsTest, ALineSaysWhereTimeAndGradientsAre) {
  StepRecord record = RecordOf("align", 1);
  record.grad_norm_of_role = {{"attention", 3}, {"norms", 4}};
  record.kl_of_layer = {std::numeric_limits<double>::quiet_NaN(), 0.25};
  record.costs.axes = {{"shard", 0.5, 100}};
  record.costs.work_seconds = 2;
  record.costs.slowest_rank = 3;
  record.costs.peak_bytes = 1 << 20;
  Metrics metrics(RealFileSystem(), directory_.path(), 1);
  ASSERT_OK(metrics.Resume("align", 0));
  ASSERT_OK(metrics.Record(record));
  const nlohmann::json line = Lines().at(0);
  EXPECT_EQ(line["grad_norms"]["norms"], 4);
  EXPECT_TRUE(line["kl_of_layer"][0].is_null());
  EXPECT_EQ(line["kl_of_layer"][1], 0.25);
  EXPECT_EQ(line["costs"]["axes"]["shard"]["seconds"], 0.5);
  EXPECT_EQ(line["costs"]["axes"]["shard"]["bytes_sent"], 100);
  EXPECT_EQ(line["costs"]["work_seconds"], 2);
  EXPECT_EQ(line["costs"]["slowest_rank"], 3);
  EXPECT_EQ(line["costs"]["peak_bytes"], 1 << 20);
}

TEST_F(MetricsTest, ResumingCutsWhatWillBeComputedAgainAndNothingElse) {
  Write("align", -1, 2);
  Write("distill", -1, 4);
  Write("distill", 2, 3);
  EXPECT_EQ(Sequence(),
            "align0 align1 align2 distill0 distill1 distill2 distill3 ");
}

TEST_F(MetricsTest, ALineThatWasCutOffIsDropped) {
  Write("align", -1, 2);
  ASSERT_OK(RealFileSystem().AppendToFile(directory_ / "metrics.jsonl",
                                          "{\"stage\": \"al"));
  Write("align", 2, 3);
  EXPECT_EQ(Sequence(), "align0 align1 align2 align3 ");
}

TEST_F(MetricsTest, ANumberThatIsNoneIsNull) {
  Metrics metrics(RealFileSystem(), directory_.path(), 1);
  ASSERT_OK(metrics.Resume("align", 0));
  StepRecord record = RecordOf("align", 1);
  record.loss = std::numeric_limits<double>::quiet_NaN();
  ASSERT_OK(metrics.Record(record));
  EXPECT_TRUE(Lines().at(0)["loss"].is_null());
}

std::uint32_t Masked(const std::string& bytes) {
  const std::uint32_t crc = Crc32c(AsBytes(bytes));
  return ((crc >> 15U) | (crc << 17U)) + 0xa282ead8U;
}

// Reads the records of an event file as TensorBoard does.
std::vector<events::Event> ReadEvents(const std::string& bytes) {
  std::vector<events::Event> all;
  std::size_t at = 0;
  while (at < bytes.size()) {
    std::uint64_t length = 0;
    std::uint32_t crc = 0;
    std::memcpy(&length, bytes.data() + at, sizeof(length));
    std::memcpy(&crc, bytes.data() + at + 8, sizeof(crc));
    EXPECT_EQ(crc, Masked(bytes.substr(at, 8)));
    const std::string data = bytes.substr(at + 12, length);
    std::memcpy(&crc, bytes.data() + at + 12 + length, sizeof(crc));
    EXPECT_EQ(crc, Masked(data));
    all.emplace_back();
    EXPECT_TRUE(all.back().ParseFromString(data));
    at += 12 + length + 4;
  }
  return all;
}

TEST_F(MetricsTest, EventFilesAreWhatTensorBoardReads) {
  Write("align", 3, 4);
  const std::vector<std::string> names =
      RealFileSystem().List(directory_.path()).value();
  for (const std::string& name : names) {
    if (!absl::StartsWith(name, "events.out.tfevents.")) {
      continue;
    }
    const std::vector<events::Event> all =
        ReadEvents(RealFileSystem().ReadFile(directory_ / name).value());
    ASSERT_EQ(all.size(), 3U);
    EXPECT_EQ(all[0].file_version(), "brain.Event:2");
    EXPECT_EQ(all[1].session_log().status(), events::SessionLog::START);
    EXPECT_EQ(all[1].step(), 3);
    EXPECT_EQ(all[2].step(), 4);
    EXPECT_EQ(all[2].summary().value(0).tag(), "align/loss");
    EXPECT_EQ(all[2].summary().value(0).simple_value(), 0.5F);
    return;
  }
  FAIL() << "no event file";
}

}  // namespace
}  // namespace rtpurbo::testing
