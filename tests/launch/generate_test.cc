#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/launch/run_binary.h"
#include "tests/temporary_directory.h"

namespace rtpurbo {
namespace {

using ::rtpurbo::testing::Finished;
using ::rtpurbo::testing::RunBinary;
using ::rtpurbo::testing::TemporaryDirectory;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class GenerateTest : public ::testing::Test {
 protected:
  std::string Write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name) << text;
    return folder_ / name;
  }
  static Finished Generate(const std::string& prompts,
                           const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"generate", "--model=tests/data/tiny",
                                          "--prompts=" + prompts,
                                          "--tokens=12"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunBinary(arguments);
  }
  static void ExpectError(const Finished& finished, int exit_code,
                          const std::string& message) {
    EXPECT_EQ(finished.exit_code, exit_code);
    EXPECT_THAT(finished.out, IsEmpty());
    EXPECT_THAT(finished.err, HasSubstr(message));
  }

  TemporaryDirectory folder_;
};

constexpr char kText[] = "To install the package, use the command";

TEST_F(GenerateTest, ContinuesATextTheSameEveryTime) {
  const Finished first = Generate(Write("a.txt", std::string(kText) + "\n"));
  EXPECT_EQ(first.exit_code, 0) << first.err;
  EXPECT_GT(first.out.size(), 10U);
  EXPECT_EQ(first.out.back(), '\n');
  // The end of the last line is not part of the prompt.
  EXPECT_EQ(Generate(Write("b.txt", kText)).out, first.out);
}

TEST_F(GenerateTest, LinesOfPromptsAreAnsweredByLines) {
  const Finished text = Generate(Write("a.txt", kText));
  const nlohmann::json prompt = {{"prompt", kText}};
  const std::string path =
      Write("a.jsonl", prompt.dump() + "\n\n" + R"({"prompt": "One two"})");
  const Finished lines = Generate(path);
  EXPECT_EQ(lines.exit_code, 0) << lines.err;
  const std::size_t end = lines.out.find('\n');
  const auto first = nlohmann::json::parse(lines.out.substr(0, end));
  EXPECT_EQ(first["prompt"], kText);
  EXPECT_EQ(first["output"].get<std::string>() + "\n", text.out);
  EXPECT_EQ(first["tokens"], 12);
  EXPECT_EQ(first["ended"], false);
  const auto second = nlohmann::json::parse(lines.out.substr(end + 1));
  EXPECT_EQ(second["prompt"], "One two");
}

TEST_F(GenerateTest, DrawsDependOnTheSeedAlone) {
  const std::string path = Write("a.txt", kText);
  const std::vector<std::string> seven = {"--temperature=1.5", "--seed=7"};
  const Finished first = Generate(path, seven);
  EXPECT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(Generate(path, seven).out, first.out);
  EXPECT_NE(Generate(path, {"--temperature=1.5", "--seed=8"}).out, first.out);
  EXPECT_EQ(Generate(path, {"--temperature=1.5", "--top_p=1e-9"}).out,
            Generate(path).out);
}

TEST_F(GenerateTest, WrongFlagsAreUsageErrors) {
  const std::string path = Write("a.txt", kText);
  ExpectError(RunBinary({"generate", "--prompts=" + path}), 2,
              "--model is missing");
  ExpectError(RunBinary({"generate", "--model=tests/data/tiny"}), 2,
              "--prompts is missing");
  ExpectError(Generate(path, {"--temperature=-1"}), 2, "--temperature is -1");
  ExpectError(Generate(path, {"--temperature=nan"}), 2, "--temperature");
  ExpectError(Generate(path, {"--top_p=0"}), 2, "--top_p is 0");
  ExpectError(RunBinary({"generate", "--model=tests/data/tiny",
                         "--prompts=" + path, "--tokens=0"}),
              2, "--tokens is 0");
}

TEST_F(GenerateTest, UnfitInputsAreNamed) {
  ExpectError(Generate(folder_ / "missing.txt"), 3, "missing.txt");
  ExpectError(Generate("-"), 3, "standard input: the prompt is empty");
  const std::string wrong = Write("a.jsonl", "{\"prompt\": \"x\"}\n{\"p\": 1}");
  ExpectError(Generate(wrong), 3, wrong + ":2: every line must be an object");
  const std::string blank = Write("b.jsonl", "\n\n");
  ExpectError(Generate(blank), 3, "holds no prompt");
  ExpectError(
      RunBinary({"generate", "--model=tests/data/tiny",
                 "--prompts=" + Write("a.txt", kText), "--tokens=32768"}),
      3, "beyond the 32768 positions of tests/data/tiny");
}

// A folder with headwise_config runs as that says: here with windows so small
// that the text is another one.
TEST_F(GenerateTest, AConvertedFolderRunsSparsely) {
  const std::string path = Write("a.txt", kText);
  const std::string model = folder_ / "model";
  const std::string tiny =
      std::string(std::getenv("RTPURBO_ROOT")) + "/tests/data/tiny";
  std::filesystem::copy(tiny, model);
  const std::string config_path = model + "/config.json";
  auto config = nlohmann::json::parse(std::ifstream(config_path));
  const auto generate = [&](int threshold, bool retrieval) {
    nlohmann::json& heads = config["headwise_config"];
    heads = {{"sink_token_num", 1},
             {"swa_token_num", 2},
             {"seqlen_threshold", threshold}};
    for (int layer = 0; layer < 4; ++layer) {
      heads[std::to_string(layer)] = std::vector<int>(8, retrieval ? 1 : 0);
    }
    std::ofstream(config_path) << config.dump();
    return RunBinary(
        {"generate", "--model", model, "--prompts", path, "--tokens", "12"});
  };
  const Finished dense = Generate(path);
  const Finished local = generate(1, false);
  EXPECT_EQ(local.exit_code, 0) << local.err;
  EXPECT_NE(local.out, dense.out);
  EXPECT_EQ(generate(1000, false).out, dense.out);  // too short to be sparse
  EXPECT_EQ(generate(1, true).out, dense.out);      // no head is local
  ExpectError(generate(-5, true), 3, "seqlen_threshold");
}

TEST_F(GenerateTest, FoldersThatAreNoModelAreRefused) {
  const std::string path = Write("a.txt", kText);
  ExpectError(
      RunBinary({"generate", "--model=" + folder_.path(), "--prompts=" + path}),
      3, "config.json");
}

}  // namespace
}  // namespace rtpurbo
