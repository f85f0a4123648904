#include "data/run_claim.h"

#include <functional>
#include <string>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/run_lock_testing.h"
#include "tests/status_matchers.h"

namespace rtpurbo::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using Clock = std::chrono::steady_clock;

class RunClaimTest : public RunLockTest {
 protected:
  // Acquires while `write` fills an empty claim of a host called slow, which
  // then beats on.
  void ExpectWaitsFor(const std::function<void()>& write) {
    ASSERT_OK(files_.CreateDirectories(root_));
    ASSERT_OK(files_.AppendToFile(Claim(1), ""));
    std::thread writer([&] {
      write();
      for (int i = 0; i < 30; ++i) {
        EXPECT_OK(files_.AppendToFile(Claim(1), internal::BeatLine(i)));
        std::this_thread::sleep_for(milliseconds(20));
      }
    });
    EXPECT_THAT(
        Acquire(OnHost("b")),
        StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("on slow")));
    writer.join();
  }
};

TEST_F(RunClaimTest, ADamagedClaimIsGoneAfterAWhile) {
  const std::string whole = internal::ClaimLine(OnHost("a").self, 1);
  for (const std::string& text :
       {std::string(), whole.substr(0, 40), std::string("{}\nbeat\n"),
        std::string("\0\xff[\n1", 5), std::string("[1]\n")}) {
    ASSERT_OK(files_.RemoveTree(root_));
    ASSERT_OK(files_.CreateDirectories(root_));
    ASSERT_OK(files_.AppendToFile(Claim(7), text));
    const Clock::time_point begin = Clock::now();
    ASSERT_OK_AND_ASSIGN(const Lock lock, Acquire(OnHost("b", kShort)));
    EXPECT_GE(Clock::now() - begin, kShort);
    EXPECT_EQ(lock->incarnation(), 8);
  }
}

TEST_F(RunClaimTest, AClaimThatIsJustBeingWrittenIsWaitedFor) {
  ExpectWaitsFor([this] {
    std::this_thread::sleep_for(milliseconds(200));
    EXPECT_OK(files_.AppendToFile(Claim(1),
                                  internal::ClaimLine(OnHost("slow").self, 1)));
  });
}

// Each change of a damaged claim begins the wait anew.
TEST_F(RunClaimTest, AClaimThatIsWrittenSlowlyIsWaitedFor) {
  const std::string line = internal::ClaimLine(OnHost("slow").self, 1);
  ExpectWaitsFor([&] {
    std::this_thread::sleep_for(milliseconds(1000));
    EXPECT_OK(files_.AppendToFile(Claim(1), line.substr(0, 20)));
    std::this_thread::sleep_for(milliseconds(1000));
    EXPECT_OK(files_.AppendToFile(Claim(1), line.substr(20)));
  });
}

TEST_F(RunClaimTest, AClaimThatWasNeverCompletedIsGone) {
  ASSERT_OK(files_.CreateDirectories(root_));
  ASSERT_OK(files_.AppendToFile(Claim(1), ""));
  std::thread writer([this] {
    std::this_thread::sleep_for(milliseconds(100));
    EXPECT_OK(files_.AppendToFile(Claim(1), "{\"host"));
  });
  EXPECT_OK(Acquire(OnHost("b", kShort)));
  writer.join();
}

TEST_F(RunClaimTest, OtherNamesAreNoClaims) {
  for (const char* name : {"run.lock.9", "run.lock.-0000001", "run.lock.",
                           "run.lock.00000009.tmp", "run.lock.0000000a"}) {
    EXPECT_EQ(internal::IncarnationOf(name), 0) << name;
  }
  EXPECT_EQ(internal::IncarnationOf("run.lock.123456789"), 123456789);
}

}  // namespace
}  // namespace rtpurbo::testing
