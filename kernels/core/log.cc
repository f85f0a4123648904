#include "kernels/core/log.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <ctime>
#include <mutex>

#include "absl/strings/str_replace.h"

namespace rtpurbo {
namespace {

struct State {
  std::mutex mutex;
  LogLevel level = LogLevel::kInfo;
  LogWriter write;
  bool is_terminal = isatty(STDERR_FILENO) == 1;
  std::string status_line;

  std::mutex sink_mutex;
  LogSink sink;
};

// Never destroyed: threads may still log when the program ends.
State& TheState() {
  static State& state = *new State;
  return state;
}

void WriteToStandardError(absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(STDERR_FILENO, bytes.data(), bytes.size());
    if (written <= 0) {
      return;  // nobody is left to be told
    }
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

void Write(const State& state, absl::string_view bytes) {
  if (state.write) {
    state.write(bytes);
  } else {
    WriteToStandardError(bytes);
  }
}

// A longer line would wrap, and then can't be taken back.
std::size_t TerminalWidth() {
  winsize size = {};
  const bool known =
      ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  return known ? size.ws_col - 1U : 79U;
}

std::string TimeOfDay() {
  const std::time_t now = std::time(nullptr);
  std::tm local = {};
  localtime_r(&now, &local);
  std::array<char, 16> text = {};
  std::strftime(text.data(), text.size(), "%H:%M:%S", &local);
  return text.data();
}

std::string OneLine(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"\n", "\\n"}, {"\r", "\\r"}});
}

std::string FieldText(const LogField& field) {
  const std::string value = OneLine(field.value);
  const bool quoted =
      value.empty() || value.find_first_of(" \t\"") != std::string::npos;
  return absl::StrCat(
      " ", field.name, "=",
      quoted ? absl::StrCat("\"", absl::StrReplaceAll(value, {{"\"", "\\\""}}),
                            "\"")
             : value);
}

constexpr char kEraseLine[] = "\r\x1b[K";
constexpr std::array<const char*, 4> kLevelNames = {"debug", "info", "warning",
                                                    "error"};

// What the sink has to say.
std::string TellSink(const LogEvent& event) {
  State& state = TheState();
  const std::lock_guard<std::mutex> lock(state.sink_mutex);
  return state.sink == nullptr ? "" : state.sink(event);
}

void WriteLine(LogLevel level, absl::string_view stage,
               absl::string_view message,
               std::initializer_list<LogField> fields) {
  State& state = TheState();
  const std::lock_guard<std::mutex> lock(state.mutex);
  if (level < state.level) {
    return;
  }
  std::string line = absl::StrCat(
      TimeOfDay(), " ",
      absl::string_view("DIWE").substr(static_cast<std::size_t>(level), 1), " ",
      stage, " ", OneLine(message));
  for (const LogField& field : fields) {
    line += FieldText(field);
  }
  line += "\n";
  if (!state.status_line.empty()) {
    line = absl::StrCat(kEraseLine, line, state.status_line);
  }
  Write(state, line);
}

}  // namespace

const char* Name(LogLevel level) {
  return kLevelNames[static_cast<std::size_t>(level)];
}

void Log(LogLevel level, absl::string_view stage, absl::string_view message,
         std::initializer_list<LogField> fields) {
  WriteLine(level, stage, message, fields);
  const std::string trouble =
      TellSink({level, std::string(stage), std::string(message), fields});
  if (!trouble.empty()) {
    WriteLine(LogLevel::kWarning, "log", trouble, {});
  }
}

void SetLogSink(LogSink sink) {
  State& state = TheState();
  const std::lock_guard<std::mutex> lock(state.sink_mutex);
  state.sink = std::move(sink);
}

void SetLogLevel(LogLevel level) {
  State& state = TheState();
  const std::lock_guard<std::mutex> lock(state.mutex);
  state.level = level;
}

bool ParseLogLevel(absl::string_view name, LogLevel* level) {
  const auto* found = std::find(kLevelNames.begin(), kLevelNames.end(), name);
  if (found == kLevelNames.end()) {
    return false;
  }
  *level = static_cast<LogLevel>(found - kLevelNames.begin());
  return true;
}

void SetLogWriter(LogWriter write, bool is_terminal) {
  State& state = TheState();
  const std::lock_guard<std::mutex> lock(state.mutex);
  state.is_terminal =
      write == nullptr ? isatty(STDERR_FILENO) == 1 : is_terminal;
  state.write = std::move(write);
  state.status_line.clear();
}

namespace internal {

void SetStatusLine(const std::string& line) {
  State& state = TheState();
  const std::lock_guard<std::mutex> lock(state.mutex);
  state.status_line = line.substr(0, TerminalWidth());
  Write(state, absl::StrCat(kEraseLine, state.status_line));
}

bool LogIsTerminal() {
  State& state = TheState();
  const std::lock_guard<std::mutex> lock(state.mutex);
  return state.is_terminal;
}

}  // namespace internal
}  // namespace rtpurbo
