#include "data/json_lines.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "data/strict_json.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {

JsonLines::JsonLines(std::unique_ptr<ByteSource> source, std::string path)
    : source_(std::move(source)),
      path_(std::move(path)),
      buffer_(std::size_t{1} << 18U) {}

absl::StatusOr<std::unique_ptr<JsonLines>> JsonLines::Open(
    FileSystem& file_system, const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> source,
                   OpenByteSource(file_system, path));
  return std::unique_ptr<JsonLines>(new JsonLines(std::move(source), path));
}

absl::Status JsonLines::Error(absl::string_view message) const {
  return absl::FailedPreconditionError(
      absl::StrCat(path_, ":", line_, ": ", message));
}

absl::StatusOr<bool> JsonLines::NextLine(std::string* line) {
  line->clear();
  bool found_any = false;
  for (;;) {
    if (begin_ == end_) {
      ASSIGN_OR_RETURN(const std::int64_t count, source_->Read(buffer_));
      begin_ = 0;
      end_ = static_cast<std::size_t>(count);
      if (count == 0) {
        return found_any;
      }
    }
    found_any = true;
    const char* first = buffer_.data() + begin_;
    const char* last = buffer_.data() + end_;
    const char* newline = std::find(first, last, '\n');
    line->append(first, newline);
    begin_ += static_cast<std::size_t>(newline - first);
    if (newline != last) {
      ++begin_;
      return true;
    }
  }
}

absl::StatusOr<std::optional<nlohmann::json>> JsonLines::Next() {
  std::string text;
  for (;;) {
    ASSIGN_OR_RETURN(const bool found, NextLine(&text));
    if (!found) {
      return std::optional<nlohmann::json>();
    }
    ++line_;
    if (!absl::StripAsciiWhitespace(text).empty()) {
      break;
    }
  }
  absl::StatusOr<nlohmann::json> object =
      ParseStrictJson(text, absl::StrCat(path_, ":", line_));
  if (!object.ok()) {
    return absl::FailedPreconditionError(object.status().message());
  }
  if (!object->is_object()) {
    return Error(absl::StrCat("is a JSON ", object->type_name(),
                              ", but every line must be an object {...}"));
  }
  return std::optional<nlohmann::json>(*std::move(object));
}

absl::StatusOr<std::string> JsonLines::NonEmptyString(
    const nlohmann::json& object, const char* key) const {
  const auto found = object.find(key);
  if (found == object.end()) {
    return Error(absl::StrCat("has no \"", key, "\""));
  }
  if (!found->is_string()) {
    return Error(absl::StrCat("\"", key, "\" is a JSON ", found->type_name(),
                              ", but must be a string"));
  }
  std::string text = found->get<std::string>();
  if (text.empty()) {
    return Error(absl::StrCat("\"", key, "\" is empty"));
  }
  return text;
}

}  // namespace rtpurbo
