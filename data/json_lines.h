// JSON Lines: a file with one JSON object a line, packed or not
// (byte_source.h). Lines are read as they are asked for, so a file of any size
// takes the memory of its longest line. Blank lines are passed over.
//
// Every error opens with "path:line: ", counted from 1.

#ifndef RTPURBO_DATA_JSON_LINES_H_
#define RTPURBO_DATA_JSON_LINES_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/byte_source.h"
#include "data/file_system.h"
#include "nlohmann/json.hpp"

namespace rtpurbo {

class JsonLines {
 public:
  // `file_system` must outlive it.
  static absl::StatusOr<std::unique_ptr<JsonLines>> Open(
      FileSystem& file_system, const std::string& path);

  // The object of the next line; nothing at the end.
  // Returns FailedPrecondition if a line is not UTF-8, not JSON (a name that
  // comes twice included) or no object.
  absl::StatusOr<std::optional<nlohmann::json>> Next();

  // Of the object that Next() returned last.
  std::int64_t line() const { return line_; }
  // FailedPrecondition with "path:line: " and the message.
  absl::Status Error(absl::string_view message) const;

  // The string called `key` of an object. An error names the line if it is
  // missing, not a string or empty.
  absl::StatusOr<std::string> NonEmptyString(const nlohmann::json& object,
                                             const char* key) const;

 private:
  JsonLines(std::unique_ptr<ByteSource> source, std::string path);

  // The next line without its end; false at the end of the file.
  absl::StatusOr<bool> NextLine(std::string* line);

  std::unique_ptr<ByteSource> source_;
  std::string path_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0;  // what is left of the buffer: [begin_, end_)
  std::size_t end_ = 0;
  std::int64_t line_ = 0;
};

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_JSON_LINES_H_
