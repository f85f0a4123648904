#include "configs/load.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "configs/defaults.h"
#include "configs/edit.h"
#include "configs/origins.h"
#include "configs/text_problems.h"
#include "configs/validate.h"
#include "google/protobuf/text_format.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {

absl::StatusOr<configs::Run> LoadRun(const std::string& path,
                                     const std::vector<std::string>& edits,
                                     std::int64_t world_size) {
  std::ifstream file(path);
  if (!file) {
    return absl::NotFoundError(absl::StrCat(
        "can't open the configuration \"", path, "\": ", std::strerror(errno)));
  }
  std::error_code ignored;  // a folder can be opened, but not read
  if (std::filesystem::is_directory(path, ignored)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the configuration \"", path, "\" is a folder: name a text file"));
  }
  std::ostringstream text;
  text << file.rdbuf();
  return ParseRun(text.str(), path, edits, world_size);
}

absl::StatusOr<configs::Run> ParseRun(const std::string& text,
                                      const std::string& name,
                                      const std::vector<std::string>& edits,
                                      std::int64_t world_size) {
  configs::Run run;
  google::protobuf::TextFormat::ParseInfoTree tree;
  TextProblems problems(text, name);
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&problems);
  parser.WriteLocationsTo(&tree);
  parser.AllowUnknownField(true);
  if (!parser.ParseFromString(text, &run)) {
    return problems.ToStatus();
  }
  FieldOrigins origins(name);
  origins.AddText(run, tree);
  for (const std::string& edit : edits) {
    const absl::Status status = ApplyEdit(edit, &run, &origins);
    if (!status.ok()) {
      problems.Add(status.message());
    }
  }
  FillDefaults(world_size, &run);
  const absl::Status status = Validate(run, origins, world_size);
  if (!status.ok()) {
    problems.Add(status.message());
  }
  RETURN_IF_ERROR(problems.ToStatus());
  return run;
}

std::string ResolvedText(const configs::Run& run) {
  std::string text;
  google::protobuf::TextFormat::PrintToString(run, &text);
  return text;
}

}  // namespace rtpurbo
