#include "configs/machine.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace rtpurbo {
namespace {

using ::testing::HasSubstr;

TEST(MachineTest, TheFilesAreComplete) {
  const char* root = std::getenv("RTPURBO_ROOT");
  const std::string folder =
      std::string(root == nullptr ? "." : root) + "/configs/machines";
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path());
    std::ostringstream text;
    text << file.rdbuf();
    const auto machine = ParseMachine(text.str(), entry.path().string());
    EXPECT_TRUE(machine.ok()) << machine.status();
    ++count;
  }
  EXPECT_GE(count, 2);
}

TEST(MachineTest, EveryProblemIsNamed) {
  EXPECT_THAT(std::string(ParseMachine("x: 1", "m").status().message()),
              HasSubstr("m:1: "));
  const std::string said(
      ParseMachine("name: \"a\" product_flops: -1 usable_share: 2", "m")
          .status()
          .message());
  EXPECT_THAT(said, HasSubstr("m: product_flops is -1, but must be in"));
  EXPECT_THAT(said, HasSubstr("m: usable_share is 2, but must be in (0, 1]"));
  EXPECT_THAT(said, HasSubstr("m: memory_bytes is missing"));
}

}  // namespace
}  // namespace rtpurbo
