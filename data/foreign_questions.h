// Questions of somebody else's, from JSON Lines, packed or not:
//
//   {"id": "...", "kind": "...", "prompt": "...", "answers": ["...", ...]}
//
// `id` is a string or a whole number, and differs from line to line; `kind` is
// whatever the file calls it; every answer is a string that is not empty.
// Other keys are ignored. Read as they are asked for: memory is one question,
// and the ids.

#ifndef RTPURBO_DATA_FOREIGN_QUESTIONS_H_
#define RTPURBO_DATA_FOREIGN_QUESTIONS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "data/file_system.h"
#include "data/json_lines.h"
#include "data/questions.h"
#include "data/tokenizer.h"

namespace rtpurbo {

class ForeignQuestions {
 public:
  // `file_system` must outlive it.
  static absl::StatusOr<std::unique_ptr<ForeignQuestions>> Open(
      FileSystem& file_system, const std::string& path,
      const Tokenizer& tokenizer, std::int32_t end_token);

  // The question of the next line, of kind kForeign; nothing at the end. Its
  // prompt is encoded as it is; no needles are known.
  // Returns FailedPrecondition, "path:line: what is wrong".
  absl::StatusOr<std::optional<Question>> Next();

 private:
  ForeignQuestions(std::unique_ptr<JsonLines> lines, const Tokenizer& tokenizer,
                   std::int32_t end_token)
      : lines_(std::move(lines)),
        tokenizer_(tokenizer),
        end_token_(end_token) {}
  absl::StatusOr<std::string> ReadId(const nlohmann::json& object);
  absl::Status ReadAnswers(const nlohmann::json& object,
                           Question* question) const;

  std::unique_ptr<JsonLines> lines_;
  Tokenizer tokenizer_;
  std::int32_t end_token_;
  std::map<std::string, std::int64_t> line_of_id_;
};

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_FOREIGN_QUESTIONS_H_
