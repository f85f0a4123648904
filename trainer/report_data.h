// The files of a run folder, read for its report.

#ifndef RTPURBO_TRAINER_REPORT_DATA_H_
#define RTPURBO_TRAINER_REPORT_DATA_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/file_system.h"
#include "model/head_map.h"
#include "nlohmann/json.hpp"

namespace rtpurbo {

struct ReportData {
  std::string config_text;                 // run.textproto; "" if there is none
  std::vector<nlohmann::json> metrics;     // lines of metrics.jsonl
  std::vector<nlohmann::json> evaluation;  // lines of evaluation.jsonl
  nlohmann::json summary = nlohmann::json::object();
  std::vector<nlohmann::json> warnings;  // of logs/*.jsonl, by time
  std::optional<HeadMap> needle;
  std::optional<HeadMap> effect;
  std::optional<HeadMap> used;  // heads.textproto
};

// What is missing is left empty.
// Returns NotFound if there is none of these files, DataLoss naming file and
// line for one that cannot be read as what it should be.
absl::StatusOr<ReportData> ReadReportData(FileSystem& files,
                                          const std::string& folder);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_REPORT_DATA_H_
