#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "kernels/core/log.h"
#include "kernels/core/progress.h"
#include "kernels/core/status_macros.h"
#include "trainer/conversion/config_options.h"
#include "trainer/conversion/stages.h"
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
  HeadMap MapOf(const char* method, const Scores& scores) const;

  RunContext& run_;
  const configs::Calibration& config_;
  Transformer& model_;
  const DocumentStream& stream_;
  std::string fingerprint_;
};

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
  Log(LogLevel::kInfo, "calibrate", absl::StrCat(method, " map"),
      {{"retrieval_heads", map.num_retrieval()},
       {"of", model_.config().num_query_heads()},
       {"documents", map.documents},
       {"overlap_between_documents", scores.size() > 1 ? overlap : 1}});
  return map;
}

absl::StatusOr<HeadMap> Calibration::Needle() {
  NeedleDocumentOptions options;
  options.num_tokens = config_.tokens();
  options.needle_tokens = config_.needle_tokens();
  options.window = run_.run().attention().window();
  options.sinks = run_.run().attention().sinks();
  options.first_needle = run_.run().data().first_needle();
  Scores scores;
  ProgressLine progress("calibrate needle", config_.needle_documents());
  for (std::int64_t i = 0; i < config_.needle_documents(); ++i) {
    RETURN_IF_ERROR(run_.MayGoOn("calibrate"));
    ASSIGN_OR_RETURN(const NeedleDocument document,
                     stream_.CalibrationDocument(options, i));
    scores.push_back(NeedleScores(model_, document.tokens_T,
                                  {document.post.begin, document.post.end},
                                  {document.pre.begin, document.pre.end}));
    progress.Update({i + 1, (i + 1) * config_.tokens()});
  }
  return MapOf("needle", scores);
}

absl::StatusOr<HeadMap> Calibration::Effect(bool one_by_one) {
  const char* method = one_by_one ? "one_by_one" : "effect";
  const LocalShape local{run_.run().attention().window(),
                         run_.run().attention().sinks()};
  const std::vector<QuestionKind> kinds = KindsOf(config_.effect_kinds());
  Scores scores;
  const std::int64_t all =
      config_.effect_documents() * static_cast<std::int64_t>(kinds.size());
  ProgressLine progress(absl::StrCat("calibrate ", method), all);
  for (std::int64_t i = 0; i < all; ++i) {
    RETURN_IF_ERROR(run_.MayGoOn("calibrate"));
    const auto kind = static_cast<std::size_t>(i) % kinds.size();
    const std::int64_t index = i / static_cast<std::int64_t>(kinds.size());
    ASSIGN_OR_RETURN(
        const Question question,
        stream_.CalibrationQuestion(kinds[kind], config_.tokens(), index));
    AnsweredTokens answered{
        question.prompt_T, static_cast<std::int64_t>(question.prompt_T.size())};
    answered.tokens.insert(answered.tokens.end(), question.answer_T.begin(),
                           question.answer_T.end());
    scores.push_back(one_by_one ? OneByOneScores(model_, local, answered)
                                : EffectScores(model_, local, answered,
                                               config_.gate_points(),
                                               config_.recompute()));
    progress.Update({i + 1, (i + 1) * config_.tokens()});
  }
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
  return run.files().WriteFileAtomically(run.Path(name), ToText(map));
}

}  // namespace

absl::StatusOr<StageResult> MakeCalibrate(RunContext& run) {
  const configs::Calibration& config = run.run().calibration();
  ASSIGN_OR_RETURN(Transformer* const model, run.Teacher());
  ASSIGN_OR_RETURN(const std::string fingerprint, run.TeacherFingerprint());
  ASSIGN_OR_RETURN(const auto stream,
                   run.MakeStream(RunContext::StreamUse::kMeasure));
  RETURN_IF_ERROR(run.files().CreateDirectories(run.Path("calibrate")));
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
