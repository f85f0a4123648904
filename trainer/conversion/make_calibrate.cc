#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "dist/agree.h"
#include "kernels/core/log.h"
#include "kernels/core/progress.h"
#include "kernels/core/status_macros.h"
#include "trainer/conversion/config_options.h"
#include "trainer/conversion/stages.h"
#include "trainer/model_input.h"
#include "trainer/stages/head_calibration.h"

namespace rtpurbo {
namespace {

// Scores of each document.
using Scores = std::vector<std::vector<float>>;

std::vector<float> MeanScore(const Scores& scores) {
  std::vector<float> mean(scores.at(0).size());
  for (std::size_t h = 0; h < mean.size(); ++h) {
    double sum = 0;
    for (const std::vector<float>& score : scores) {
      sum += static_cast<double>(score[h]);
    }
    mean[h] = static_cast<float>(sum / static_cast<double>(scores.size()));
  }
  return mean;
}

// All ranks have one, and call its functions together.
class Calibration {
 public:
  Calibration(RunContext& run, Transformer& model, const DocumentStream& stream,
              std::string fingerprint)
      : run_(run),
        config_(run.run().calibration()),
        model_(model),
        stream_(stream),
        fingerprint_(std::move(fingerprint)) {}

  absl::StatusOr<HeadMap> Needle();
  // By gates, or head by head.
  absl::StatusOr<HeadMap> Effect(bool one_by_one);

 private:
  // Of n documents: `make(i)` makes one, `score(document)` has the collectives
  // of a model inside. Each team of ranks scores its share; all get all scores,
  // in order. If a document can't be made, or a rank is asked to stop, all
  // ranks get that error.
  template <typename Make, typename Score>
  absl::StatusOr<Scores> ShareDocuments(absl::string_view method,
                                        std::int64_t n, Make make, Score score);
  absl::StatusOr<NeedleDocument> MakeNeedleDocument(std::int64_t i) const;
  absl::StatusOr<AnsweredTokens> MakeQuestion(
      const std::vector<QuestionKind>& kinds, std::int64_t i) const;
  HeadMap MapOf(const char* method, const Scores& scores) const;

