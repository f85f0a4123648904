#include "configs/text_problems.h"

#include <cstddef>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "configs/edit.h"
#include "google/protobuf/descriptor.h"
#include "kernels/core/closest.h"

namespace rtpurbo {
namespace {

// For: Message type "T" has no field named "x".
std::string Suggestion(const std::string& message) {
  const std::vector<std::string> parts = absl::StrSplit(message, '"');
  if (parts.size() != 5) {
    return "";
  }
  const google::protobuf::Descriptor* type =
      google::protobuf::DescriptorPool::generated_pool()->FindMessageTypeByName(
          parts[1]);
  return type == nullptr ? "" : DidYouMean(parts[3], FieldNames(*type));
}

}  // namespace

TextProblems::TextProblems(const std::string& text, const std::string& name)
    : lines_(absl::StrSplit(text, '\n')), name_(name) {}

void TextProblems::AddError(int line, int /*column*/,
                            const std::string& message) {
  AddAt(line, message);
}

void TextProblems::AddWarning(int line, int /*column*/,
                              const std::string& message) {
  AddAt(line, absl::StrCat(message, Suggestion(message)));
}

absl::Status TextProblems::ToStatus() const {
  return texts_.empty()
             ? absl::OkStatus()
             : absl::InvalidArgumentError(absl::StrJoin(texts_, "\n"));
}

void TextProblems::AddAt(int line, const std::string& message) {
  const std::size_t i = line < 0 ? 0 : static_cast<std::size_t>(line);
  const absl::string_view written = absl::StripAsciiWhitespace(
      i < lines_.size() ? absl::string_view(lines_[i]) : "");
  texts_.push_back(absl::StrCat(name_, ":", i + 1, ": ", message, " In \"",
                                written.substr(0, 80), "\"."));
}

}  // namespace rtpurbo
