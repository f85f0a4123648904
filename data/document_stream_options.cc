#include "data/document_stream_options.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace rtpurbo {
namespace {

constexpr std::int64_t kMostStreams = 256;

absl::Status BadOption(absl::string_view name, absl::string_view value,
                       absl::string_view rule) {
  return absl::InvalidArgumentError(
      absl::StrCat("data: ", name, " is ", value, ", but must be ", rule));
}

}  // namespace

absl::Status CheckOptions(const DocumentStreamOptions& options) {
  const auto text = [](auto value) { return absl::StrCat(value); };
  if (options.stream < 0 || options.stream >= kMostStreams) {
    return BadOption("stream", text(options.stream), "0 to 255");
  }
  if (options.tokens < 2) {
    return BadOption("tokens", text(options.tokens), "at least 2");
  }
  if (options.min_tokens != 0 &&
      (options.min_tokens < 2 || options.min_tokens > options.tokens)) {
    return BadOption("min_tokens", text(options.min_tokens),
                     "0, or 2 to `tokens`");
  }
  if (!(options.question_share >= 0 && options.question_share <= 1)) {
    return BadOption("question_share", text(options.question_share), "0 to 1");
  }
  if (options.label_tokens < 1) {
    return BadOption("label_tokens", text(options.label_tokens), "at least 1");
  }
  if (options.text_label_tokens < 1 ||
      options.text_label_tokens > options.label_tokens) {
    return BadOption("text_label_tokens", text(options.text_label_tokens),
                     "1 to `label_tokens`");
  }
  const bool has_foreign =
      std::find(options.kinds.begin(), options.kinds.end(),
                QuestionKind::kForeign) != options.kinds.end();
  if (has_foreign || (options.kinds.empty() && options.question_share > 0)) {
    return BadOption("kinds", has_foreign ? "foreign" : "empty",
                     "a list of kinds of needle questions");
  }
  return absl::OkStatus();
}

}  // namespace rtpurbo
