// Stage 1: trains the projections of retrieval heads so that projected rows
// follow exact attention rows.
//
//   L = mean over the rows m used, sum over retrieval heads h of
//       KL(softmax of h's exact row m || softmax of its projected row m)
// (arXiv 2605.16928, projection alignment). The backbone is frozen and runs
// without a tape; the kernel gives the gradients of the projected queries and
// keys, and two small products give those of the projections.

#ifndef RTPURBO_TRAINER_STAGES_PROJECTION_ALIGNMENT_H_
#define RTPURBO_TRAINER_STAGES_PROJECTION_ALIGNMENT_H_

#include <cstdint>
#include <vector>

#include "model/index_projection.h"
#include "model/transformer.h"
#include "trainer/sequences.h"
#include "trainer/stage.h"

namespace rtpurbo {

// The rows of a sequence of T tokens that a step trains on: each position from
// T * from on with probability `share`, drawn by (seed, step) alone so that it
// is the same for all heads and ranks, and the last `answer_rows`. Ascending.
struct AlignmentRows {
  double share = 0.25;
  double from = 0.125;
  std::int64_t answer_rows = 24;
  std::uint64_t seed = 0;

  std::vector<std::int32_t> At(std::int64_t step, std::int64_t T) const;
  // The rows of a held-out sequence: every eighth instead of drawn ones.
  std::vector<std::int32_t> HeldOut(std::int64_t T) const;
  // The first position that may be drawn.
  std::int64_t First(std::int64_t T) const;
};

// For each layer the sum over `rows` and its retrieval heads of the KL on one
// sequence. If `grads` is
// not null, adds `scale` times its gradient to grads' wq and wk. Where ranks
// share the rows of a sequence, loss and gradient are those of this rank's
// rows.
std::vector<double> AlignmentLoss(Transformer& model,
                                  const IndexProjections& projections,
                                  const std::vector<std::int32_t>& tokens,
                                  const std::vector<std::int32_t>& rows,
                                  float scale, IndexProjections* grads);

class ProjectionAlignment : public Stage {
 public:
  struct Options {
    AlignmentRows rows;
    std::int64_t sequences_per_step = 1;
    float weight_decay = 0.01F;
    SequenceAt train;
    SequenceAt held_out;  // by number, from 0
    std::int64_t num_held_out = 16;
    Communicator* replicas = nullptr;  // ranks that train the same projections
  };

  // Both must outlive the stage. `projections` are trained in place.
  ProjectionAlignment(Transformer& model, Options options,
                      IndexProjections* projections);

  absl::string_view name() const override { return "align"; }
  std::vector<TrainedTensor> trained() override;
  std::int64_t num_micro_batches() const override {
    return options_.sequences_per_step;
  }
  absl::StatusOr<double> RowsOf(std::int64_t step,
                                std::int64_t micro_batch) override;
  absl::Status RunMicroBatch(std::int64_t step, std::int64_t micro_batch,
                             float scale, StepSums* sums) override;
  std::int64_t num_held_out() const override { return options_.num_held_out; }
  // Per row and head.
  absl::StatusOr<double> HeldOutMean(std::int64_t i) override;

 private:
  Transformer& model_;
  Options options_;
  IndexProjections* projections_;
  IndexProjections grads_;
};

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_STAGES_PROJECTION_ALIGNMENT_H_
