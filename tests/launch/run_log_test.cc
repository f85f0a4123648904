#include "launch/run_log.h"

#include <string>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/core/log.h"
#include "nlohmann/json.hpp"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace rtpurbo::testing {
namespace {

using ::testing::HasSubstr;

TEST(RunLogTest, HasEveryEventAsALine) {
  const TemporaryDirectory directory;
  {
    const RunLog log(RealFileSystem(), directory.path(), 3);
    Log(LogLevel::kWarning, "align", "a \"bad\" step\nindeed",
        {{"step", 7}, {"file", "\xff.bin"}});
    Log(LogLevel::kDebug, "align", "not on the terminal");
  }
  Log(LogLevel::kInfo, "align", "after its end");
  ASSERT_OK_AND_ASSIGN(
      const std::string text,
      RealFileSystem().ReadFile(directory / "logs/rank_0003.jsonl"));
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  ASSERT_EQ(lines.size(), 3U) << text;
  const auto json = nlohmann::json::parse(lines[0]);
  EXPECT_EQ(json["rank"], 3);
  EXPECT_EQ(json["level"], "warning");
  EXPECT_EQ(json["stage"], "align");
  EXPECT_EQ(json["message"], "a \"bad\" step\nindeed");
  EXPECT_EQ(json["step"], "7");
  EXPECT_EQ(json["time"].get<std::string>().size(), 24U);
  EXPECT_EQ(nlohmann::json::parse(lines[1])["level"], "debug");
}

TEST(RunLogTest, OneThatCannotBeWrittenIsSaidOnceAndStopsNothing) {
  const TemporaryDirectory directory;
  ASSERT_OK(RealFileSystem().WriteFileAtomically(directory / "logs", "a file"));
  std::string said;
  SetLogWriter([&](absl::string_view bytes) { said += std::string(bytes); },
               false);
  {
    const RunLog log(RealFileSystem(), directory.path(), 0);
    Log(LogLevel::kInfo, "align", "one");
    Log(LogLevel::kInfo, "align", "two");
  }
  SetLogWriter(nullptr, false);
  EXPECT_THAT(said, HasSubstr("events no longer go to"));
  EXPECT_THAT(said, HasSubstr("two"));
  EXPECT_EQ(said.find("no longer"), said.rfind("no longer"));
}

}  // namespace
}  // namespace rtpurbo::testing
