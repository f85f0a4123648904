#include "data/foreign_questions.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {

absl::StatusOr<std::unique_ptr<ForeignQuestions>> ForeignQuestions::Open(
    FileSystem& file_system, const std::string& path,
    const Tokenizer& tokenizer, std::int32_t end_token) {
  ASSIGN_OR_RETURN(std::unique_ptr<JsonLines> lines,
                   JsonLines::Open(file_system, path));
  return std::unique_ptr<ForeignQuestions>(
      new ForeignQuestions(std::move(lines), tokenizer, end_token));
}

absl::StatusOr<std::optional<Question>> ForeignQuestions::Next() {
  ASSIGN_OR_RETURN(const std::optional<nlohmann::json> object, lines_->Next());
  if (!object.has_value()) {
    return std::optional<Question>();
  }
  Question question;
  question.kind = QuestionKind::kForeign;
  ASSIGN_OR_RETURN(question.id, ReadId(*object));
  ASSIGN_OR_RETURN(question.foreign_kind,
                   lines_->NonEmptyString(*object, "kind"));
  ASSIGN_OR_RETURN(const std::string prompt,
                   lines_->NonEmptyString(*object, "prompt"));
  RETURN_IF_ERROR(ReadAnswers(*object, &question));
  question.prompt_T = tokenizer_.Encode(prompt);
  question.answer_T = tokenizer_.Encode(JoinAnswers(question));
  question.answer_T.push_back(end_token_);
  const auto end = static_cast<std::int64_t>(question.prompt_T.size());
  question.question = {end, end};
  return std::optional<Question>(std::move(question));
}

absl::StatusOr<std::string> ForeignQuestions::ReadId(
    const nlohmann::json& object) {
  std::string id;
  const auto found = object.find("id");
  if (found != object.end() && found->is_number_integer()) {
    id = found->dump();
  } else {
    ASSIGN_OR_RETURN(id, lines_->NonEmptyString(object, "id"));
  }
  const auto [other, is_new] = line_of_id_.emplace(id, lines_->line());
  if (!is_new) {
    return lines_->Error(absl::StrCat("\"id\" is \"", id, "\", as in line ",
                                      other->second,
                                      "; every question needs its own"));
  }
  return id;
}

absl::Status ForeignQuestions::ReadAnswers(const nlohmann::json& object,
                                           Question* question) const {
  const auto answers = object.find("answers");
  if (answers == object.end() || !answers->is_array() || answers->empty()) {
    return lines_->Error(
        "\"answers\" must be a list of strings with at least one entry");
  }
  for (const nlohmann::json& answer : *answers) {
    if (!answer.is_string() || answer.get_ref<const std::string&>().empty()) {
      return lines_->Error(absl::StrCat(
          "\"answers\" has the entry ", answer.dump(),
          ", but every answer must be a string that is not empty"));
    }
    question->answers.push_back(answer.get<std::string>());
  }
  return absl::OkStatus();
}

}  // namespace rtpurbo
