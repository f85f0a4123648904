// What the program says while it works: one line an event, on standard error.
//
//   12:34:56 I align held-out loss step=10 loss=0.0123
//
// (local time; D, I, W or E; the stage; the message; numbers by name). The only
// output that a library makes. Thread-safe: a line is written whole.

#ifndef RTPURBO_KERNELS_CORE_LOG_H_
#define RTPURBO_KERNELS_CORE_LOG_H_

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace rtpurbo {

enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarning, kError };

// A number or a word of an event. Quoted if it has a space in it.
struct LogField {
  LogField(absl::string_view field_name, const absl::AlphaNum& field_value)
      : name(field_name), value(field_value.Piece()) {}
  std::string name;
  std::string value;
};

// "debug", "info", "warning", "error".
const char* Name(LogLevel level);

// Line breaks in `message` are written as \n: an event stays one line.
void Log(LogLevel level, absl::string_view stage, absl::string_view message,
         std::initializer_list<LogField> fields = {});

// Events below `level` are dropped. At the start: kInfo.
void SetLogLevel(LogLevel level);
// Sets *level to what "debug", "info", "warning" or "error" names.
bool ParseLogLevel(absl::string_view name, LogLevel* level);

// Where bytes go instead of to standard error, and whether that is a terminal;
// a null `write` restores standard error. For tests.
using LogWriter = std::function<void(absl::string_view bytes)>;
void SetLogWriter(LogWriter write, bool is_terminal);

struct LogEvent {
  LogLevel level;
  std::string stage;
  std::string message;
  std::vector<LogField> fields;
};
// Who is told of every event besides, of any level; null: nobody, as at first.
// One at a time; it must not log. What it returns is said on standard error if
// it is not empty.
using LogSink = std::function<std::string(const LogEvent& event)>;
void SetLogSink(LogSink sink);

namespace internal {

// The line at the bottom of a terminal, below all events; "" for none.
void SetStatusLine(const std::string& line);
bool LogIsTerminal();

}  // namespace internal
}  // namespace rtpurbo

#endif  // RTPURBO_KERNELS_CORE_LOG_H_
