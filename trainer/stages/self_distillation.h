// Stage 2: trains the sparse model on what the dense model said.
//
//   L = sum over label rows of KL(softmax(teacher's top 10) ||
//                                 softmax(student at the same 10 tokens))
// (arXiv 2605.16928, end-to-end self-distillation). The student is the same
// model with local heads windowed everywhere and retrieval heads dense on
// prompt rows, top-p on label rows: what decoding will do. Projections are
// frozen, and masks carry no gradient. The teacher's labels come from a cache;
// the teacher itself is not in memory.

#ifndef RTPURBO_TRAINER_STAGES_SELF_DISTILLATION_H_
#define RTPURBO_TRAINER_STAGES_SELF_DISTILLATION_H_

#include <cstdint>
#include <vector>

#include "model/sparse_mode.h"
#include "model/transformer.h"
#include "trainer/sequences.h"
#include "trainer/stage.h"
#include "trainer/trained_model.h"

namespace rtpurbo {

class SelfDistillation : public Stage {
 public:
  struct Options {
    SparseMode mode;
    std::int64_t sequences_per_step = 1;
    bool recompute = false;
    SequenceAt train;
    LabelsAt train_labels;
    SequenceAt held_out;
    LabelsAt held_out_labels;
    std::int64_t num_held_out = 16;
    Replicas replicas;
  };

  // `model` must outlive the stage and is trained in place.
  SelfDistillation(Transformer& model, Options options);

  absl::string_view name() const override { return "distill"; }
  std::vector<TrainedTensor> trained() override;
  std::int64_t num_micro_batches() const override {
    return options_.sequences_per_step;
  }
  absl::StatusOr<double> RowsOf(std::int64_t step,
                                std::int64_t micro_batch) override;
  absl::Status RunMicroBatch(std::int64_t step, std::int64_t micro_batch,
                             float scale, StepSums* sums) override;
  std::int64_t num_held_out() const override { return options_.num_held_out; }
  absl::StatusOr<double> HeldOutMean(std::int64_t i) override;

 private:
  Var Loss(Tape& tape, const Sequence& sequence, const ForwardInput& input,
           const TopLabels& labels);
  ForwardInput InputOf(const Sequence& sequence) const;

  Transformer& model_;
  Options options_;
};

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_STAGES_SELF_DISTILLATION_H_
