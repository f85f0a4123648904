// What evaluation measures on held-out sequences beside questions.

#ifndef RTPURBO_TRAINER_CONVERSION_HELD_OUT_MEASURES_H_
#define RTPURBO_TRAINER_CONVERSION_HELD_OUT_MEASURES_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "data/label_cache.h"
#include "nlohmann/json.hpp"
#include "trainer/conversion/run_context.h"
#include "trainer/evaluation/fidelity.h"
#include "trainer/model_input.h"

namespace rtpurbo {

// The first evaluation.fidelity_sequences held-out sequences of stage 2, with
// the teacher's labels.
class FidelityMeasure {
 public:
  static absl::StatusOr<FidelityMeasure> Open(RunContext& run);
  // Of a model that each rank has whole; sequences go to the ranks in turn.
  absl::StatusOr<Fidelity> Of(Communicator& ranks, Transformer& model,
                              const SparseMode& mode) const;

 private:
  std::vector<Sequence> sequences_;
  std::vector<TopLabels> labels_;
};

// evaluate/recall.json: what the indexer finds of the teacher's own selection,
// at its start and after stage 1, on held-out sequences of stage 1. The teacher
// is whole on each rank.
absl::StatusOr<nlohmann::ordered_json> RecallRows(RunContext& run,
                                                  Transformer& teacher,
                                                  const SparseMode& start,
                                                  const SparseMode& aligned);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_CONVERSION_HELD_OUT_MEASURES_H_
