#include "data/process_identity.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "gtest/gtest.h"

namespace rtpurbo::testing {
namespace {

TEST(ProcessIdentityTest, ThisProcessRuns) {
  const ProcessIdentity self = ThisProcess();
  EXPECT_EQ(self.pid, getpid());
  EXPECT_GT(self.start_ticks, 0);
  EXPECT_FALSE(self.host.empty());
  EXPECT_EQ(self, ThisProcess());
  EXPECT_EQ(StateOf(self), ProcessState::kRuns);
}

TEST(ProcessIdentityTest, ANumberThatWasGivenAgainIsAnotherProcess) {
  ProcessIdentity other = ThisProcess();
  other.start_ticks -= 1;
  EXPECT_EQ(StateOf(other), ProcessState::kGone);
}

TEST(ProcessIdentityTest, NothingIsKnownOfAnotherPlace) {
  ProcessIdentity other = ThisProcess();
  other.place = "another boot";
  EXPECT_EQ(StateOf(other), ProcessState::kUnknown);
}

TEST(ProcessIdentityTest, AProcessThatEndedIsGoneBeforeAndAfterItIsWaitedFor) {
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    const ProcessIdentity self = ThisProcess();
    const bool is_written =
        write(pipe_fds[1], &self.start_ticks, sizeof(self.start_ticks)) > 0;
    pause();
    _exit(is_written ? 0 : 1);
  }
  ProcessIdentity child = ThisProcess();
  child.pid = pid;
  ASSERT_GT(read(pipe_fds[0], &child.start_ticks, sizeof(child.start_ticks)),
            0);
  EXPECT_EQ(StateOf(child), ProcessState::kRuns);
  kill(pid, SIGKILL);
  siginfo_t info;
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(StateOf(child), ProcessState::kGone);
  waitpid(pid, nullptr, 0);
  EXPECT_EQ(StateOf(child), ProcessState::kGone);
  close(pipe_fds[0]);
  close(pipe_fds[1]);
}

TEST(ProcessIdentityTest, KnowsItsSlurmJob) {
  setenv("SLURM_CLUSTER_NAME", "t", 1);
  setenv("SLURM_JOB_ID", "12", 1);
  unsetenv("SLURM_RESTART_COUNT");
  EXPECT_EQ(ThisProcess().job, "t/12");
  EXPECT_EQ(ThisProcess().job_restarts, 0);
  setenv("SLURM_RESTART_COUNT", "3", 1);
  EXPECT_EQ(ThisProcess().job_restarts, 3);
  unsetenv("SLURM_JOB_ID");
  EXPECT_EQ(ThisProcess().job, "");
  EXPECT_EQ(ThisProcess().job_restarts, 0);
  unsetenv("SLURM_CLUSTER_NAME");
  unsetenv("SLURM_RESTART_COUNT");
}

}  // namespace
}  // namespace rtpurbo::testing
