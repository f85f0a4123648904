#include <algorithm>
#include <cmath>
#include <iostream>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/core/log.h"
#include "kernels/core/progress.h"
#include "kernels/core/status_macros.h"
#include "nlohmann/json.hpp"
#include "trainer/conversion/answers.h"
#include "trainer/conversion/config_options.h"
#include "trainer/conversion/held_out_measures.h"
#include "trainer/conversion/stages.h"
#include "trainer/evaluation/question_run.h"
#include "trainer/evaluation/summary.h"
#include "trainer/exporter.h"
#include "trainer/projections_file.h"

namespace rtpurbo {
namespace {

constexpr char kAnswers[] = "evaluation.jsonl";

// Questions of each kind and length, in the order of the table.
absl::StatusOr<std::vector<Question>> MakeQuestions(
    const configs::Evaluation& config, const DocumentStream& stream) {
  std::vector<Question> questions;
  const auto add = [&](QuestionKind kind, std::int64_t tokens,
                       std::int64_t count) -> absl::Status {
    for (std::int64_t i = 0; i < count; ++i) {
      ASSIGN_OR_RETURN(Question question,
                       stream.EvaluationQuestion(kind, tokens, i));
      questions.push_back(std::move(question));
    }
    return absl::OkStatus();
  };
  for (const std::int64_t tokens : config.tokens()) {
    for (const QuestionKind kind : KindsOf(config.kinds())) {
      RETURN_IF_ERROR(add(kind, tokens, config.questions()));
    }
    RETURN_IF_ERROR(
        add(QuestionKind::kMultiValue, tokens, config.multi_value_questions()));
  }
  return questions;
}

// Every rank has the models whole and answers questions in turn; the first one
// writes.
class Evaluation {
 public:
  explicit Evaluation(RunContext& run) : run_(run) {}

  absl::Status Open();
  // The models with the teacher's weights, then those with the exported ones.
  absl::Status AskTeachers();
  absl::Status AskConverted();
  absl::Status Write();

 private:
  absl::StatusOr<SparseMode> ReadMode(const std::string& folder);
  // Adds the model's row.
  absl::StatusOr<Fidelity> Measure(const AskedModel& model);
  // Answers of all questions.
  absl::Status Ask(std::vector<AskedModel> models);
  absl::Status WriteJson(const std::string& name,
                         const nlohmann::ordered_json& json);
  HeadMap RandomMapOf(std::int64_t number) const;

