#include <memory>

#include "absl/strings/str_cat.h"
#include "data/checkpoint_folder.h"
#include "kernels/core/status_macros.h"
#include "trainer/conversion/config_options.h"
#include "trainer/conversion/labels.h"
#include "trainer/conversion/stage_config.h"
#include "trainer/conversion/stages.h"
#include "trainer/metrics.h"
#include "trainer/projections_file.h"
#include "trainer/stages/self_distillation.h"
#include "trainer/trained_model.h"

namespace rtpurbo {
namespace {

constexpr char kFolder[] = "distill";

SelfDistillation::Options OptionsOf(RunContext& run, const SparseMode& mode,
                                    const DocumentStream& stream,
                                    const LabelCache& labels) {
  const configs::Distill& distill = run.run().distill();
  SelfDistillation::Options options;
  options.mode = mode;
  if (!distill.select_on_labels()) {
    options.mode.projections = nullptr;
  }
  options.sequences_per_step = distill.sequences_per_step();
  options.recompute = distill.recompute();
  options.train = TrainingSequences(stream);
  options.train_labels = TrainingLabels(run.ctx(), labels, distill.top_k());
  options.held_out = HeldOutSequences(stream);
  options.held_out_labels = HeldOutLabels(run.ctx(), labels, distill.top_k());
  options.num_held_out = distill.held_out_sequences();
  options.replicas = run.replicas();
  return options;
}

}  // namespace

absl::StatusOr<StageResult> MakeDistill(RunContext& run) {
  run.DropTeacher();
  ASSIGN_OR_RETURN(const HeadMap map, run.ReadHeadMap());
  ASSIGN_OR_RETURN(const ModelConfig* config, run.model_config());
  ASSIGN_OR_RETURN(
      const SparseMode mode,
      ReadProjections(run.ctx(), run.files(), run.Path("align"), *config, map));
  ASSIGN_OR_RETURN(const auto stream,
                   run.MakeStream(RunContext::StreamUse::kDistill));
  ASSIGN_OR_RETURN(const auto labels, OpenLabels(run, *stream));
  ASSIGN_OR_RETURN(
      const auto model,
      LoadTransformer(
          run.ctx(), run.files(), run.run().model().path(),
          run.ModelOptions(
              TrainableRoles(run.run().distill()),
              static_cast<float>(run.run().distill().weight_decay()))));
  RETURN_IF_ERROR(run.OnFirst(
      [&] { return run.files().CreateDirectories(run.Path(kFolder)); }));
  SelfDistillation stage(*model, OptionsOf(run, mode, *stream, *labels));
  TrainOptions options = DistillTrainOptions(run.run());
  options.team = run.team();
  options.folder = run.Path(kFolder);
  options.control = run.control();
  options.groups = run.groups();
  options.profile = run.ProfileOf("distill");
  options.config_text = StageConfigText(run.run(), "distill");
  Metrics metrics(run.files(), run.folder(), options.steps);
  ASSIGN_OR_RETURN(
      const TrainResult trained,
      Train(run.ctx(), run.files(), run.ranks(), stage, options, metrics));
  if (run.ranks().rank() == 0) {
    LogFall("distill", trained);
  }
  return StageResult{
      {absl::StrCat("distill/", CheckpointName(trained.best_step)),
       "distill/best"},
      HeldOutNumbers("distill", trained)};
}

}  // namespace rtpurbo
