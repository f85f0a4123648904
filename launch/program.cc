#include "launch/program.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <iostream>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kernels/core/closest.h"
#include "kernels/core/log.h"
#include "kernels/core/status_macros.h"
#include "launch/exit_code.h"

namespace rtpurbo {
namespace {

using Commands = std::vector<std::unique_ptr<Command>>;

std::string Overview(const Commands& commands) {
  std::string text =
      "rtpurbo turns a language model with full attention into a sparse one.\n"
      "\n"
      "Usage: rtpurbo COMMAND [--flag=value ...] [argument ...]\n"
      "\n"
      "Commands:\n";
  for (const auto& command : commands) {
    const std::size_t padding =
        12 - std::min<std::size_t>(11, command->name().size());
    absl::StrAppend(&text, "  ", command->name(), std::string(padding, ' '),
                    command->summary(), "\n");
  }
  absl::StrAppend(
      &text, "\n\"rtpurbo COMMAND --help\" says what one does.\n\n",
      "Environment:\n"
      "  RTPURBO_LOG      lowest level of the log on standard error: debug,\n"
      "                   info (default), warning, error\n"
      "  RTPURBO_THREADS  threads, if the configuration does not say\n\n",
      kExitCodeHelp);
  return text;
}

std::string Help(const Command& command, const FlagSet& flags) {
  std::string text =
      absl::StrCat("rtpurbo ", command.name(), ": ", command.summary(), "\n\n",
                   "Usage: rtpurbo ", command.name());
  const std::string flag_help = flags.Help();
  if (!flag_help.empty()) {
    absl::StrAppend(&text, " [--flag=value ...]");
  }
  if (!command.arguments().empty()) {
    absl::StrAppend(&text, " ", command.arguments());
  }
  absl::StrAppend(&text, "\n\n", Wrap(command.description(), 0, 80));
  if (!flag_help.empty()) {
    absl::StrAppend(&text, "\nFlags:\n", flag_help);
  }
  return text;
}

int UsageError(absl::string_view message, absl::string_view command) {
  std::cerr << "rtpurbo: " << message << "\nTry: rtpurbo"
            << (command.empty() ? "" : " ") << command << " --help\n";
  return kExitUsage;
}

Command* Find(const Commands& commands, absl::string_view name) {
  for (const auto& command : commands) {
    if (command->name() == name) {
      return command.get();
    }
  }
  return nullptr;
}

int UnknownCommand(const Commands& commands, const std::string& name) {
  std::vector<std::string> names;
  names.reserve(commands.size());
  for (const auto& command : commands) {
    names.emplace_back(command->name());
  }
  return UsageError(
      absl::StrCat("unknown command \"", name, "\"", DidYouMean(name, names)),
      "");
}

// Whether as many arguments came as the command takes.
absl::Status CheckCount(const Command& command,
                        const std::vector<std::string>& arguments) {
  const std::vector<std::string> wanted =
      absl::StrSplit(command.arguments(), ' ', absl::SkipEmpty());
  const bool open = absl::EndsWith(command.arguments(), "...");
  if (arguments.size() < wanted.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(command.name(), " needs ", wanted[arguments.size()]));
  }
  if (arguments.size() > wanted.size() && !open) {
    return absl::InvalidArgumentError(
        absl::StrCat(command.name(), " can't use the argument \"",
                     arguments[wanted.size()], "\""));
  }
  return absl::OkStatus();
}

bool AsksForHelp(const std::vector<std::string>& arguments) {
  for (const std::string& argument : arguments) {
    if (argument == "--") {
      return false;
    }
    if (argument == "--help" || argument == "-h") {
      return true;
    }
  }
  return false;
}

// Also what was printed must have arrived, on a full disk say.
int Finish(const absl::Status& status) {
  std::cout.flush();
  if (!status.ok()) {
    std::cerr << "rtpurbo: " << status.message() << "\n";
    return ExitCodeOf(status);
  }
  if (!std::cout) {
    std::cerr << "rtpurbo: cannot write to standard output\n";
    return kExitMachine;
  }
  return kExitDone;
}

int RunCommand(Command* command, const std::vector<std::string>& arguments) {
  FlagSet flags;
  command->AddFlags(&flags);
  if (AsksForHelp(arguments)) {
    std::cout << Help(*command, flags);
    return Finish(absl::OkStatus());
  }
  const absl::StatusOr<std::vector<std::string>> rest = flags.Parse(arguments);
  const absl::Status usage =
      rest.ok() ? CheckCount(*command, *rest) : rest.status();
  if (!usage.ok()) {
    return UsageError(usage.message(), command->name());
  }
  return Finish(command->Run(*rest));
}

bool SetLogLevelFromEnvironment() {
  const char* name = std::getenv("RTPURBO_LOG");
  LogLevel level = LogLevel::kInfo;
  if (name != nullptr && !ParseLogLevel(name, &level)) {
    return false;
  }
  SetLogLevel(level);
  return true;
}

}  // namespace

int RunProgram(const std::vector<CommandFactory>& commands,
               const std::vector<std::string>& arguments) {
  Commands all;
  all.reserve(commands.size());
  for (const CommandFactory& factory : commands) {
    all.push_back(factory());
  }
  if (!SetLogLevelFromEnvironment()) {
    return UsageError("RTPURBO_LOG must be debug, info, warning or error", "");
  }
  if (arguments.empty()) {
    std::cerr << Overview(all);
    return kExitUsage;
  }
  std::vector<std::string> rest(arguments.begin() + 1, arguments.end());
  std::string name = arguments[0];
  if (name == "help" && !rest.empty()) {
    name = rest[0];
    rest = {"--help"};
  }
  if (name == "help" || name == "--help" || name == "-h") {
    std::cout << Overview(all);
    return Finish(absl::OkStatus());
  }
  Command* command = Find(all, name);
  return command == nullptr ? UnknownCommand(all, name)
                            : RunCommand(command, rest);
}

}  // namespace rtpurbo