  RunContext& run_;
  HeadMap map_;
  std::unique_ptr<DocumentStream> stream_;
  std::optional<FidelityMeasure> measure_;
  QuestionRun asked_;
  nlohmann::ordered_json fidelity_ = nlohmann::ordered_json::array();
};

absl::Status Evaluation::Open() {
  ASSIGN_OR_RETURN(map_, run_.ReadHeadMap());
  ASSIGN_OR_RETURN(stream_, run_.MakeStream(RunContext::StreamUse::kMeasure));
  ASSIGN_OR_RETURN(measure_, FidelityMeasure::Open(run_));
  ASSIGN_OR_RETURN(asked_.questions,
                   MakeQuestions(run_.run().evaluation(), *stream_));
  ASSIGN_OR_RETURN(asked_.tokenizer, run_.tokenizer());
  asked_.max_answer_tokens = run_.run().evaluation().answer_tokens();
  asked_.path = run_.Path(kAnswers);
  return run_.OnFirst(
      [&] { return run_.files().CreateDirectories(run_.Path("evaluate")); });
}

absl::StatusOr<SparseMode> Evaluation::ReadMode(const std::string& folder) {
  ASSIGN_OR_RETURN(const ModelConfig* config, run_.model_config());
  return ReadProjections(run_.ctx(), run_.files(), run_.Path(folder), *config,
                         map_);
}

absl::StatusOr<Fidelity> Evaluation::Measure(const AskedModel& model) {
  RETURN_IF_ERROR(run_.OnFirst([&] { return run_.MayGoOn("evaluate"); }));
  ASSIGN_OR_RETURN(const Fidelity fidelity,
                   measure_->Of(run_.ranks(), *model.model, model.mode));
  fidelity_.push_back(
      nlohmann::ordered_json(FidelityRow(model.name, fidelity)));
  return fidelity;
}

absl::Status Evaluation::Ask(std::vector<AskedModel> models) {
  asked_.models = std::move(models);
  const auto num_models = static_cast<std::int64_t>(asked_.models.size());
  const auto num_questions = static_cast<std::int64_t>(asked_.questions.size());
  std::optional<ProgressLine> progress;
  std::int64_t first = 0;
  const auto report = [&](std::int64_t done) -> absl::Status {
    if (!progress.has_value()) {
      first = done;
      if (done > 0) {
        Log(LogLevel::kInfo, "evaluate", "resuming after a question",
            {{"question", done}, {"of", num_questions}});
      }
      progress.emplace(absl::StrCat("evaluate ", num_models, " models"),
                       num_questions, done);
      return run_.MayGoOn("evaluate");
    }
    std::int64_t tokens = 0;
    for (std::int64_t i = first; i < done; ++i) {
      const Question& question = asked_.questions[static_cast<std::size_t>(i)];
      tokens +=
          static_cast<std::int64_t>(question.prompt_T.size()) * num_models;
    }
    progress->Update({done, tokens});
    return run_.MayGoOn("evaluate");
  };
  return AskQuestions(run_.ctx(), run_.files(), run_.ranks(), asked_, report);
}

absl::Status Evaluation::AskTeachers() {
  ASSIGN_OR_RETURN(Transformer* const teacher, run_.Teacher());
  ASSIGN_OR_RETURN(const HeadMap needle,
                   run_.ReadHeadMap("calibrate/heads.needle.textproto"));
  ASSIGN_OR_RETURN(const HeadMap effect,
                   run_.ReadHeadMap("calibrate/heads.effect.textproto"));
  ASSIGN_OR_RETURN(const SparseMode start, ReadMode("align/start"));
  ASSIGN_OR_RETURN(const SparseMode aligned, ReadMode("align"));
  nlohmann::ordered_json recall;
  const auto measure_recall = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(recall, RecallRows(run_, *teacher, start, aligned));
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(run_.OnFirst(measure_recall));
  RETURN_IF_ERROR(WriteJson("evaluate/recall.json", recall));
  const std::vector<AskedModel> models = {
      {"dense", teacher, DenseMode(teacher->config())},
      {"needle map", teacher, run_.ModeOf(needle, nullptr)},
      {"effect map", teacher, run_.ModeOf(effect, nullptr)},
      {"indexer", teacher, start},
      {"stage 1", teacher, aligned}};
  for (const AskedModel& model : models) {
    RETURN_IF_ERROR(Measure(model).status());
  }
  return Ask(models);
}

// The first by share alone; the second with as many heads in each layer as the
// map has; and so on in turn.
HeadMap Evaluation::RandomMapOf(std::int64_t number) const {
  return RandomMap(map_,
                   MeasureSeed(run_.run()) + static_cast<std::uint64_t>(number),
                   number % 2 == 0);
}

absl::Status Evaluation::AskConverted() {
  run_.DropTeacher();
  ASSIGN_OR_RETURN(const ConvertedModel converted,
                   LoadConverted(run_.ctx(), run_.files(), run_.Path("export"),
                                 run_.ModelOptions({}, 0)));
  Transformer* const model = converted.model.get();
  const AskedModel stage2{"stage 2", model, converted.mode};
  ASSIGN_OR_RETURN(const Fidelity kept, Measure(stage2));
  AskedModel top_k{"static top-k", model, converted.mode};
  top_k.mode.selection.rule = kernels::Selection::Rule::kTopK;
  top_k.mode.selection.top_k = run_.run().evaluation().static_top_k();
  if (top_k.mode.selection.top_k == 0) {
    top_k.mode.selection.top_k =
        std::max<std::int64_t>(1, std::llround(kept.tokens_kept));
  }
  HeadMap local = LocalMap(model->config());
  local.window = map_.window;
  local.sinks = map_.sinks;
  std::vector<AskedModel> models = {
      stage2, top_k, {"window only", model, run_.ModeOf(local, nullptr)}};
  for (std::int64_t i = 1; i <= run_.run().evaluation().random_maps(); ++i) {
    models.push_back({absl::StrCat("random map ", i), model,
                      run_.ModeOf(RandomMapOf(i), nullptr)});
  }
  for (std::size_t i = 1; i < models.size(); ++i) {  // stage 2 is done
    RETURN_IF_ERROR(Measure(models[i]).status());
  }
  return Ask(models);
}

absl::Status Evaluation::WriteJson(const std::string& name,
                                   const nlohmann::ordered_json& json) {
  return run_.OnFirst([&] {
    return run_.files().WriteFileAtomically(run_.Path(name),
                                            json.dump(2) + "\n");
  });
}

absl::Status Evaluation::Write() {
  RETURN_IF_ERROR(WriteJson("evaluate/fidelity.json", fidelity_));
  std::vector<SummaryRow> rows;
  const auto print = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(rows, SummarizeFile(run_.files(), asked_.path));
    std::cout << SummaryText(rows) << std::flush;
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(run_.OnFirst(print));
  return WriteJson("evaluate/table.json", SummaryTable(rows));
}

}  // namespace

absl::StatusOr<StageResult> MakeEvaluate(RunContext& run) {
  Evaluation evaluation(run);
  RETURN_IF_ERROR(evaluation.Open());
  RETURN_IF_ERROR(evaluation.AskTeachers());
  RETURN_IF_ERROR(evaluation.AskConverted());
  RETURN_IF_ERROR(evaluation.Write());
  return StageResult{{kAnswers, "evaluate"}, {}};
}

}  // namespace rtpurbo
