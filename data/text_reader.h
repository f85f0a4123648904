// Training text, document by document, from files and folders.
//
//   x.txt, x.md     one document: the whole file
//   x.jsonl         one document a line, in one of three forms:
//     {"text": "..."}
//     {"text": "...", "label_spans": [[begin, end], ...]}
//     {"messages": [{"role": "...", "content": "..."}, ...],
//      "rendered": "...", "label_spans": [[begin, end], ...]}
//   any of these with .gz, .xz or .zst behind it (byte_source.h)
//   a folder        all such files in it and below, by sorted name; names that
//                   begin with a dot, and names of other kinds, are passed over
//                   and can be asked for
//
// Label spans say what is to be learned: half-open intervals in characters
// (Unicode code points) of the text, ascending and apart, each with at least
// one character. A conversation comes with its text as the model's chat
// template renders it, and with the spans of the assistant's turns in that
// text; there is no template engine here. An "id" that is a string becomes the
// document's name; other keys are ignored.
//
// Text must be UTF-8. A byte order mark at the start of a file is dropped. An
// empty document is an error, as is every line that is not of these forms:
// FailedPrecondition, "path:line: what is wrong".

#ifndef RTPURBO_DATA_TEXT_READER_H_
#define RTPURBO_DATA_TEXT_READER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/file_system.h"
#include "data/json_lines.h"
#include "kernels/core/interval.h"

namespace rtpurbo {

struct TextDocument {
  // Independent of where the input lies: the id of a line, else the path below
  // the input's own parent folder, with ":line" for a line.
  std::string name;
  std::string text;                   // UTF-8, not empty
  std::vector<Interval> label_spans;  // in BYTES of text; none: plain text
};

// One pass over the inputs, in their order. Memory: the document at hand.
class TextReader {
 public:
  // Looks the inputs up; opens none. `file_system` must outlive the reader.
  // Returns NotFound if an input is missing, InvalidArgument if there is no
  // input at all, FailedPrecondition if a file's kind is unknown or a folder
  // holds nothing that can be read.
  static absl::StatusOr<std::unique_ptr<TextReader>> Create(
      FileSystem& file_system, const std::vector<std::string>& inputs);

  // The next document; nothing at the end.
  absl::StatusOr<std::optional<TextDocument>> Next();

  std::int64_t num_files() const {
    return static_cast<std::int64_t>(files_.size());
  }
  // Files that Next() has opened so far.
  std::int64_t num_files_opened() const { return next_file_; }
  // Paths in folders that are of no known kind.
  const std::vector<std::string>& passed_over() const { return passed_over_; }

 private:
  struct File {
    std::string path;
    std::string name;  // of its documents
  };

  explicit TextReader(FileSystem& file_system) : file_system_(file_system) {}
  absl::Status AddFolder(const std::string& path, const std::string& name,
                         int depth);
  absl::StatusOr<std::optional<TextDocument>> NextLine();
  absl::StatusOr<TextDocument> ReadWhole(const File& file);

  FileSystem& file_system_;
  std::vector<File> files_;
  std::vector<std::string> passed_over_;
  std::int64_t next_file_ = 0;
  std::unique_ptr<JsonLines> lines_;  // of the JSONL file being read
};

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_TEXT_READER_H_
