#include "data/text_reader.h"

#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "data/byte_source.h"
#include "data/text/utf8.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

constexpr int kDeepestFolder = 64;
constexpr const char* kKnownKinds =
    ".txt, .md and .jsonl files are read, also with .gz, .xz or .zst behind";
constexpr const char* kByteOrderMark = "\xef\xbb\xbf";

bool IsJsonLines(absl::string_view path) {
  return absl::EndsWith(WithoutPackingSuffix(path), ".jsonl");
}

bool IsKnown(absl::string_view path) {
  const absl::string_view plain = WithoutPackingSuffix(path);
  return absl::EndsWith(plain, ".txt") || absl::EndsWith(plain, ".md") ||
         IsJsonLines(path);
}

bool IsContinuation(char c) {
  return (static_cast<unsigned char>(c) & 0xc0U) == 0x80U;
}

// The first byte that is not part of valid UTF-8; the size if all is valid.
std::size_t FirstInvalidByte(absl::string_view text) {
  if (IsUtf8(text)) {
    return text.size();
  }
  std::size_t i = 0;
  for (;;) {
    const Utf8Character character = ReadUtf8(text.substr(i));
    if (character.kind != Utf8Character::Kind::kValid) {
      return i;
    }
    i += character.size;
  }
}

// Turns characters into bytes, going forward only.
class CharacterWalk {
 public:
  explicit CharacterWalk(absl::string_view text) : text_(text) {}

  // The byte where character number `goal` begins; the size of the text for
  // the number of its characters. Nothing if the text has fewer.
  std::optional<std::int64_t> ByteOf(std::uint64_t goal) {
    for (; character_ < goal && byte_ < text_.size(); ++character_) {
      do {
        ++byte_;
      } while (byte_ < text_.size() && IsContinuation(text_[byte_]));
    }
    if (character_ != goal) {
      return std::nullopt;
    }
    return static_cast<std::int64_t>(byte_);
  }
  // Characters passed so far.
  std::uint64_t character() const { return character_; }

 private:
  absl::string_view text_;
  std::uint64_t character_ = 0;
  std::size_t byte_ = 0;
};

bool IsPairOfIndices(const nlohmann::json& span) {
  return span.is_array() && span.size() == 2 && span[0].is_number_unsigned() &&
         span[1].is_number_unsigned();
}

// The "label_spans" of a line, in bytes of `text`.
absl::StatusOr<std::vector<Interval>> ParseLabelSpans(
    const JsonLines& lines, const nlohmann::json& spans,
    absl::string_view text) {
  if (!spans.is_array() || spans.empty()) {
    return lines.Error(
        "\"label_spans\" must be a list of [begin, end] with at least one "
        "entry; leave it out of a line without labels");
  }
  std::vector<Interval> result;
  CharacterWalk walk(text);
  for (const nlohmann::json& span : spans) {
    const std::string what =
        absl::StrCat("label_spans[", result.size(), "] = ", span.dump());
    if (!IsPairOfIndices(span)) {
      return lines.Error(absl::StrCat(
          what, " must be [begin, end], two whole numbers of characters"));
    }
    const auto begin = span[0].get<std::uint64_t>();
    const auto end = span[1].get<std::uint64_t>();
    if (begin >= end || begin < walk.character()) {
      return lines.Error(absl::StrCat(
          what, begin >= end ? " is empty" : " begins before the last one ends",
          "; spans must be ascending and apart, with a character each"));
    }
    const std::optional<std::int64_t> first = walk.ByteOf(begin);
    const std::optional<std::int64_t> last = walk.ByteOf(end);
    if (!first.has_value() || !last.has_value()) {
      return lines.Error(absl::StrCat(what, " ends after the text, which has ",
                                      walk.character(), " characters"));
    }
    result.push_back({*first, *last});
  }
  return result;
}

absl::Status CheckMessages(const JsonLines& lines,
                           const nlohmann::json& messages) {
  if (!messages.is_array() || messages.empty()) {
    return lines.Error("\"messages\" must be a list with at least one entry");
  }
  for (const nlohmann::json& message : messages) {
    const bool is_message = message.is_object() && message.contains("role") &&
                            message["role"].is_string() &&
                            message.contains("content") &&
                            message["content"].is_string();
    if (!is_message) {
      return lines.Error(
          "every entry of \"messages\" must be {\"role\": \"...\", "
          "\"content\": \"...\"}");
    }
  }
  return absl::OkStatus();
}

