#include "tests/launch/run_binary.h"

#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "gtest/gtest.h"
#include "kernels/core/check.h"
#include "tests/temporary_directory.h"

namespace rtpurbo::testing {
namespace {

// For sh: nothing in single quotes is special but they themselves.
std::string Quoted(const std::string& word) {
  std::string quoted = "'";
  for (const char c : word) {
    quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  }
  return quoted + "'";
}

std::string Contents(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// Runs `words` with `environment`.
Finished RunWords(const std::vector<std::string>& words,
                  const std::vector<std::string>& environment,
                  const std::string& input) {
  const TemporaryDirectory folder;
  std::ofstream(folder / "in", std::ios::binary) << input;
  const char* root = std::getenv("RTPURBO_ROOT");
  CHECK(root != nullptr) << "run this test by ctest";
  std::string command = "cd " + Quoted(root) + " && exec env";
  for (const std::string& variable : environment) {
    command += " " + Quoted(variable);
  }
  for (const std::string& word : words) {
    command += " " + Quoted(word);
  }
  command += " <" + Quoted(folder / "in") + " >" + Quoted(folder / "out") +
             " 2>" + Quoted(folder / "err");
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
          Contents(folder / "out"), Contents(folder / "err")};
}

}  // namespace

Finished RunBinary(const std::vector<std::string>& arguments,
                   const std::vector<std::string>& environment,
                   const std::string& input) {
  std::vector<std::string> words = {RTPURBO_BINARY};
  words.insert(words.end(), arguments.begin(), arguments.end());
  return RunWords(words, environment, input);
}

std::vector<std::string> TestRunArguments(
    const std::string& command, const std::string& model,
    const std::string& out, const std::vector<std::string>& edits) {
  std::vector<std::string> arguments = {
      command, "--run=configs/recipes/test_model.textproto", "--out=" + out,
      "--set=model.path=\"" + model + "\"",
      "--set=data.paths=[\"" + model + "/text\"]"};
  for (const std::string& edit : edits) {
    arguments.push_back("--set=" + edit);
  }
  return arguments;
}

std::vector<std::string> RankWords(int num_ranks,
                                   const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {"timeout", "--kill-after=5", "200"};
  if (num_ranks > 1) {
    words.insert(words.end(),
                 {RTPURBO_MPIEXEC, "-n", std::to_string(num_ranks)});
  }
  words.emplace_back(RTPURBO_BINARY);
  words.insert(words.end(), arguments.begin(), arguments.end());
  return words;
}

std::vector<std::string> RankEnvironment() {
  return {"ASAN_OPTIONS=detect_leaks=0",  // MPI's plug-ins leave some
          "OMPI_ALLOW_RUN_AS_ROOT=1",
          "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
          "OMPI_MCA_plm_rsh_agent=/bin/false",
          "OMPI_MCA_rmaps_base_oversubscribe=1",
          "OMPI_MCA_hwloc_base_binding_policy=none",
          "OMPI_MCA_mca_base_component_show_load_errors=0"};
}

Finished RunBinaryOnRanks(int num_ranks,
                          const std::vector<std::string>& arguments) {
  return RunWords(RankWords(num_ranks, arguments), RankEnvironment(), "");
}

}  // namespace rtpurbo::testing
