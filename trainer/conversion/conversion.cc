#include "trainer/conversion/conversion.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "configs/load.h"
#include "dist/agree.h"
#include "kernels/core/log.h"
#include "kernels/core/process.h"
#include "kernels/core/status_macros.h"
#include "trainer/conversion/run_mesh.h"
#include "trainer/conversion/stage_config.h"
#include "trainer/conversion/stages.h"
#include "trainer/conversion/summary_file.h"
#include "trainer/report.h"

namespace rtpurbo {
namespace {

// Ranks wait for what the first does alone.
constexpr std::chrono::hours kStageTimeout{24 * 30};

struct StageRule {
  const char* name;
  std::vector<const char*> reads;   // stages whose outputs it reads
  std::vector<const char*> writes;  // removed before it is made again
  absl::StatusOr<StageResult> (*make)(RunContext& run);
  bool by_first_rank;  // alone, the others wait
  Sharing sharing = Sharing::kNothing;
};

const std::vector<StageRule>& Rules() {
  static const auto* const kRules = new std::vector<StageRule>{
      {"prepare", {}, {"prepare/tokens.h5"}, MakePrepare, true},
      {"calibrate",
       {"prepare"},
       {"calibrate", "heads.textproto"},
       MakeCalibrate,
       false,
       Sharing::kWeightsAndRows},
      {"labels",
       {"prepare"},
       {"prepare/labels.h5", "prepare/labels.h5.part"},
       MakeLabels,
       false,
       Sharing::kWeights},
      {"align",
       {"prepare", "calibrate"},
       {"align"},
       MakeAlign,
       false,
       Sharing::kWeightsAndRows},
      {"distill",
       {"prepare", "calibrate", "labels", "align"},
       {"distill"},
       MakeDistill,
       false,
       Sharing::kWeightsAndRows},
      {"export",
       {"calibrate", "align", "distill"},
       {"export"},
       MakeExport,
       true},
      {"evaluate",
       {"prepare", "calibrate", "labels", "align", "export"},
       {"evaluation.jsonl", "evaluate"},
       MakeEvaluate,
       false}};

  return *kRules;
}

const StageRule& RuleOf(const std::string& stage) {
  for (const StageRule& rule : Rules()) {
    if (rule.name == stage) {
      return rule;
    }
  }
  CHECK(false) << "no stage " << stage;
  std::abort();
}

// Digests of the texts: they are read whole.
absl::StatusOr<std::string> StateOfPaths(FileSystem& files,
                                         const configs::Data& data) {
  std::string state;
  for (const std::string& path : data.paths()) {
    ASSIGN_OR_RETURN(const std::string digest, DigestOf(files, path));
    absl::StrAppend(&state, digest, " ", path, "\n");
  }
  return state;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Conversion>> Conversion::Open(
    const ExecContext& ctx, FileSystem& files, Communicator& ranks,
    const configs::Run& run, const std::string& out,
    const RunControl& control) {
  const auto make_folder = [&]() -> absl::Status {
    // A run may go on with another number of processes, watched otherwise.
    configs::Run kept = run;
    kept.clear_mesh();
    kept.clear_watch();
    RETURN_IF_ERROR(files.CreateDirectories(out));
    return files.WriteFileAtomically(JoinPath(out, "run.textproto"),
                                     ResolvedText(kept));
  };
  const MeshShape shape = ShapeOf(run.mesh());
  if (shape.expert > 1) {
    const std::string& model = run.model().path();
    ASSIGN_OR_RETURN(const ModelConfig config, ReadModelConfig(files, model));
    RETURN_IF_ERROR(CheckExpertAxis(config, shape.expert, model));
  }
  RETURN_IF_ERROR(OnFirstRank(ctx, ranks, make_folder));
  ASSIGN_OR_RETURN(auto mesh, Mesh::Create(shape, &ranks));
  ranks.set_timeout(kStageTimeout);
  return std::unique_ptr<Conversion>(
      new Conversion(ctx, files, std::move(mesh), run, out, control));
}

std::vector<std::string> Conversion::StageNames() {
  std::vector<std::string> names;
  for (const StageRule& rule : Rules()) {
    names.emplace_back(rule.name);
  }
  return names;
}

absl::Status Conversion::MakeAll() {
  for (const StageRule& rule : Rules()) {
    RETURN_IF_ERROR(Make(rule.name));
  }
  return run_.OnFirst([this] { return Report(); });
}

absl::StatusOr<StageInputs> Conversion::InputsOf(const std::string& stage) {
  StageInputs inputs = {{"config", StageConfigText(run_.run(), stage)}};
  ASSIGN_OR_RETURN(std::string fingerprint, run_.TokenizerFingerprint());
  inputs.emplace_back("tokenizer", std::move(fingerprint));
  if (stage == "prepare") {
    ASSIGN_OR_RETURN(std::string state,
                     StateOfPaths(run_.files(), run_.run().data()));
    inputs.emplace_back("text", std::move(state));
    return inputs;
  }
  ASSIGN_OR_RETURN(fingerprint, run_.TeacherFingerprint());
  inputs.emplace_back("teacher", std::move(fingerprint));
  for (const char* read : RuleOf(stage).reads) {
    ASSIGN_OR_RETURN(const Artefact artefact, artefacts_.Complete(read));
    for (const Artefact::Output& output : artefact.outputs()) {
      inputs.emplace_back(output.path(), output.digest());
    }
  }
  if (stage == "labels") {
    ASSIGN_OR_RETURN(const auto stream,
                     run_.MakeStream(RunContext::StreamUse::kDistill));
    inputs.emplace_back("stream", stream->Fingerprint());
  }
  return inputs;
}

absl::Status Conversion::RemoveOutputs(const std::string& stage) {
  for (const char* path : RuleOf(stage).writes) {
    RETURN_IF_ERROR(run_.files().RemoveTree(run_.Path(path)));
  }
  return absl::OkStatus();
}

// On the first rank: whether there is something to do, which then may start.
absl::StatusOr<bool> Conversion::Begin(const std::string& stage) {
  using Action = StagePlan::Action;
  RETURN_IF_ERROR(run_.MayGoOn(stage));
  ASSIGN_OR_RETURN(inputs_, InputsOf(stage));
  ASSIGN_OR_RETURN(const StagePlan plan, artefacts_.Plan(stage, inputs_));
  if (plan.action == Action::kSkip) {
    Log(LogLevel::kInfo, stage, "complete and unchanged: skipped");
    return false;
  }
  if (plan.action == Action::kContinue) {
    Log(LogLevel::kInfo, stage, "was interrupted: continues");
  } else if (plan.action == Action::kRedo) {
    Log(LogLevel::kInfo, stage,
        absl::StrCat("no longer fits, made again: ", plan.why));
  } else {
    Log(LogLevel::kInfo, stage, "starts");
  }
  if (plan.action != Action::kContinue) {
    RETURN_IF_ERROR(RemoveOutputs(stage));
  }
  RETURN_IF_ERROR(artefacts_.Begin(stage, inputs_));
  return true;
}

// On the first rank.
absl::Status Conversion::Finish(const std::string& stage,
                                const StageResult& result, double seconds) {
  RETURN_IF_ERROR(artefacts_.Finish(stage, inputs_, result.outputs, seconds,
                                    result.numbers));
  Log(LogLevel::kInfo, stage, "done",
      {{"seconds", absl::StrFormat("%.1f", seconds)}});
  return Report();
}

absl::Status Conversion::Make(const std::string& stage) {
  if (stage == "distill") {
    RETURN_IF_ERROR(Make("labels"));
  }
  const StageRule& rule = RuleOf(stage);
  const auto begin = [&]() -> absl::StatusOr<std::int64_t> {
    ASSIGN_OR_RETURN(const bool starts, Begin(stage));
    return starts ? 1 : 0;
  };
  ASSIGN_OR_RETURN(const std::int64_t starts,
                   NumberFromFirstRank(run_.ctx(), run_.ranks(), begin));
  if (starts == 0) {
    return absl::OkStatus();
  }
  run_.ShareModels(rule.sharing);
  const double start = SteadySeconds();
  const auto make_and_finish = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const StageResult result, rule.make(run_));
    return Finish(stage, result, SteadySeconds() - start);
  };
  if (rule.by_first_rank) {
    return run_.OnFirst(make_and_finish);
  }
  ASSIGN_OR_RETURN(const StageResult result, rule.make(run_));
  return run_.OnFirst(
      [&] { return Finish(stage, result, SteadySeconds() - start); });
}

absl::Status Conversion::Report() {
  RETURN_IF_ERROR(WriteSummary(run_, artefacts_, StageNames()));
  return WriteReport(run_.files(), run_.folder());
}

}  // namespace rtpurbo
