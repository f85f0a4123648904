#include "launch/program.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/launch/run_binary.h"

namespace rtpurbo {
namespace {

using ::rtpurbo::testing::Finished;
using ::rtpurbo::testing::RunBinary;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

TEST(ProgramTest, HelpListsTheCommandsAndExitCodes) {
  for (const char* argument : {"--help", "-h", "help"}) {
    const Finished finished = RunBinary({argument});
    EXPECT_EQ(finished.exit_code, 0);
    EXPECT_THAT(finished.out, AllOf(HasSubstr("Usage: rtpurbo COMMAND"),
                                    HasSubstr("\n  inspect     says what"),
                                    HasSubstr("\n   4  damaged data\n")));
    EXPECT_THAT(finished.err, IsEmpty());
  }
}

TEST(ProgramTest, WithoutACommandIsAUsageError) {
  const Finished finished = RunBinary({});
  EXPECT_EQ(finished.exit_code, 2);
  EXPECT_THAT(finished.out, IsEmpty());
  EXPECT_THAT(finished.err, HasSubstr("Usage: rtpurbo COMMAND"));
}

TEST(ProgramTest, ACommandHasHelpOfItsOwn) {
  for (const auto& arguments : {std::vector<std::string>{"inspect", "--help"},
                                {"inspect", "some path", "-h"},
                                {"inspect", "--no-such-flag", "--help"},
                                {"help", "inspect"}}) {
    const Finished finished = RunBinary(arguments);
    EXPECT_EQ(finished.exit_code, 0);
    EXPECT_THAT(finished.out,
                AllOf(StartsWith("rtpurbo inspect: "),
                      HasSubstr("Usage: rtpurbo inspect [--flag=value ...] "
                                "PATH\n"),
                      HasSubstr("\n  --set=PATH=VALUE (may be repeated)\n")));
  }
}

TEST(ProgramTest, SuggestsACommand) {
  const Finished finished = RunBinary({"inspct"});
  EXPECT_EQ(finished.exit_code, 2);
  EXPECT_EQ(finished.err,
            "rtpurbo: unknown command \"inspct\" (did you mean \"inspect\"?)\n"
            "Try: rtpurbo --help\n");
}

TEST(ProgramTest, SuggestsAFlag) {
  const Finished finished = RunBinary({"inspect", "x", "--sett", "a=1"});
  EXPECT_EQ(finished.exit_code, 2);
  EXPECT_EQ(finished.err,
            "rtpurbo: unknown flag --sett (did you mean \"--set\"?)\n"
            "Try: rtpurbo inspect --help\n");
}

TEST(ProgramTest, CountsArguments) {
  const Finished too_few = RunBinary({"inspect"});
  EXPECT_EQ(too_few.exit_code, 2);
  EXPECT_THAT(too_few.err, StartsWith("rtpurbo: inspect needs PATH\n"));
  const Finished too_many = RunBinary({"inspect", "a", "b"});
  EXPECT_EQ(too_many.exit_code, 2);
  EXPECT_THAT(too_many.err,
              StartsWith("rtpurbo: inspect can't use the argument \"b\"\n"));
}

TEST(ProgramTest, RefusesAnUnknownLogLevel) {
  const Finished finished = RunBinary({"--help"}, {"RTPURBO_LOG=loud"});
  EXPECT_EQ(finished.exit_code, 2);
  EXPECT_THAT(finished.err, HasSubstr("RTPURBO_LOG must be debug, info"));
  EXPECT_EQ(RunBinary({"--help"}, {"RTPURBO_LOG=debug"}).exit_code, 0);
}

}  // namespace
}  // namespace rtpurbo