  RunContext& run_;
  const configs::Calibration& config_;
  Transformer& model_;
  const DocumentStream& stream_;
  std::string fingerprint_;
};

template <typename Make, typename Score>
absl::StatusOr<Scores> Calibration::ShareDocuments(absl::string_view method,
                                                   std::int64_t n, Make make,
                                                   Score score) {
  const WorkTeam team = run_.team();
  std::optional<ProgressLine> progress;
  if (run_.ranks().rank() == 0) {
    progress.emplace(absl::StrCat("calibrate ", method), n);
  }
  const auto piece =
      [&](std::int64_t i,
          bool /*counts*/) -> absl::StatusOr<std::vector<double>> {
    const absl::Status may_go_on = run_.MayGoOn("calibrate");
    const auto document = make(i);
    RETURN_IF_ERROR(AgreeOn(run_.ctx(), run_.ranks(),
                            may_go_on.ok() ? document.status() : may_go_on));
    const std::vector<float> scores = score(*document);
    RETURN_IF_ERROR(model_.status());
    if (progress.has_value()) {
      const std::int64_t done = std::min(i + team.count, n);
      progress->Update({done, done * config_.tokens()});
    }
    // The ranks of a team have the same scores, and what they say is added up.
    return Speaks(model_) ? std::vector<double>(scores.begin(), scores.end())
                          : std::vector<double>(scores.size(), 0.0);
  };
  ASSIGN_OR_RETURN(const auto numbers,
                   ShareOut(run_.ctx(), run_.ranks(), team, n, piece));
  Scores scores(numbers.size());
  for (std::size_t i = 0; i < scores.size(); ++i) {
    scores[i].assign(numbers[i].begin(), numbers[i].end());
  }
  return scores;
}

HeadMap Calibration::MapOf(const char* method, const Scores& scores) const {
  HeadMap map =
      MapFromScores(model_.config(), config_.share(), MeanScore(scores));
  map.method = method;
  map.window = run_.run().attention().window();
  map.sinks = run_.run().attention().sinks();
  map.model_fingerprint = fingerprint_;
  map.documents = static_cast<std::int64_t>(scores.size());
  double overlap = 0;
  for (std::size_t i = 1; i < scores.size(); ++i) {
    overlap += RankOverlap(scores[0], scores[i], map.num_retrieval()) /
               static_cast<double>(scores.size() - 1);
  }
  if (run_.ranks().rank() == 0) {
    Log(LogLevel::kInfo, "calibrate", absl::StrCat(method, " map"),
        {{"retrieval_heads", map.num_retrieval()},
         {"of", model_.config().num_query_heads()},
         {"documents", map.documents},
         {"overlap_between_documents", scores.size() > 1 ? overlap : 1}});
  }
  return map;
}

absl::StatusOr<NeedleDocument> Calibration::MakeNeedleDocument(
    std::int64_t i) const {
  NeedleDocumentOptions options;
  options.num_tokens = config_.tokens();
  options.needle_tokens = config_.needle_tokens();
  options.window = run_.run().attention().window();
  options.sinks = run_.run().attention().sinks();
  options.first_needle = run_.run().data().first_needle();
  return stream_.CalibrationDocument(options, i);
}

absl::StatusOr<AnsweredTokens> Calibration::MakeQuestion(
    const std::vector<QuestionKind>& kinds, std::int64_t i) const {
  const auto kind = static_cast<std::size_t>(i) % kinds.size();
  const std::int64_t index = i / static_cast<std::int64_t>(kinds.size());
  ASSIGN_OR_RETURN(
      const Question question,
      stream_.CalibrationQuestion(kinds[kind], config_.tokens(), index));
  AnsweredTokens answered{question.prompt_T,
                          static_cast<std::int64_t>(question.prompt_T.size())};
  answered.tokens.insert(answered.tokens.end(), question.answer_T.begin(),
                         question.answer_T.end());
  return answered;
}

absl::StatusOr<HeadMap> Calibration::Needle() {
  const auto score = [this](const NeedleDocument& document) {
    return NeedleScores(model_, document.tokens_T,
                        {document.post.begin, document.post.end},
                        {document.pre.begin, document.pre.end});
  };
  ASSIGN_OR_RETURN(
      const Scores scores,
      ShareDocuments(
          "needle", config_.needle_documents(),
          [this](std::int64_t i) { return MakeNeedleDocument(i); }, score));
  return MapOf("needle", scores);
}

absl::StatusOr<HeadMap> Calibration::Effect(bool one_by_one) {
  const char* method = one_by_one ? "one_by_one" : "effect";
  const LocalShape local{run_.run().attention().window(),
                         run_.run().attention().sinks()};
  const std::vector<QuestionKind> kinds = KindsOf(config_.effect_kinds());
  const auto score = [&](const AnsweredTokens& question) {
    return one_by_one
               ? OneByOneScores(model_, local, question)
               : EffectScores(model_, local, question, config_.gate_points(),
                              config_.recompute());
  };
  ASSIGN_OR_RETURN(
      const Scores scores,
      ShareDocuments(
          method,
          config_.effect_documents() * static_cast<std::int64_t>(kinds.size()),
          [&](std::int64_t i) { return MakeQuestion(kinds, i); }, score));
  return MapOf(method, scores);
}

// A map that was made elsewhere.
absl::StatusOr<HeadMap> ReadMap(RunContext& run, const ModelConfig& config,
                                const std::string& path) {
  constexpr double kDuoThreshold = 0.5;
  ASSIGN_OR_RETURN(const std::string text, run.files().ReadFile(path));
  HeadMap map;
  if (absl::StrContains(text, "headwise_config")) {
    ASSIGN_OR_RETURN(map, HeadMapFromHeadwise(config, text, path));
  } else if (absl::StrContains(text, "layers {")) {
    ASSIGN_OR_RETURN(map, HeadMapFromText(text, path));
  } else {
    ASSIGN_OR_RETURN(
        map, HeadMapFromDuoAttention(config, text, kDuoThreshold, path));
  }
  RETURN_IF_ERROR(CheckFits(config, map, path));
  map.window = run.run().attention().window();
  map.sinks = run.run().attention().sinks();
  return map;
}

absl::Status WriteMap(RunContext& run, const std::string& name,
                      const HeadMap& map) {
  return run.OnFirst([&] {
    return run.files().WriteFileAtomically(run.Path(name), ToText(map));
  });
}

}  // namespace

absl::StatusOr<StageResult> MakeCalibrate(RunContext& run) {
  const configs::Calibration& config = run.run().calibration();
  ASSIGN_OR_RETURN(Transformer* const model, run.Teacher());
  // All weights are read for it.
  ASSIGN_OR_RETURN(const std::string fingerprint,
                   FromFirstRank(run.ctx(), run.ranks(),
                                 [&] { return run.TeacherFingerprint(); }));
  ASSIGN_OR_RETURN(const auto stream,
                   run.MakeStream(RunContext::StreamUse::kMeasure));
  RETURN_IF_ERROR(run.OnFirst(
      [&] { return run.files().CreateDirectories(run.Path("calibrate")); }));
  Calibration calibration(run, *model, *stream, fingerprint);
  StageResult result;
  result.outputs = {"calibrate/heads.needle.textproto",
                    "calibrate/heads.effect.textproto", "heads.textproto"};
  ASSIGN_OR_RETURN(const HeadMap needle, calibration.Needle());
  RETURN_IF_ERROR(WriteMap(run, result.outputs[0], needle));
  ASSIGN_OR_RETURN(const HeadMap effect, calibration.Effect(false));
  RETURN_IF_ERROR(WriteMap(run, result.outputs[1], effect));
  HeadMap used =
      config.method() == configs::Calibration::NEEDLE ? needle : effect;
  if (!config.map().empty()) {
    ASSIGN_OR_RETURN(used, ReadMap(run, model->config(), config.map()));
    used.model_fingerprint = fingerprint;
  } else if (config.method() == configs::Calibration::ONE_BY_ONE) {
    ASSIGN_OR_RETURN(used, calibration.Effect(true));
  }
  RETURN_IF_ERROR(WriteMap(run, result.outputs[2], used));
  return result;
}

}  // namespace rtpurbo
