// Token lists as what a Transformer reads, and a teacher's labels from it.

#ifndef RTPURBO_TRAINER_MODEL_INPUT_H_
#define RTPURBO_TRAINER_MODEL_INPUT_H_

#include <cstdint>
#include <span>

#include "model/attention.h"
#include "model/transformer.h"

namespace rtpurbo {

// One document: positions count from `first_position`.
ForwardInput MakeInput(const ExecContext& ctx,
                       std::span<const std::int32_t> tokens,
                       std::int64_t output_rows, bool recompute = false,
                       std::int64_t first_position = 0);

// This rank's rows of one document, of which the last `output_rows` are wanted:
// all of them, unless the model's ranks share the rows of a sequence.
ForwardInput MakeInput(const Transformer& model,
                       std::span<const std::int32_t> tokens,
                       std::int64_t output_rows, bool recompute = false);
// Whether this rank is the one that counts the rows and tokens of a sequence
// for those that share it.
bool Speaks(const Transformer& model);

// What a teacher says of L label rows; self-distillation needs no more.
struct TopLabels {
  Tensor id_LK;     // i32
  Tensor logit_LK;  // f32
  Tensor lse_L;     // f32, over the whole vocabulary
};

// Those of the label rows that this rank has.
TopLabels OwnLabels(const ExecContext& ctx, const ForwardInput& input,
                    const TopLabels& labels);

// The top_k tokens at the last output_rows rows of a forward pass without tape.
TopLabels TeacherLabels(Transformer& model, const ForwardInput& input,
                        const Attend& attend, std::int64_t top_k);

// KL to `labels`, summed over the rows of x_LD: [1] f32.
Var LabelLoss(Tape& tape, Transformer& model, const Var& x_LD,
              const TopLabels& labels);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_MODEL_INPUT_H_
