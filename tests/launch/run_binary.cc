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

}  // namespace

Finished RunBinary(const std::vector<std::string>& arguments,
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
  command += " " + Quoted(RTPURBO_BINARY);
  for (const std::string& argument : arguments) {
    command += " " + Quoted(argument);
  }
  command += " <" + Quoted(folder / "in") + " >" + Quoted(folder / "out") +
             " 2>" + Quoted(folder / "err");
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
          Contents(folder / "out"), Contents(folder / "err")};
}

}  // namespace rtpurbo::testing
