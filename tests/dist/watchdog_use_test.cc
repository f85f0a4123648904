// The watchdog as a command uses it: with communicators, errors and requests to
// stop.

#include <string>
#include <thread>
#include <vector>

#include "dist/thread_communicator.h"
#include "dist/watchdog.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/dist/watchdog_run.h"
#include "tests/status_matchers.h"

namespace rtpurbo::testing {
namespace {

using ::testing::HasSubstr;

TEST(WatchdogUseTest, ARankThatEndsWithAnErrorIsNamedForIt) {
  TestRun run(3);
  run.StartAll();
  run.At(1).Fail();
  for (const int rank : {0, 2}) {
    EXPECT_TRUE(Becomes([&] { return run.reports(rank) == 1; }));
    EXPECT_THAT(run.At(rank).status().message(),
                HasSubstr("lost 1 of 3 ranks: rank 1 on localhost: it ended "
                          "with an error"));
  }
  EXPECT_EQ(run.reports(1), 0);
}

// One who ends because another is lost is not to blame.
TEST(WatchdogUseTest, WhoFailsAfterALossIsNotNamed) {
  WatchdogOptions options = ShortOptions(0, 1);
  options.interval = milliseconds(2000);  // reports after a quarter
  options.limit = milliseconds(20000);
  TestRun run(2, /*num_impostors=*/1, options);
  run.StartAll();
  run.Kill(0);
  std::this_thread::sleep_for(milliseconds(200));
  run.At(1).Fail();
  EXPECT_TRUE(Becomes([&] { return run.reports(0) == 1; }));
  EXPECT_THAT(run.At(0).status().message(),
              HasSubstr("lost 1 of 3 ranks: rank 2 on"));
}

TEST(WatchdogUseTest, ARequestToStopReachesAllRanks) {
  std::vector<StopRequest> stops(3);
  TestRun run(3, 0, ShortOptions(0, 1), &stops);
  run.StartAll();
  std::this_thread::sleep_for(milliseconds(200));
  for (const StopRequest& stop : stops) {
    EXPECT_FALSE(stop.is_set());
  }
  stops[1].Set();
  for (const StopRequest& stop : stops) {
    EXPECT_TRUE(Becomes([&] { return stop.is_set(); }));
  }
  for (int rank = 0; rank < 3; ++rank) {
    EXPECT_OK(run.At(rank).status());
  }
}

// A collective is a wait, and what follows is not.
TEST(WatchdogUseTest, CommunicatorsSayThatTheyWait) {
  WatchdogOptions options = ShortOptions(0, 1);
  options.stuck_after = milliseconds(600);
  TestRun run(2, 0, options);
  run.StartAll();
  RunRanks(2, [&](Communicator& comm) {
    comm.set_watchdog(&run.At(comm.rank()));
    const std::vector<int> both = {0, 1};
    const auto group = comm.Split(both);
    ASSERT_OK(group);
    for (int i = 0; i < 20 && comm.rank() == 0; ++i) {
      run.At(0).Beat();
      std::this_thread::sleep_for(milliseconds(50));
    }
    EXPECT_OK((*group)->Barrier());  // rank 1 has waited for long
    EXPECT_OK(run.At(0).status());
  });
  for (const std::string& said : run.Reports()) {
    EXPECT_THAT(said, HasSubstr("stuck: no progress for "));
  }
}

}  // namespace
}  // namespace rtpurbo::testing
