#include "kernels/core/trace.h"

#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace rtpurbo {
namespace {

std::vector<std::string> NamesOf(const std::vector<TraceEvent>& events) {
  std::vector<std::string> names;
  names.reserve(events.size());
  for (const TraceEvent& event : events) {
    names.push_back(event.name);
  }
  return names;
}

TEST(TraceTest, SpansLieWithinEachOther) {
  StartTrace();
  {
    const TraceSpan outer("outer", "a");
    const TraceSpan inner("inner", "b");
  }
  EXPECT_TRUE(IsTracing());
  const std::vector<TraceEvent> events = StopTrace();
  EXPECT_FALSE(IsTracing());
  ASSERT_EQ(NamesOf(events), (std::vector<std::string>{"inner", "outer"}));
  EXPECT_STREQ(events[0].kind, "b");
  EXPECT_LE(0, events[1].begin);
  EXPECT_LE(events[1].begin, events[0].begin);
  EXPECT_LE(events[0].begin, events[0].end);
  EXPECT_LE(events[0].end, events[1].end);
}

TEST(TraceTest, StepsFollowEachOther) {
  StartTrace();
  TraceSteps steps("forward");
  steps.Mark("one");
  steps.Mark("two");
  const std::vector<TraceEvent> events = StopTrace();
  ASSERT_EQ(NamesOf(events), (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ(events[0].end, events[1].begin);
}

TEST(TraceTest, NothingIsRecordedBeforeOrAfterOrOnOtherThreads) {
  TraceSteps early("forward");
  early.Mark("before");
  {
    const TraceSpan begun_before("across", "a");
    StartTrace();
  }
  std::thread other([] {
    EXPECT_FALSE(IsTracing());
    const TraceSpan span("elsewhere", "a");
  });
  other.join();
  const TraceSpan open("open", "a");
  EXPECT_TRUE(StopTrace().empty());
  EXPECT_TRUE(StopTrace().empty());
}

TEST(TraceTest, ALongRecordingIsCut) {
  StartTrace();
  TraceSteps steps("forward");
  for (std::int64_t i = 0; i < kMaxTraceEvents + 5; ++i) {
    steps.Mark("x");
  }
  EXPECT_EQ(StopTrace().size(), static_cast<std::size_t>(kMaxTraceEvents));
}

}  // namespace
}  // namespace rtpurbo
