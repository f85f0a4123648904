#include "dist/watchdog.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "dist/peer_net.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/dist/watchdog_run.h"
#include "tests/status_matchers.h"

namespace rtpurbo::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

WatchdogOptions StuckAfter(milliseconds stuck_after) {
  WatchdogOptions options = ShortOptions(0, 1);
  options.stuck_after = stuck_after;
  return options;
}

TEST(WatchdogTest, AWholeRunReportsNothing) {
  TestRun run(4);
  run.StartAll();
  std::this_thread::sleep_for(milliseconds(1500));  // more than the limit
  for (int rank = 0; rank < 4; ++rank) {
    EXPECT_OK(run.At(rank).status());
    EXPECT_EQ(run.reports(rank), 0);
  }
}

TEST(WatchdogTest, OneRankAlone) {
  TestRun run(1);
  run.StartAll();
  run.At(0).Stop();
  EXPECT_OK(run.At(0).status());
}

TEST(WatchdogTest, RanksLeaveInAnyOrder) {
  std::vector<int> order = {0, 1, 2, 3};
  do {
    TestRun run(4);
    run.StartAll();
    for (const int rank : order) {
      run.At(rank).Stop();
      std::this_thread::sleep_for(milliseconds(10));
    }
    for (const int rank : order) {
      EXPECT_OK(run.At(rank).status());
    }
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST(WatchdogTest, WhoLeftCannotBeAccused) {
  TestRun run(1, /*num_impostors=*/2);
  run.StartAll();
  run.impostor(0).Broadcast({.type = internal::MessageType::kLeave}, true);
  std::this_thread::sleep_for(milliseconds(200));
  run.impostor(1).Broadcast(
      {.type = internal::MessageType::kAccuse, .detail = 1, .rank = 1}, true);
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_OK(run.At(0).status());
}

TEST(WatchdogTest, ThoseWhoStayAreStillWatched) {
  TestRun run(4, /*num_impostors=*/1);
  run.StartAll();
  run.At(0).Stop();
  run.At(2).Stop();
  run.Kill(0);
  for (const int rank : {1, 3}) {
    EXPECT_TRUE(Becomes([&] { return run.reports(rank) == 1; }));
    EXPECT_THAT(run.At(rank).status().message(),
                AllOf(HasSubstr("lost 1 of 5 ranks: rank 4 on localhost")));
  }
  EXPECT_EQ(run.reports(0), 0);
}

TEST(WatchdogTest, AClosedConnectionIsADeath) {
  TestRun run(3, /*num_impostors=*/1);
  run.StartAll();
  run.Kill(0);
  for (const std::string& said : run.Reports()) {
    EXPECT_THAT(said, HasSubstr("lost 1 of 4 ranks: rank 3 on localhost: its "
                                "process died (its connection closed)"));
  }
}

TEST(WatchdogTest, RanksThatDieTogetherAreNamedTogether) {
  WatchdogOptions options = ShortOptions(0, 1);
  options.interval = milliseconds(2000);  // its quarter is time enough
  options.limit = milliseconds(20000);
  TestRun run(2, /*num_impostors=*/2, options);
  run.StartAll();
  run.Kill(0);
  run.Kill(1);
  for (const std::string& said : run.Reports()) {
    EXPECT_THAT(said, AllOf(HasSubstr("lost 2 of 4 ranks: rank 2 on"),
                            HasSubstr("; rank 3 on")));
  }
}

TEST(WatchdogTest, SilenceIsFoundAndOnlyAfterTheLimit) {
  TestRun run(3, /*num_impostors=*/1);
  run.StartAll();
  const auto begin = std::chrono::steady_clock::now();
  for (const std::string& said : run.Reports()) {
    EXPECT_THAT(said, HasSubstr("lost 1 of 4 ranks: rank 3 on localhost: no "
                                "beat for "));
  }
  const auto took = std::chrono::steady_clock::now() - begin;
  EXPECT_GT(took, milliseconds(700));
  EXPECT_LT(took, milliseconds(6000));
}

TEST(WatchdogTest, AReporterThatEndsIsNotTakenForDead) {
  TestRun run(3, /*num_impostors=*/1);
  run.StartAll();
  run.impostor(0).Broadcast({.type = internal::MessageType::kReported}, true);
  run.Kill(0);
  std::this_thread::sleep_for(milliseconds(500));
  for (int rank = 0; rank < 3; ++rank) {
    EXPECT_OK(run.At(rank).status());
  }
}

TEST(WatchdogTest, OneWhoHeardTellsAll) {
  TestRun run(3, /*num_impostors=*/1);
  run.StartAll();
  // A link that is down between ranks 3 and 1 only.
  run.impostor(0).Broadcast({.type = internal::MessageType::kAccuse,
                             .detail = 3,  // silent
                             .rank = 1,
                             .by = 3,
                             .number = 1234},
                            true);
  const std::vector<std::string> said = run.Reports();
  EXPECT_THAT(said[0], HasSubstr("rank 1 on localhost: no beat for 1.2 s"));
  EXPECT_THAT(said[0], HasSubstr("seen by rank 3"));
  EXPECT_THAT(said[1], HasSubstr("rank 1 (this one) on localhost: no beat"));
}

TEST(WatchdogTest, TellsTheOtherRanksBeforeItsCaller) {
  TestRun run(1, /*num_impostors=*/2);
  run.StartAll();
  run.Kill(1);
  std::vector<internal::MessageType> heard;
  EXPECT_TRUE(Becomes([&] {
    for (const internal::PeerEvent& event :
         run.impostor(0).Wait(milliseconds(10))) {
      if (event.rank == 0 &&
          event.message.type != internal::MessageType::kBeat) {
        heard.push_back(event.message.type);
        EXPECT_EQ(event.message.rank,
                  event.message.type == internal::MessageType::kAccuse ? 2 : 0);
      }
    }
    return heard.size() == 2;
  }));
  EXPECT_THAT(heard, ElementsAre(internal::MessageType::kAccuse,
                                 internal::MessageType::kReported));
  run.Reports();
}

TEST(WatchdogTest, BytesThatAreNotOursBreakTheirSenderOnly) {
  TestRun run(2, /*num_impostors=*/1);
  run.StartAll();
  run.impostor(0).Broadcast(
      {.type = internal::MessageType::kAccuse, .detail = 1, .rank = 99}, true);
  for (const std::string& said : run.Reports()) {
    EXPECT_THAT(said, HasSubstr("lost 1 of 3 ranks: rank 2 on localhost: its "
                                "connection broke"));
  }
}

TEST(WatchdogTest, AMainThreadWithoutProgressIsStuckAndWaitersAreNot) {
  TestRun run(3, 0, StuckAfter(milliseconds(800)));
  run.StartAll();
  run.At(0).BeginWait();
  run.At(1).Beat();
  run.At(2).BeginWait();
  const std::vector<std::string> said = run.Reports();
  EXPECT_THAT(said[0], AllOf(HasSubstr("lost 1 of 3 ranks: rank 1 on"),
                             HasSubstr("stuck: no progress for "),
                             Not(HasSubstr("seen by"))));
  EXPECT_THAT(said[1], HasSubstr("rank 1 (this one)"));
}

TEST(WatchdogTest, ProgressAndAllowancesKeepARankFree) {
  TestRun run(3, 0, StuckAfter(milliseconds(800)));
  run.StartAll();
  run.At(0).Beat(seconds(60));
  run.At(1).BeginWait();  // for rank 0
  for (int i = 0; i < 30; ++i) {
    run.At(2).Beat();
    std::this_thread::sleep_for(milliseconds(50));
  }
  EXPECT_OK(run.At(0).status());
  EXPECT_OK(run.At(1).status());
}

TEST(WatchdogTest, RanksThatAllWaitForEachOtherAreNamed) {
  TestRun run(2, 0, StuckAfter(milliseconds(500)));
  run.StartAll();
  run.At(0).BeginWait();
  run.At(1).BeginWait();
  for (const std::string& said : run.Reports()) {
    EXPECT_THAT(said, HasSubstr("waits for other ranks since"));
  }
}

TEST(WatchdogTest, EachRankReportsOnceAndStopEndsIt) {
  TestRun run(2, /*num_impostors=*/2);
  run.StartAll();
  run.Kill(0);
  run.Reports();
  run.Kill(1);
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_EQ(run.reports(0), 1);
  EXPECT_THAT(run.At(0).status().message(), HasSubstr("lost 1 of 4"));
  run.At(0).Stop();
  EXPECT_EQ(run.reports(0), 1);
}

TEST(WatchdogTest, ARankThatDoesNotComeIsNamed) {
  WatchdogOptions options = ShortOptions(0, 1);
  options.start_timeout = milliseconds(700);
  TestRun run(2, /*num_impostors=*/1, options);
  // Rank 2 listens but never starts.

  std::vector<absl::Status> statuses(2);
  std::thread first([&] {
    statuses[0] = run.At(0).Start(run.addresses(), [](const auto&) {});
  });
  statuses[1] = run.At(1).Start(run.addresses(), [](const auto&) {});
  first.join();
  for (const absl::Status& status : statuses) {
    EXPECT_THAT(status,
                StatusIs(absl::StatusCode::kUnavailable,
                         HasSubstr("lost 1 of 3 ranks: rank 2 on localhost: "
                                   "did not come within 0.7 s")));
  }
  EXPECT_EQ(run.reports(0), 0);
}

TEST(WatchdogTest, AProcessOfAnEarlierRunCannotJoin) {
  TestRun run(2);
  TestRun earlier(1, /*num_impostors=*/1);
  // Knows where rank 0 listens, but not today's words.
  std::vector<std::string> addresses = {run.At(0).address(),
                                        earlier.impostor(0).address()};
  addresses[0].back() = addresses[0].back() == '0' ? '1' : '0';
  ASSERT_OK(earlier.impostor(0).Connect(
      addresses, std::chrono::steady_clock::now() + seconds(5)));
  run.StartAll();
  EXPECT_OK(run.At(0).status());
}

TEST(WatchdogTest, StrangersHarmNobody) {
  TestRun run(2);
  std::vector<std::unique_ptr<internal::PeerLink>> strangers;
  const internal::PeerAddress address =
      *internal::ParseAddress(run.At(0).address());
  for (int i = 0; i < 8; ++i) {
    auto link = internal::PeerLink::Connect(address, seconds(5));
    ASSERT_OK(link);
    strangers.push_back(*std::move(link));
  }
  strangers[1]->Send({.type = internal::MessageType::kLeave, .rank = 1});
  strangers[2]->Send({.type = internal::MessageType::kHello, .rank = -7});
  strangers[3]->Send({.type = internal::MessageType::kHello, .rank = 1 << 30});
  strangers[4].reset();
  // Half of the words is not enough.
  const std::uint64_t nonce = internal::ParseAddress(run.addresses()[1])->nonce;
  strangers[5]->Send({.type = internal::MessageType::kHello,
                      .rank = 1,
                      .by = 2,
                      .number = address.nonce + 1,
                      .sender_nonce = nonce});
  strangers[6]->Send({.type = internal::MessageType::kHello,
                      .rank = 1,
                      .by = 2,
                      .number = address.nonce,
                      .sender_nonce = nonce + 1});
  run.StartAll();
  EXPECT_FALSE(internal::PeerLink::Connect(address, seconds(5)).ok());
  EXPECT_OK(run.At(0).status());
}

TEST(WatchdogTest, WrongOptionsAndAddressesAreRefused) {
  WatchdogOptions options = ShortOptions(0, 1);
  options.limit = seconds(30);
  EXPECT_THAT(Watchdog::Open(options),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("less than 30000 ms")));
  options = ShortOptions(0, 1);
  options.stuck_after = milliseconds(100);
  EXPECT_THAT(Watchdog::Open(options),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("stuck_after (100 ms)")));
  EXPECT_THAT(
      Watchdog::Open(ShortOptions(0, 1 << 30)),
      StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("ulimit -Hn")));
  for (const char* bad : {"", "localhost:1", "localhost:0/1", "host:1/x"}) {
    auto watchdog = Watchdog::Open(ShortOptions(0, 2));
    ASSERT_OK(watchdog);
    EXPECT_THAT((*watchdog)->Start({(*watchdog)->address(), bad},
                                   [](const absl::Status&) {}),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr("no address of a watchdog")));
  }
  auto watchdog = Watchdog::Open(ShortOptions(0, 2));
  EXPECT_THAT(
      (*watchdog)->Start({"localhost:1/1", "localhost:1/1"},
                         [](const absl::Status&) {}),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not at its")));
}

class WatchdogHostTest : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(NamesAndNumbers, WatchdogHostTest,
                         ::testing::Values("127.0.0.1", "::1", "localhost"));

TEST_P(WatchdogHostTest, RanksMeet) {
  WatchdogOptions options = ShortOptions(0, 1);
  options.host = GetParam();
  TestRun run(3, 0, options);
  run.StartAll();
  EXPECT_OK(run.At(2).status());
}

}  // namespace
}  // namespace rtpurbo::testing
