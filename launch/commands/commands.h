// The commands that exist. To add one: a file in this folder, a line here, and
// a line in the table of main.cc.

#ifndef RTPURBO_LAUNCH_COMMANDS_COMMANDS_H_
#define RTPURBO_LAUNCH_COMMANDS_COMMANDS_H_

#include <memory>

#include "launch/command.h"

namespace rtpurbo {

std::unique_ptr<Command> NewRunCommand();
std::unique_ptr<Command> NewPrepareCommand();
std::unique_ptr<Command> NewCalibrateCommand();
std::unique_ptr<Command> NewAlignCommand();
std::unique_ptr<Command> NewDistillCommand();
std::unique_ptr<Command> NewEvaluateCommand();
std::unique_ptr<Command> NewGenerateCommand();
std::unique_ptr<Command> NewExportCommand();
std::unique_ptr<Command> NewReportCommand();
std::unique_ptr<Command> NewInspectCommand();
std::unique_ptr<Command> NewTokenizeCommand();
std::unique_ptr<Command> NewVerifyCommand();
std::unique_ptr<Command> NewPlanCommand();

}  // namespace rtpurbo

#endif  // RTPURBO_LAUNCH_COMMANDS_COMMANDS_H_
