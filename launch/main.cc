// One program for everything: rtpurbo COMMAND.

#include <csignal>
#include <cstdlib>
#include <string>
#include <vector>

#include "launch/commands/commands.h"
#include "launch/exit_code.h"
#include "launch/program.h"

int main(int argc, char** argv) {
  // A failed CHECK has printed what it has to say.
  std::signal(SIGABRT, [](int) { std::_Exit(rtpurbo::kExitBug); });
  return rtpurbo::RunProgram(
      {
          rtpurbo::NewRunCommand,
          rtpurbo::NewPrepareCommand,
          rtpurbo::NewCalibrateCommand,
          rtpurbo::NewAlignCommand,
          rtpurbo::NewDistillCommand,
          rtpurbo::NewEvaluateCommand,
          rtpurbo::NewGenerateCommand,
          rtpurbo::NewExportCommand,
          rtpurbo::NewReportCommand,
          rtpurbo::NewInspectCommand,
          rtpurbo::NewTokenizeCommand,
          rtpurbo::NewVerifyCommand,
          rtpurbo::NewPlanCommand,
      },
      std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc));
}
