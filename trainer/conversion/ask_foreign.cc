#include "trainer/conversion/ask_foreign.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "data/foreign_questions.h"
#include "kernels/core/progress.h"
#include "kernels/core/status_macros.h"
#include "trainer/conversion/answers.h"
#include "trainer/evaluation/question_run.h"
#include "trainer/evaluation/summary.h"
#include "trainer/exporter.h"
#include "trainer/trained_model.h"

namespace rtpurbo {
namespace {

absl::StatusOr<std::vector<Question>> ReadQuestions(RunContext& run,
                                                    const std::string& path) {
  ASSIGN_OR_RETURN(const Tokenizer* tokenizer, run.tokenizer());
  ASSIGN_OR_RETURN(const std::int32_t end_token, run.EndToken());
  ASSIGN_OR_RETURN(
      const auto file,
      ForeignQuestions::Open(run.files(), path, *tokenizer, end_token));
  std::vector<Question> questions;
  while (true) {
    ASSIGN_OR_RETURN(std::optional<Question> question, file->Next());
    if (!question.has_value()) {
      break;
    }
    questions.push_back(*std::move(question));
  }
  if (questions.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " holds no question"));
  }
  return questions;
}

// The answers of one model, whose folder is read for it.
absl::Status AskOneModel(RunContext& run, const std::string& name,
                         const std::string& folder,
                         const Transformer::Options& options,
                         QuestionRun* asked) {
  ASSIGN_OR_RETURN(ConvertedModel model,
                   LoadConverted(run.ctx(), run.files(), folder, options));
  asked->models = {{name, model.model.get(), model.mode}};
  std::optional<ProgressLine> progress;
  const auto may_go_on = [&](std::int64_t done) {
    if (!progress.has_value()) {
      progress.emplace(absl::StrCat("evaluate ", name),
                       static_cast<std::int64_t>(asked->questions.size()),
                       done);
    }
    progress->Update({done, 0});
    return run.MayGoOn("evaluate");
  };
  return AskQuestions(run.ctx(), run.files(), run.ranks(), *asked, may_go_on);
}

// Positions that the longest question and its answer need.
std::int64_t LongestOf(const std::vector<Question>& questions,
                       std::int64_t answer_tokens) {
  std::size_t longest = 0;
  for (const Question& question : questions) {
    longest = std::max(longest, question.prompt_T.size());
  }
  return static_cast<std::int64_t>(longest) + answer_tokens;
}

}  // namespace

absl::StatusOr<std::string> AskForeignQuestions(RunContext& run,
                                                const std::string& path) {
  QuestionRun asked;
  ASSIGN_OR_RETURN(asked.questions, ReadQuestions(run, path));
  ASSIGN_OR_RETURN(asked.tokenizer, run.tokenizer());
  asked.max_answer_tokens = run.run().evaluation().answer_tokens();
  asked.path = run.Path(JoinPath("questions", BaseName(path)));
  RETURN_IF_ERROR(run.OnFirst(
      [&] { return run.files().CreateDirectories(run.Path("questions")); }));
  Transformer::Options options = run.ModelOptions({}, 0);
  options.max_positions =
      std::max(options.max_positions,
               LongestOf(asked.questions, asked.max_answer_tokens));
  ASSIGN_OR_RETURN(const bool converted,
                   run.files().Exists(run.Path("export")));
  RETURN_IF_ERROR(
      AskOneModel(run, "dense", run.run().model().path(), options, &asked));
  if (converted) {
    RETURN_IF_ERROR(
        AskOneModel(run, "stage 2", run.Path("export"), options, &asked));
  }
  const auto table = [&]() -> absl::StatusOr<std::string> {
    ASSIGN_OR_RETURN(const std::vector<SummaryRow> rows,
                     SummarizeFile(run.files(), asked.path));
    return absl::StrCat(SummaryText(rows), "answers: ", asked.path, "\n");
  };
  return FromFirstRank(run.ctx(), run.ranks(), table);
}

}  // namespace rtpurbo
