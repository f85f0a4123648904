#include "kernels/core/log.h"

#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace rtpurbo {
namespace {

using ::testing::EndsWith;
using ::testing::Eq;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;

class LogTest : public ::testing::Test {
 protected:
  LogTest() { Capture(false); }
  ~LogTest() override {
    SetLogWriter(nullptr, false);
    SetLogLevel(LogLevel::kInfo);
  }
  void Capture(bool is_terminal) {
    SetLogWriter(
        [this](absl::string_view bytes) {
          written_.append(bytes.data(), bytes.size());
        },
        is_terminal);
  }

  std::string written_;
};

TEST_F(LogTest, AnEventIsOneLine) {
  Log(LogLevel::kInfo, "align", "held-out loss", {{"step", 10}, {"kl", 0.5}});
  EXPECT_THAT(
      written_,
      MatchesRegex(
          "[0-9][0-9]:[0-9][0-9]:[0-9][0-9] I align held-out loss step=10 "
          "kl=0.5\n"));
}

TEST_F(LogTest, LineBreaksAndSpacesStayReadable) {
  Log(LogLevel::kError, "run", "two\nlines",
      {{"path", "a b"}, {"said", "\"no\" "}, {"nothing", ""}});
  EXPECT_THAT(written_,
              EndsWith(" E run two\\nlines path=\"a b\" said=\"\\\"no\\\" \" "
                       "nothing=\"\"\n"));
}

TEST_F(LogTest, DropsWhatIsBelowTheLevel) {
  Log(LogLevel::kDebug, "run", "detail");
  EXPECT_THAT(written_, IsEmpty());
  SetLogLevel(LogLevel::kError);
  Log(LogLevel::kWarning, "run", "careful");
  EXPECT_THAT(written_, IsEmpty());
  SetLogLevel(LogLevel::kDebug);
  Log(LogLevel::kDebug, "run", "detail");
  EXPECT_THAT(written_, EndsWith(" D run detail\n"));
}

TEST_F(LogTest, LevelsHaveNames) {
  LogLevel level = LogLevel::kInfo;
  EXPECT_TRUE(ParseLogLevel("warning", &level));
  EXPECT_EQ(level, LogLevel::kWarning);
  EXPECT_FALSE(ParseLogLevel("loud", &level));
  EXPECT_EQ(level, LogLevel::kWarning);
}

TEST_F(LogTest, AnEventIsWrittenAboveTheStatusLine) {
  Capture(true);
  internal::SetStatusLine("3/10");
  written_.clear();
  Log(LogLevel::kInfo, "run", "event");
  EXPECT_THAT(written_, MatchesRegex("\r\x1b\\[K.* I run event\n3/10"));
  internal::SetStatusLine("");
  written_.clear();
  Log(LogLevel::kInfo, "run", "event");
  EXPECT_THAT(written_, EndsWith(" I run event\n"));
}

TEST_F(LogTest, AStatusLineNeverWraps) {
  Capture(true);
  internal::SetStatusLine(std::string(5000, 'x'));
  EXPECT_LT(written_.size(), 1000U);
}

TEST_F(LogTest, LinesOfThreadsAreNotMixed) {
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([] {
      for (int i = 0; i < 50; ++i) {
        Log(LogLevel::kInfo, "stage", "event", {{"number", 12345}});
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  const std::vector<std::string> lines = absl::StrSplit(written_, '\n');
  ASSERT_EQ(lines.size(), 201U);
  for (std::size_t i = 0; i < 200; ++i) {
    EXPECT_THAT(lines[i], EndsWith(" I stage event number=12345"));
    EXPECT_THAT(lines[i].size(), Eq(lines[0].size()));
  }
}

}  // namespace
}  // namespace rtpurbo
