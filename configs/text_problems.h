// What is wrong with a text of a message, all of it, for whoever wrote it.

#ifndef RTPURBO_CONFIGS_TEXT_PROBLEMS_H_
#define RTPURBO_CONFIGS_TEXT_PROBLEMS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/io/tokenizer.h"

namespace rtpurbo {

// Keeps what the parser says as "name:line: message, in "the line"".
class TextProblems : public google::protobuf::io::ErrorCollector {
 public:
  TextProblems(const std::string& text, const std::string& name);

  void AddError(int line, int column, const std::string& message) override;
  // An unknown field is a warning to the parser, so that it goes on and finds
  // the others.
  void AddWarning(int line, int column, const std::string& message) override;
  void Add(absl::string_view message) { texts_.emplace_back(message); }

  // InvalidArgument with a line for each, or OK if there is none.
  absl::Status ToStatus() const;

 private:
  void AddAt(int line, const std::string& message);

  std::vector<std::string> lines_;
  std::string name_;
  std::vector<std::string> texts_;
};

}  // namespace rtpurbo

#endif  // RTPURBO_CONFIGS_TEXT_PROBLEMS_H_
