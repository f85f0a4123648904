#include "trainer/stages/self_distillation.h"

#include <span>
#include <utility>

#include "kernels/core/status_macros.h"
#include "trainer/trained_model.h"

namespace rtpurbo {
SelfDistillation::SelfDistillation(Transformer& model, Options options)
    : model_(model), options_(std::move(options)) {}

std::vector<TrainedTensor> SelfDistillation::trained() {
  return TrainedTensors(model_, options_.replicas);
}

absl::StatusOr<double> SelfDistillation::RowsOf(std::int64_t step,
                                                std::int64_t micro_batch) {
  ASSIGN_OR_RETURN(
      const Sequence sequence,
      options_.train(step * options_.sequences_per_step + micro_batch));
  return static_cast<double>(sequence.num_labels());
}

ForwardInput SelfDistillation::InputOf(const Sequence& sequence) const {
  const std::span<const std::int32_t> tokens(sequence.tokens_T);
  return MakeInput(model_, tokens.first(tokens.size() - 1),
                   sequence.num_labels(), options_.recompute);
}

Var SelfDistillation::Loss(Tape& tape, const Sequence& sequence,
                           const ForwardInput& input, const TopLabels& labels) {
  const Attend attend =
      SparseAttend(model_.config(), options_.mode, sequence.num_tokens() - 1,
                   sequence.num_labels(), nullptr);
  const Var hidden = model_.Hidden(tape, input, attend);
  return LabelLoss(tape, model_, hidden,
                   OwnLabels(model_.ctx(), input, labels));
}

absl::Status SelfDistillation::RunMicroBatch(std::int64_t step,
                                             std::int64_t micro_batch,
                                             float scale, StepSums* sums) {
  const std::int64_t index = step * options_.sequences_per_step + micro_batch;
  ASSIGN_OR_RETURN(const Sequence sequence, options_.train(index));
  ASSIGN_OR_RETURN(const TopLabels labels, options_.train_labels(index));
  const ForwardInput input = InputOf(sequence);
  Tape tape(model_.ctx());
  const Var loss = Loss(tape, sequence, input, labels);
  tape.Backward(loss, scale);
  const double sum = ToHost<float>(model_.ctx(), loss.value())[0];
  sums->loss += sum;
  sums->kl += sum;
  if (Speaks(model_)) {
    sums->rows += static_cast<double>(sequence.num_labels());
    sums->tokens += sequence.num_tokens();
  }
  return model_.status();
}

absl::StatusOr<double> SelfDistillation::HeldOutMean(std::int64_t i) {
  ASSIGN_OR_RETURN(const Sequence sequence, options_.held_out(i));
  ASSIGN_OR_RETURN(const TopLabels labels, options_.held_out_labels(i));
  Tape tape(model_.ctx(), Tape::Mode::kOff);
  const Var loss = Loss(tape, sequence, InputOf(sequence), labels);
  RETURN_IF_ERROR(model_.status());
  return static_cast<double>(ToHost<float>(model_.ctx(), loss.value())[0]) /
         static_cast<double>(sequence.num_labels());
}

}  // namespace rtpurbo
