#include "dist/bootstrap.h"

#include <cstdlib>
#include <map>
#include <string>

#include "tests/status_matchers.h"

namespace rtpurbo::testing {
namespace {

using ::testing::HasSubstr;

std::optional<Launcher> FindIn(const std::map<std::string, const char*>& env) {
  return FindLauncher([&env](const char* variable) {
    const auto found = env.find(variable);
    return found == env.end() ? nullptr : found->second;
  });
}

void ExpectLauncher(const std::map<std::string, const char*>& env,
                    const std::string& variable, std::optional<int> num_ranks) {
  const std::optional<Launcher> launcher = FindIn(env);
  ASSERT_TRUE(launcher.has_value());
  EXPECT_EQ(launcher->variable, variable);
  EXPECT_EQ(launcher->num_ranks, num_ranks);
}

TEST(BootstrapTest, LaunchersAreFoundInTheEnvironment) {
  ExpectLauncher({{"OMPI_COMM_WORLD_SIZE", "4"}}, "OMPI_COMM_WORLD_SIZE", 4);
  ExpectLauncher({{"PMI_SIZE", "3"}}, "PMI_SIZE", 3);
  ExpectLauncher({{"SLURM_STEP_NUM_TASKS", "2"}}, "SLURM_STEP_NUM_TASKS", 2);
  ExpectLauncher({{"PMIX_RANK", "0"}}, "PMIX_RANK", std::nullopt);
  // mpirun inside a step of srun.
  ExpectLauncher({{"SLURM_STEP_NUM_TASKS", "1"}, {"OMPI_COMM_WORLD_SIZE", "4"}},
                 "OMPI_COMM_WORLD_SIZE", 4);
}

TEST(BootstrapTest, ABatchScriptStartsOneProcess) {
  EXPECT_FALSE(FindIn({}).has_value());
  EXPECT_FALSE(
      FindIn({{"SLURM_NTASKS", "8"}, {"SLURM_PROCID", "0"}}).has_value());
}

TEST(BootstrapTest, ABuildWithoutMpiRefusesToBeOneOfMany) {
  EXPECT_THAT(internal::StartWithoutMpi({"PMI_SIZE", 8}),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("built without MPI, but started as one of 8 "
                                 "ranks (PMI_SIZE is set)")));
  EXPECT_THAT(internal::StartWithoutMpi({"PMIX_RANK", std::nullopt}),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("started as a rank (PMIX_RANK is set)")));
  EXPECT_OK(internal::StartWithoutMpi({"PMI_SIZE", 1}).status());
}

TEST(BootstrapTest, AProcessOfItsOwnIsAWorldOfOne) {
  for (const char* variable : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE",
                               "SLURM_STEP_NUM_TASKS", "PMIX_RANK"}) {
    unsetenv(variable);
  }
  ASSERT_OK_AND_ASSIGN(const auto bootstrap, Bootstrap::Open());
  EXPECT_EQ(bootstrap->rank(), 0);
  EXPECT_EQ(bootstrap->size(), 1);
  EXPECT_EQ(bootstrap->local_rank(), 0);
  EXPECT_EQ(bootstrap->local_size(), 1);
  EXPECT_FALSE(bootstrap->host_name().empty());
  EXPECT_OK(bootstrap->world().Barrier());
  EXPECT_OK(bootstrap->Barrier());
  std::string bytes = "as it was";
  EXPECT_OK(bootstrap->Broadcast(0, &bytes));
  EXPECT_EQ(bytes, "as it was");
  EXPECT_OK(bootstrap->Close());
}

using BootstrapDeathTest = ::testing::Test;

TEST(BootstrapDeathTest, AbortEndsTheProcessWithTheReasonInTheLog) {
  ASSERT_OK_AND_ASSIGN(const auto bootstrap, Bootstrap::Open());
  EXPECT_EXIT(bootstrap->Abort(6, "the disk is full"),
              ::testing::ExitedWithCode(6), "the disk is full");
}

}  // namespace
}  // namespace rtpurbo::testing
