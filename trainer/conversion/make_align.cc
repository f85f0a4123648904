#include <memory>

#include "configs/load.h"
#include "kernels/core/log.h"
#include "kernels/core/status_macros.h"
#include "nlohmann/json.hpp"
#include "trainer/conversion/config_options.h"
#include "trainer/conversion/stage_config.h"
#include "trainer/conversion/stages.h"
#include "trainer/evaluation/statistics.h"
#include "trainer/metrics.h"
#include "trainer/projections_file.h"
#include "trainer/stages/projection_alignment.h"

namespace rtpurbo {
namespace {

constexpr char kFolder[] = "align";
constexpr char kStart[] = "align/start";

absl::StatusOr<IndexProjections> Start(RunContext& run, Transformer& model,
                                       const HeadMap& map,
                                       const DocumentStream& stream) {
  std::vector<std::vector<std::int32_t>> sequences;
  if (run.run().align().start() != configs::Align::RANDOM) {
    for (std::int64_t i = 0; i < run.run().align().start_sequences(); ++i) {
      ASSIGN_OR_RETURN(Sequence sequence, stream.At(i));
      sequences.push_back(std::move(sequence.tokens_T));
    }
  }
  IndexProjections start = StartProjections(
      model, map,
      StartOf(run.run(),
              ProjectionWidthOf(run.run().attention(), model.config())),
      sequences);
  RETURN_IF_ERROR(model.status());
  return start;
}

ProjectionAlignment::Options OptionsOf(const configs::Run& run,
                                       const DocumentStream& stream) {
  const configs::Align& align = run.align();
  ProjectionAlignment::Options options;
  options.rows = {align.row_share(), align.rows_from(), align.answer_rows(),
                  run.seed()};
  options.sequences_per_step = align.sequences_per_step();
  options.weight_decay = static_cast<float>(align.weight_decay());
  options.train = TrainingSequences(stream);
  options.held_out = HeldOutSequences(stream);
  options.num_held_out = align.held_out_sequences();
  return options;
}

}  // namespace

absl::StatusOr<StageResult> MakeAlign(RunContext& run) {
  ASSIGN_OR_RETURN(const HeadMap map, run.ReadHeadMap());
  ASSIGN_OR_RETURN(Transformer* const model, run.Teacher());
  ASSIGN_OR_RETURN(const auto stream,
                   run.MakeStream(RunContext::StreamUse::kAlign));
  ASSIGN_OR_RETURN(IndexProjections projections,
                   Start(run, *model, map, *stream));
  const auto write = [&](const char* folder) {
    return run.OnFirst([&]() -> absl::Status {
      RETURN_IF_ERROR(run.files().CreateDirectories(run.Path(folder)));
      return WriteProjections(
          run.ctx(), run.files(), run.Path(folder),
          run.ModeOf(map, std::make_shared<IndexProjections>(projections)));
    });
  };
  RETURN_IF_ERROR(write(kStart));
  ProjectionAlignment::Options stage_options = OptionsOf(run.run(), *stream);
  stage_options.replicas = &run.ranks();
  ProjectionAlignment stage(*model, stage_options, &projections);
  TrainOptions options = AlignTrainOptions(run.run());
  options.team = run.team();
  options.folder = run.Path(kFolder);
  options.control = run.control();
  options.groups = run.groups();
  options.profile = run.ProfileOf("align");
  options.config_text = StageConfigText(run.run(), "align");
  Metrics metrics(run.files(), run.folder(), options.steps);
  ASSIGN_OR_RETURN(
      const TrainResult trained,
      Train(run.ctx(), run.files(), run.ranks(), stage, options, metrics));
  if (run.ranks().rank() == 0) {
    LogFall("align", trained);
  }
  RETURN_IF_ERROR(write(kFolder));
  return StageResult{
      {"align/start/projections.safetensors", "align/projections.safetensors"},
      HeldOutNumbers("align", trained)};
}

}  // namespace rtpurbo