// The document of one JSONL line.
absl::StatusOr<TextDocument> ParseLine(const JsonLines& lines,
                                       const nlohmann::json& object,
                                       const std::string& file_name) {
  TextDocument document;
  const bool is_conversation = object.contains("messages");
  if (is_conversation) {
    RETURN_IF_ERROR(CheckMessages(lines, object["messages"]));
    if (!object.contains("rendered") || !object.contains("label_spans")) {
      return lines.Error(
          "has \"messages\", but not both \"rendered\" and \"label_spans\": "
          "render the conversation with the model's chat template and give "
          "the spans of the assistant's turns in the rendered text");
    }
  }
  ASSIGN_OR_RETURN(
      document.text,
      lines.NonEmptyString(object, is_conversation ? "rendered" : "text"));
  if (object.contains("label_spans")) {
    ASSIGN_OR_RETURN(
        document.label_spans,
        ParseLabelSpans(lines, object["label_spans"], document.text));
  }
  const auto id = object.find("id");
  document.name = id != object.end() && id->is_string()
                      ? id->get<std::string>()
                      : absl::StrCat(file_name, ":", lines.line());
  return document;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TextReader>> TextReader::Create(
    FileSystem& file_system, const std::vector<std::string>& inputs) {
  if (inputs.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "no text to read: name at least one file or folder; ", kKnownKinds));
  }
  std::unique_ptr<TextReader> reader(new TextReader(file_system));
  for (const std::string& input : inputs) {
    ASSIGN_OR_RETURN(const bool exists, file_system.Exists(input));
    if (!exists) {
      return absl::NotFoundError(absl::StrCat(
          "cannot read the text ", input, ": there is no such file or folder"));
    }
    ASSIGN_OR_RETURN(const bool is_folder, file_system.IsDirectory(input));
    if (!is_folder) {
      if (!IsKnown(input)) {
        return absl::FailedPreconditionError(absl::StrCat(
            "cannot read the text ", input, ": unknown kind; ", kKnownKinds));
      }
      reader->files_.push_back({input, BaseName(input)});
      continue;
    }
    const std::int64_t before = reader->num_files();
    RETURN_IF_ERROR(reader->AddFolder(input, BaseName(input), 0));
    if (reader->num_files() == before) {
      return absl::FailedPreconditionError(
          absl::StrCat("the folder ", input, " holds no text; ", kKnownKinds));
    }
  }
  return reader;
}

absl::Status TextReader::AddFolder(const std::string& path,
                                   const std::string& name, int depth) {
  if (depth > kDeepestFolder) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot read the folder ", path, ": it is ", depth,
                     " levels deep; does a link lead back up?"));
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> names,
                   file_system_.List(path));
  for (const std::string& entry : names) {
    const std::string entry_path = JoinPath(path, entry);
    const std::string entry_name = JoinPath(name, entry);
    if (absl::StartsWith(entry, ".")) {
      passed_over_.push_back(entry_path);
      continue;
    }
    ASSIGN_OR_RETURN(const bool is_folder,
                     file_system_.IsDirectory(entry_path));
    if (is_folder) {
      RETURN_IF_ERROR(AddFolder(entry_path, entry_name, depth + 1));
    } else if (IsKnown(entry)) {
      files_.push_back({entry_path, entry_name});
    } else {
      passed_over_.push_back(entry_path);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<TextDocument>> TextReader::Next() {
  for (;;) {
    if (lines_ != nullptr) {
      ASSIGN_OR_RETURN(std::optional<TextDocument> document, NextLine());
      if (document.has_value()) {
        return document;
      }
      lines_ = nullptr;
    }
    if (next_file_ == num_files()) {
      return std::optional<TextDocument>();
    }
    const File& file = files_[static_cast<std::size_t>(next_file_++)];
    if (!IsJsonLines(file.path)) {
      ASSIGN_OR_RETURN(TextDocument document, ReadWhole(file));
      return std::optional<TextDocument>(std::move(document));
    }
    ASSIGN_OR_RETURN(lines_, JsonLines::Open(file_system_, file.path));
  }
}

absl::StatusOr<std::optional<TextDocument>> TextReader::NextLine() {
  ASSIGN_OR_RETURN(const std::optional<nlohmann::json> object, lines_->Next());
  if (!object.has_value()) {
    return std::optional<TextDocument>();
  }
  const File& file = files_[static_cast<std::size_t>(next_file_ - 1)];
  ASSIGN_OR_RETURN(TextDocument document,
                   ParseLine(*lines_, *object, file.name));
  return std::optional<TextDocument>(std::move(document));
}

absl::StatusOr<TextDocument> TextReader::ReadWhole(const File& file) {
  ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> source,
                   OpenByteSource(file_system_, file.path));
  TextDocument document;
  document.name = file.name;
  ASSIGN_OR_RETURN(document.text, ReadAll(*source));
  const std::size_t bad = FirstInvalidByte(document.text);
  if (bad != document.text.size()) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot read the text ", file.path, ": byte ", bad,
                     " is not UTF-8; convert the file, or leave it out"));
  }
  if (absl::StartsWith(document.text, kByteOrderMark)) {
    document.text.erase(0, 3);
  }
  if (document.text.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "cannot read the text ", file.path, ": it is empty; leave it out"));
  }
  return document;
}

}  // namespace rtpurbo
