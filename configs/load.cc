#include "configs/load.h"

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "configs/defaults.h"
#include "configs/edit.h"
#include "configs/origins.h"
#include "configs/validate.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/text_format.h"
#include "kernels/core/closest.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

// Keeps what the parser says as "name:line: message, in "the line"".
class Problems : public google::protobuf::io::ErrorCollector {
 public:
  Problems(const std::string& text, const std::string& name)
      : lines_(absl::StrSplit(text, '\n')), name_(name) {}

  void AddError(int line, int /*column*/, const std::string& message) override {
    Add(line, message);
  }
  // An unknown field is a warning to the parser, so that it goes on and finds
  // the others.
  void AddWarning(int line, int /*column*/,
                  const std::string& message) override {
    Add(line, absl::StrCat(message, Suggestion(message)));
  }
  void Add(absl::string_view message) { texts_.emplace_back(message); }

  absl::Status ToStatus() const {
    return texts_.empty()
               ? absl::OkStatus()
               : absl::InvalidArgumentError(absl::StrJoin(texts_, "\n"));
  }

 private:
  void Add(int line, const std::string& message) {
    const std::size_t i = line < 0 ? 0 : static_cast<std::size_t>(line);
    const absl::string_view written = absl::StripAsciiWhitespace(
        i < lines_.size() ? absl::string_view(lines_[i]) : "");
    texts_.push_back(absl::StrCat(name_, ":", i + 1, ": ", message, " In \"",
                                  written.substr(0, 80), "\"."));
  }

  // For: Message type "T" has no field named "x".
  static std::string Suggestion(const std::string& message) {
    const std::vector<std::string> parts = absl::StrSplit(message, '"');
    if (parts.size() != 5) {
      return "";
    }
    const google::protobuf::Descriptor* type =
        google::protobuf::DescriptorPool::generated_pool()
            ->FindMessageTypeByName(parts[1]);
    return type == nullptr ? "" : DidYouMean(parts[3], FieldNames(*type));
  }

  std::vector<std::string> lines_;
  std::string name_;
  std::vector<std::string> texts_;
};

}  // namespace

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
  Problems problems(text, name);
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
