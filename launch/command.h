// One subcommand of the program.

#ifndef RTPURBO_LAUNCH_COMMAND_H_
#define RTPURBO_LAUNCH_COMMAND_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "launch/flags.h"

namespace rtpurbo {

// Made for one call: AddFlags(), then Run(). What it computes goes to standard
// output, what it says on the way to the log.
class Command {
 public:
  virtual ~Command() = default;

  // "inspect".
  virtual absl::string_view name() const = 0;
  // A line for the list of commands: "says what a file is".
  virtual absl::string_view summary() const = 0;
  // What follows the flags on the command line: "PATH"; "" for nothing.
  virtual absl::string_view arguments() const { return ""; }
  // For --help: what it reads, does and writes.
  virtual absl::string_view description() const = 0;

  // Flags write into members.
  virtual void AddFlags(FlagSet* /*flags*/) {}
  // `arguments` are what is no flag: as many as arguments() has words, unless
  // it ends in "...": then at least one.
  virtual absl::Status Run(const std::vector<std::string>& arguments) = 0;
};

}  // namespace rtpurbo

#endif  // RTPURBO_LAUNCH_COMMAND_H_
