#include "trainer/report_data.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "data/strict_json.h"
#include "kernels/core/status_macros.h"
#include "trainer/report_html.h"

namespace rtpurbo {
namespace {

using Json = nlohmann::json;

// The contents, or nothing if there is no such file.
absl::StatusOr<std::optional<std::string>> ReadIfThere(
    FileSystem& files, const std::string& path) {
  ASSIGN_OR_RETURN(const bool exists, files.Exists(path));
  if (!exists) {
    return std::optional<std::string>();
  }
  ASSIGN_OR_RETURN(std::string contents, files.ReadFile(path));
  return std::optional<std::string>(std::move(contents));
}

absl::StatusOr<Json> ParseObject(absl::string_view text,
                                 const std::string& where) {
  ASSIGN_OR_RETURN(Json json, ParseStrictJson(text, where));
  if (!json.is_object()) {
    return absl::DataLossError(absl::StrCat(where, ": not a JSON object"));
  }
  return json;
}

absl::StatusOr<std::vector<Json>> ReadLines(FileSystem& files,
                                            const std::string& path) {
  std::vector<Json> lines;
  ASSIGN_OR_RETURN(const std::optional<std::string> text,
                   ReadIfThere(files, path));
  int number = 0;
  for (const absl::string_view line : absl::StrSplit(text.value_or(""), '\n')) {
    ++number;
    if (!line.empty()) {
      ASSIGN_OR_RETURN(Json json,
                       ParseObject(line, absl::StrCat(path, ":", number)));
      lines.push_back(std::move(json));
    }
  }
  return lines;
}

absl::StatusOr<std::optional<HeadMap>> ReadMap(FileSystem& files,
                                               const std::string& path) {
  ASSIGN_OR_RETURN(const std::optional<std::string> text,
                   ReadIfThere(files, path));
  if (!text.has_value()) {
    return std::optional<HeadMap>();
  }
  ASSIGN_OR_RETURN(HeadMap map, HeadMapFromText(*text, path));
  return std::optional<HeadMap>(std::move(map));
}

// A line that a crash has cut off is passed over: a log is no result.
absl::StatusOr<std::vector<Json>> ReadWarnings(FileSystem& files,
                                               const std::string& folder) {
  std::vector<Json> warnings;
  ASSIGN_OR_RETURN(const bool exists, files.Exists(folder));
  if (!exists) {
    return warnings;
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(folder));
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(const std::string text,
                     files.ReadFile(JoinPath(folder, name)));
    for (const absl::string_view line : absl::StrSplit(text, '\n')) {
      Json json = Json::parse(line.begin(), line.end(), nullptr,
                              /*allow_exceptions=*/false);
      const std::string level = TextOf(json, "level");
      if (level == "warning" || level == "error") {
        warnings.push_back(std::move(json));
      }
    }
  }
  std::stable_sort(warnings.begin(), warnings.end(),
                   [](const Json& a, const Json& b) {
                     return TextOf(a, "time") < TextOf(b, "time");
                   });
  return warnings;
}

}  // namespace

absl::StatusOr<ReportData> ReadReportData(FileSystem& files,
                                          const std::string& folder) {
  const auto path = [&](const char* name) { return JoinPath(folder, name); };
  ReportData data;
  ASSIGN_OR_RETURN(const std::optional<std::string> config,
                   ReadIfThere(files, path("run.textproto")));
  data.config_text = config.value_or("");
  ASSIGN_OR_RETURN(data.metrics, ReadLines(files, path("metrics.jsonl")));
  ASSIGN_OR_RETURN(data.evaluation, ReadLines(files, path("evaluation.jsonl")));
  ASSIGN_OR_RETURN(const std::optional<std::string> summary,
                   ReadIfThere(files, path("summary.json")));
  if (summary.has_value()) {
    ASSIGN_OR_RETURN(data.summary, ParseObject(*summary, path("summary.json")));
  }
  ASSIGN_OR_RETURN(data.needle,
                   ReadMap(files, path("calibrate/heads.needle.textproto")));
  ASSIGN_OR_RETURN(data.effect,
                   ReadMap(files, path("calibrate/heads.effect.textproto")));
  ASSIGN_OR_RETURN(data.used, ReadMap(files, path("heads.textproto")));
  ASSIGN_OR_RETURN(data.warnings, ReadWarnings(files, path("logs")));
  if (!config.has_value() && data.metrics.empty() && data.evaluation.empty() &&
      data.summary.empty()) {
    return absl::NotFoundError(absl::StrCat(
        folder,
        " holds no run: there is no run.textproto, metrics.jsonl, "
        "evaluation.jsonl or summary.json. Name the folder that was "
        "given as --out"));
  }
  return data;
}

}  // namespace rtpurbo
