#include "data/checkpoint_folder.h"
#include "kernels/core/status_macros.h"
#include "trainer/conversion/config_options.h"
#include "trainer/conversion/stages.h"
#include "trainer/exporter.h"
#include "trainer/projections_file.h"
#include "trainer/stage_checkpoint.h"
#include "trainer/trained_model.h"

namespace rtpurbo {

absl::StatusOr<StageResult> MakeExport(RunContext& run) {
  run.DropTeacher();
  ASSIGN_OR_RETURN(const HeadMap map, run.ReadHeadMap());
  ASSIGN_OR_RETURN(const ModelConfig* config, run.model_config());
  ASSIGN_OR_RETURN(
      const SparseMode mode,
      ReadProjections(run.ctx(), run.files(), run.Path("align"), *config, map));
  ASSIGN_OR_RETURN(
      const auto model,
      LoadTransformer(
          run.ctx(), run.files(), run.run().model().path(),
          run.ModelOptions(TrainableRoles(run.run().distill()), 0)));
  ASSIGN_OR_RETURN(const CheckpointRef best,
                   BestCheckpoint(run.files(), run.Path("distill")));
  ASSIGN_OR_RETURN(const Checkpoint checkpoint,
                   Checkpoint::Open(run.files(), best.dir));
  RETURN_IF_ERROR(LoadWeights(run.ctx(), checkpoint, TrainedTensors(*model)));
  RETURN_IF_ERROR(ExportModel(run.files(), *model, mode,
                              run.run().model().path(), run.Path("export")));
  return StageResult{{"export"}, {}};
}

}  // namespace rtpurbo
