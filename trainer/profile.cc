#include "trainer/profile.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "dist/agree.h"
#include "kernels/core/log.h"
#include "kernels/core/status_macros.h"
#include "kernels/core/trace.h"
#include "nlohmann/json.hpp"

namespace rtpurbo {
namespace {

// Chrome's trace events (the Trace Event Format): complete ones, in
// microseconds, one a line, after the name of the process.
std::string EventLines(int rank, const std::vector<TraceEvent>& events) {
  std::vector<std::string> lines = {
      nlohmann::ordered_json{{"name", "process_name"},
                             {"ph", "M"},
                             {"pid", rank},
                             {"args", {{"name", absl::StrCat("rank ", rank)}}}}
          .dump()};
  for (const TraceEvent& event : events) {
    lines.push_back(nlohmann::ordered_json{
        {"name", event.name},
        {"cat", event.kind},
        {"ph", "X"},
        {"ts", event.begin * 1e6},
        {"dur", (event.end - event.begin) * 1e6},
        {"pid", rank},
        {"tid", 0}}.dump());
  }
  return absl::StrJoin(lines, ",\n");
}

}  // namespace

Profile::Profile(const ExecContext& ctx, FileSystem& files, Communicator& ranks,
                 Options options)
    : ctx_(ctx), files_(files), ranks_(ranks), options_(std::move(options)) {}

absl::Status Profile::BeginStep(bool is_last) {
  ++num_steps_;
  if (traced_ < options_.steps && (num_steps_ > 1 || is_last)) {
    ++traced_;
    if (traced_ == 1) {
      RETURN_IF_ERROR(ranks_.Barrier());  // so that all clocks start at once
      StartTrace();
    }
  }
  return absl::OkStatus();
}

absl::Status Profile::EndStep(bool is_last) {
  return IsTracing() && (traced_ == options_.steps || is_last)
             ? Write()
             : absl::OkStatus();
}

absl::Status Profile::Write() {
  const std::string mine = EventLines(ranks_.rank(), StopTrace());
  ASSIGN_OR_RETURN(const std::vector<std::string> all,
                   GatherBytes(ctx_, ranks_, mine));
  return OnFirstRank(ctx_, ranks_, [&]() -> absl::Status {
    const std::string path =
        JoinPath(options_.folder, absl::StrCat(options_.name, ".json"));
    RETURN_IF_ERROR(files_.CreateDirectories(options_.folder));
    RETURN_IF_ERROR(files_.WriteFileAtomically(
        path, absl::StrCat("{\"displayTimeUnit\":\"ms\","
                           "\"traceEvents\":[\n",
                           absl::StrJoin(all, ",\n"), "\n]}\n")));
    Log(LogLevel::kInfo, "profile", "a trace for ui.perfetto.dev",
        {{"steps", traced_}, {"file", path}});
    return absl::OkStatus();
  });
}

}  // namespace rtpurbo
