// Runs the program as a shell would.

#ifndef RTPURBO_TESTS_LAUNCH_RUN_BINARY_H_
#define RTPURBO_TESTS_LAUNCH_RUN_BINARY_H_

#include <string>
#include <vector>

namespace rtpurbo::testing {

struct Finished {
  int exit_code = -1;  // 128 + the signal's number, if one killed it
  std::string out;
  std::string err;
};

// Starts the program with `arguments` and waits for its end. Its working
// directory is the project's; `environment` ("NAME=value") is added to ours;
// `input` is what it reads from standard input.
Finished RunBinary(const std::vector<std::string>& arguments,
                   const std::vector<std::string>& environment = {},
                   const std::string& input = "");

// Of `command`, for the run in `out` by the recipe test_model with the model in
// `model`; `edits` ("PATH=VALUE") come as --set.
std::vector<std::string> TestRunArguments(
    const std::string& command, const std::string& model,
    const std::string& out, const std::vector<std::string>& edits = {});

// The command line that does so on so many ranks, by mpirun if it is more than
// one, for 200 seconds at most; and what it needs in the environment.
// REQUIRES: the build has MPI, or one rank.
std::vector<std::string> RankWords(int num_ranks,
                                   const std::vector<std::string>& arguments);
std::vector<std::string> RankEnvironment();

// Starts so many ranks of it by mpirun, for 200 seconds at most. What they
// print is mixed. REQUIRES: the build has MPI.
Finished RunBinaryOnRanks(int num_ranks,
                          const std::vector<std::string>& arguments);

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_LAUNCH_RUN_BINARY_H_
