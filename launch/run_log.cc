#include "launch/run_log.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "kernels/core/log.h"
#include "nlohmann/json.hpp"

namespace rtpurbo {
namespace {

std::string LineOf(const LogEvent& event, int rank) {
  nlohmann::ordered_json json = {
      {"time", absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(),
                                absl::UTCTimeZone())},
      {"rank", rank},
      {"level", Name(event.level)},
      {"stage", event.stage},
      {"message", event.message}};
  for (const LogField& field : event.fields) {
    json[field.name] = field.value;
  }
  // A name of a file need not be UTF-8.
  return json.dump(-1, ' ', false,
                   nlohmann::ordered_json::error_handler_t::replace) +
         "\n";
}

}  // namespace

RunLog::RunLog(FileSystem& files, const std::string& folder, int rank) {
  const std::string dir = JoinPath(folder, "logs");
  const std::string path =
      JoinPath(dir, absl::StrFormat("rank_%04d.jsonl", rank));
  absl::Status made = files.CreateDirectories(dir);
  SetLogSink([&files, path, rank, has_said = false, status = std::move(made)](
                 const LogEvent& event) mutable -> std::string {
    if (status.ok()) {
      status = files.AppendToFile(path, LineOf(event, rank));
    }
    const bool is_new = !status.ok() && !has_said;
    has_said = !status.ok();
    return is_new ? absl::StrCat("events no longer go to ", path, ": ",
                                 status.message())
                  : "";
  });
}

RunLog::~RunLog() {
  SetLogSink(nullptr);
}

}  // namespace rtpurbo
