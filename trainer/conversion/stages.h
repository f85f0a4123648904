// The stages of a conversion, each from files to files.

#ifndef RTPURBO_TRAINER_CONVERSION_STAGES_H_
#define RTPURBO_TRAINER_CONVERSION_STAGES_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "trainer/conversion/run_context.h"

namespace rtpurbo {

struct StageResult {
  // Files and folders, from the run's folder.
  std::vector<std::string> outputs;
  std::map<std::string, double> numbers;  // for the summary
};

// Text -> prepare/tokens.h5.
absl::StatusOr<StageResult> MakePrepare(RunContext& run);
// -> calibrate/heads.*.textproto, heads.textproto: the same bytes for any
// number of ranks, if these do not share rows. Those that do (mesh.sequence)
// add up a score's parts in another order than one rank, so the last digits
// differ.
absl::StatusOr<StageResult> MakeCalibrate(RunContext& run);
// -> prepare/labels.h5: the teacher's labels of what stage 2 will see.
absl::StatusOr<StageResult> MakeLabels(RunContext& run);
// -> align/start.safetensors, align/projections.safetensors, align/recall.json.
absl::StatusOr<StageResult> MakeAlign(RunContext& run);
// -> distill/step_*: checkpoints, and which is the best.
absl::StatusOr<StageResult> MakeDistill(RunContext& run);
// -> export/: a published folder.
absl::StatusOr<StageResult> MakeExport(RunContext& run);
// -> evaluation.jsonl, fidelity.json.
absl::StatusOr<StageResult> MakeEvaluate(RunContext& run);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_CONVERSION_STAGES_H_
