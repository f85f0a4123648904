// The commands that make a run, as a user starts them.

#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "data/file_system.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/launch/run_binary.h"
#include "tests/temporary_directory.h"
#include "tests/trainer/test_model.h"
#include "trainer/conversion/artefacts.h"

namespace rtpurbo::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class ConversionCommandTest : public ::testing::Test {
 protected:
  ConversionCommandTest() { WriteTestModel(model_.path(), 3); }

  Finished Start(const std::string& command, const std::string& out,
                 const std::vector<std::string>& edits = {}) const {
    return RunBinary(TestRunArguments(command, model_.path(), out, edits));
  }
  // Kills the program with SIGKILL after so many seconds.
  void StartAndKill(const std::string& out, double seconds) const {
    std::string line = absl::StrCat("cd \"$RTPURBO_ROOT\" && timeout -s KILL ",
                                    seconds, " ", RTPURBO_BINARY);
    for (const std::string& argument :
         TestRunArguments("run", model_.path(), out)) {
      absl::StrAppend(&line, " '", argument, "'");
    }
    absl::StrAppend(&line, " > /dev/null 2>&1");
    EXPECT_NE(std::system(line.c_str()), -1);
  }
  static std::string Digest(const std::string& out) {
    std::string digests;
    for (const char* name :
         {"heads.textproto", "prepare", "align", "distill", "export"}) {
      digests += DigestOf(RealFileSystem(), JoinPath(out, name)).value() + " ";
    }
    return digests;
  }

  TemporaryDirectory model_{TemporaryDirectory::Where::kInMemory};
  TemporaryDirectory out_{TemporaryDirectory::Where::kInMemory};
};

TEST_F(ConversionCommandTest, RunMakesAllAndSaysWhereTheReportIs) {
  const Finished finished = Start("run", out_ / "a");
  EXPECT_EQ(finished.exit_code, 0) << finished.err;
  EXPECT_THAT(finished.out, HasSubstr("report: " + (out_ / "a/report.html")));
  // The folder knows its configuration.
  const Finished again = RunBinary({"run", "--out", out_ / "a"});
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_THAT(again.err, HasSubstr("distill complete and unchanged: skipped"));
  EXPECT_THAT(again.err, Not(HasSubstr("starts")));
}

TEST_F(ConversionCommandTest, AStageWithoutWhatItReadsIsRefused) {
  const Finished finished = Start("align", out_ / "a");
  EXPECT_EQ(finished.exit_code, 3);
  EXPECT_THAT(finished.err, HasSubstr("stage prepare"));
}

TEST_F(ConversionCommandTest, KilledAtAnyMomentItEndsWithTheSameBytes) {
  ASSERT_EQ(Start("run", out_ / "whole").exit_code, 0);
  for (const double seconds : {0.05, 0.15, 0.25, 0.4, 0.6, 0.8, 1.2}) {
    const std::string out = out_ / absl::StrCat("killed_", seconds);
    StartAndKill(out, seconds);
    StartAndKill(out, seconds);
    const Finished finished = Start("run", out);
    ASSERT_EQ(finished.exit_code, 0) << finished.err;
    EXPECT_EQ(Digest(out), Digest(out_ / "whole")) << seconds << " s";
  }
}

TEST_F(ConversionCommandTest, AMissingTextIsNamed) {
  const Finished finished =
      Start("run", out_ / "a", {"data.paths=[\"no/such/file.txt\"]"});
  EXPECT_EQ(finished.exit_code, 3);
  EXPECT_THAT(finished.err, HasSubstr("no/such/file.txt"));
}

TEST_F(ConversionCommandTest, TextThatIsTooShortIsNamed) {
  const Finished finished = Start("run", out_ / "a", {"data.tokens=100000"});
  EXPECT_EQ(finished.exit_code, 3);
  EXPECT_THAT(finished.err, HasSubstr("tokens"));
}

TEST_F(ConversionCommandTest, AFolderThatCannotBeMadeIsNamed) {
  const Finished finished = Start("run", "/proc/no/run");
  EXPECT_NE(finished.exit_code, 0);
  EXPECT_THAT(finished.err, HasSubstr("/proc/no"));
}

TEST_F(ConversionCommandTest, AnybodysQuestionsAreAsked) {
  ASSERT_EQ(Start("run", out_ / "a").exit_code, 0);
  const std::string path = out_ / "mine.jsonl";
  const auto ask = [&](const std::string& lines) {
    EXPECT_TRUE(RealFileSystem().WriteFileAtomically(path, lines).ok());
    return RunBinary({"evaluate", "--out", out_ / "a", "--questions", path});
  };
  const std::string question =
      R"({"id": "1", "kind": "k", "prompt": "Who?", "answers": ["me"]})"
      "\n";
  const Finished finished = ask(question);
  EXPECT_EQ(finished.exit_code, 0) << finished.err;
  EXPECT_THAT(finished.out, HasSubstr("stage 2"));
  const std::string answers =
      RealFileSystem().ReadFile(out_ / "a/questions/mine.jsonl").value();
  EXPECT_THAT(answers, HasSubstr("\"model\":\"dense\""));
  const Finished malformed = ask(question + "{\"id\": 2}\n");
  EXPECT_EQ(malformed.exit_code, 3);
  EXPECT_THAT(malformed.err, HasSubstr("mine.jsonl:2"));
}

TEST_F(ConversionCommandTest, ReportOfACopiedFolderIsTheSamePage) {
  ASSERT_EQ(Start("run", out_ / "a").exit_code, 0);
  const std::string page =
      RealFileSystem().ReadFile(out_ / "a/report.html").value();
  ASSERT_EQ(std::system(("cp -r " + (out_ / "a") + " " + (out_ / "b")).c_str()),
            0);
  ASSERT_TRUE(RealFileSystem().Remove(out_ / "b/report.html").ok());
  EXPECT_EQ(RunBinary({"report", out_ / "b"}).exit_code, 0);
  EXPECT_EQ(RealFileSystem().ReadFile(out_ / "b/report.html").value(), page);
}

}  // namespace
}  // namespace rtpurbo::testing
