#include "kernels/core/progress.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/core/log.h"

namespace rtpurbo {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class ProgressTest : public ::testing::Test {
 protected:
  ~ProgressTest() override { SetLogWriter(nullptr, false); }
  void Capture(bool is_terminal) {
    SetLogWriter(
        [this](absl::string_view bytes) {
          written_.append(bytes.data(), bytes.size());
        },
        is_terminal);
  }
  ProgressLine::Clock clock() {
    return [this] { return now_; };
  }
  // What one update wrote.
  std::string Update(ProgressLine* progress, double now,
                     const ProgressLine::Numbers& numbers) {
    written_.clear();
    now_ = now;
    progress->Update(numbers);
    return written_;
  }

  std::string written_;
  double now_ = 100;
};

TEST_F(ProgressTest, OnATerminalItIsOneLineWrittenOver) {
  Capture(true);
  ProgressLine progress("align", 100, 0, clock());
  EXPECT_EQ(
      Update(
          &progress, 110,
          {.step = 10, .tokens = 20480, .loss = 1.25, .learning_rate = 0.005}),
      "\r\x1b[Kalign  10/100  loss 1.25  lr 5.00e-03  2048 tokens/s  "
      "1:30 left");
}

TEST_F(ProgressTest, TheLineIsGoneAtTheEnd) {
  Capture(true);
  {
    ProgressLine progress("align", 2, 0, clock());
    Update(&progress, 101, {.step = 1});
  }
  EXPECT_THAT(written_, EndsWith("\r\x1b[K"));
  written_.clear();
  Log(LogLevel::kInfo, "run", "done");
  EXPECT_THAT(written_, Not(HasSubstr("1/2")));
}

TEST_F(ProgressTest, ATerminalIsUpdatedTenTimesASecondAtMost) {
  Capture(true);
  ProgressLine progress("align", 100, 0, clock());
  EXPECT_THAT(Update(&progress, 101, {.step = 1}), Not(IsEmpty()));
  EXPECT_THAT(Update(&progress, 101.05, {.step = 2}), IsEmpty());
  EXPECT_THAT(Update(&progress, 101.2, {.step = 3}), Not(IsEmpty()));
  EXPECT_THAT(Update(&progress, 101.21, {.step = 100}), Not(IsEmpty()));
}

TEST_F(ProgressTest, ElsewhereItIsAnEventEveryFiveSeconds) {
  Capture(false);
  ProgressLine progress("distill", 40, 0, clock());
  EXPECT_THAT(Update(&progress, 104, {.step = 1}), IsEmpty());
  EXPECT_THAT(
      Update(&progress, 106,
             {.step = 2, .tokens = 600, .loss = 0.5, .learning_rate = 1e-5}),
      EndsWith(" I distill step 2/40 loss=0.5 lr=1.00e-05 "
               "tokens_per_second=100 left=1:54\n"));
  EXPECT_THAT(Update(&progress, 110, {.step = 3}), IsEmpty());
  EXPECT_THAT(Update(&progress, 110, {.step = 40}), EndsWith(" left=0:00\n"));
}

TEST_F(ProgressTest, RatesLeaveOutWhatAnInterruptedRunDid) {
  Capture(false);
  ProgressLine progress("distill", 40, 30, clock());
  EXPECT_THAT(Update(&progress, 110, {.step = 32, .tokens = 50}),
              EndsWith(" tokens_per_second=5 left=0:40\n"));
}

TEST_F(ProgressTest, SaysNothingOfALossThatThereIsNot) {
  Capture(false);
  ProgressLine progress("calibrate", 30, 0, clock());
  EXPECT_THAT(Update(&progress, 110, {.step = 0}),
              EndsWith("calibrate step 0/30 left=?\n"));
}

TEST_F(ProgressTest, HoursAreWritten) {
  Capture(false);
  ProgressLine progress("distill", 3601, 0, clock());
  EXPECT_THAT(Update(&progress, 110, {.step = 1}),
              EndsWith(" left=10:00:00\n"));
}

}  // namespace
}  // namespace rtpurbo
