#include "trainer/model_input.h"

#include <numeric>
#include <vector>

#include "autograd/ops/ops.h"
#include "kernels/top_k_kl.h"
#include "model/sequence_attention.h"

namespace rtpurbo {

ForwardInput MakeInput(const ExecContext& ctx,
                       std::span<const std::int32_t> tokens,
                       std::int64_t output_rows, bool recompute,
                       std::int64_t first_position) {
  std::vector<std::int32_t> positions(tokens.size());
  std::iota(positions.begin(), positions.end(),
            static_cast<std::int32_t>(first_position));
  const auto T = static_cast<std::int64_t>(tokens.size());
  const std::vector<std::int32_t> ids(tokens.begin(), tokens.end());
  return {FromHost(ctx, ids, {T}), FromHost(ctx, positions, {T}), output_rows,
          recompute};
}

ForwardInput MakeInput(const Transformer& model,
                       std::span<const std::int32_t> tokens,
                       std::int64_t output_rows, bool recompute) {
  Communicator* const sequence = model.options().sequence;
  return sequence == nullptr
             ? MakeInput(model.ctx(), tokens, output_rows, recompute)
             : CutSequence(model.ctx(), tokens, output_rows, recompute,
                           sequence);
}

bool Speaks(const Transformer& model) {
  const Communicator* const sequence = model.options().sequence;
  return sequence == nullptr || sequence->rank() == 0;
}

TopLabels OwnLabels(const ExecContext& ctx, const ForwardInput& input,
                    const TopLabels& labels) {
  if (input.part == nullptr) {
    return labels;
  }
  return {OwnRows(ctx, *input.part, labels.id_LK),
          OwnRows(ctx, *input.part, labels.logit_LK),
          OwnRows(ctx, *input.part, labels.lse_L)};
}

TopLabels TeacherLabels(Transformer& model, const ForwardInput& input,
                        const Attend& attend, std::int64_t top_k) {
  Tape tape(model.ctx(), Tape::Mode::kOff);
  const Var hidden = model.Hidden(tape, input, attend);
  const Tensor z_LV = model.Logits(tape, hidden).value();
  const std::int64_t L = z_LV.dim(0);
  TopLabels labels{Tensor::Empty(model.ctx(), DType::kI32, {L, top_k}),
                   Tensor::Empty(model.ctx(), DType::kF32, {L, top_k}),
                   Tensor::Empty(model.ctx(), DType::kF32, {L})};
  kernels::TopK(model.ctx(), z_LV, &labels.logit_LK, &labels.id_LK,
                &labels.lse_L);
  return labels;
}

Var LabelLoss(Tape& tape, Transformer& model, const Var& x_LD,
              const TopLabels& labels) {
  return model.WithHead(
      tape, x_LD, [&](Tape& t, const Var& x, const Var& w_VD) {
        return ops::TopKKl(t, x, w_VD, labels.id_LK, labels.logit_LK);
      });
}

}  // namespace rtpurbo
