// The program behind main(): finds the command, parses its flags, runs it.

#ifndef RTPURBO_LAUNCH_PROGRAM_H_
#define RTPURBO_LAUNCH_PROGRAM_H_

#include <memory>
#include <string>
#include <vector>

#include "launch/command.h"

namespace rtpurbo {

using CommandFactory = std::unique_ptr<Command> (*)();

// `arguments` are those after the program's name. Prints help to standard
// output, errors to standard error. Returns the exit code
// (launch/exit_code.h).
int RunProgram(const std::vector<CommandFactory>& commands,
               const std::vector<std::string>& arguments);

}  // namespace rtpurbo

#endif  // RTPURBO_LAUNCH_PROGRAM_H_
