#include "trainer/stages/projection_alignment.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/alignment_kl.h"
#include "kernels/core/rng.h"
#include "kernels/core/status_macros.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/head_projection.h"
#include "model/attention.h"
#include "model/sequence_attention.h"
#include "trainer/model_input.h"

namespace rtpurbo {
namespace {

constexpr std::uint64_t kRowStream = 0x726f7773;

// x_THC of the rows at row_M: [M, H, C].
Tensor GatherRows(const ExecContext& ctx, const Tensor& x_THC,
                  const Tensor& row_M) {
  const Shape& shape = x_THC.shape();
  Tensor y =
      Tensor::Empty(ctx, x_THC.dtype(), {row_M.dim(0), shape[1] * shape[2]});
  kernels::EmbeddingForward(ctx, x_THC.Reshape({shape[0], shape[1] * shape[2]}),
                            row_M, &y);
  return y.Reshape({row_M.dim(0), shape[1], shape[2]});
}

// One layer's part of AlignmentLoss: what of it is this rank's. Keys are
// projected where their rows are, and brought to the queries; their gradients
// go back the same way.
class LayerAlignment {
 public:
  // `grads` may be null. Collective if the sequence is cut over ranks, as are
  // the calls of Finish().
  LayerAlignment(const ExecContext& ctx, const AttentionCall& call,
                 const IndexProjections::Layer& layer,
                 IndexProjections::Layer* grads);

  // The loss of those of `rows` that a call, or one chunk of it, has. Adds
  // `scale` times its gradient by the queries.
  double Add(const AttentionCall& chunk,
             const kernels::AttentionPattern& pattern, const Tensor& lse_HT,
             const std::vector<std::int32_t>& rows, float scale);
  // Adds the gradients by the keys.
  void Finish();

 private:
  const ExecContext& ctx_;
  const IndexProjections::Layer& layer_;
  IndexProjections::Layer* grads_;
  Tensor k_pre_NGC_;  // of this rank's rows
  Tape tape_;
  Var own_y_;  // [N, S R]
  Var y_;      // of all rows up to the last query
  Tensor dy_;
};

LayerAlignment::LayerAlignment(const ExecContext& ctx,
                               const AttentionCall& call,
                               const IndexProjections::Layer& layer,
                               IndexProjections::Layer* grads)
    : ctx_(ctx),
      layer_(layer),
      grads_(grads),
      k_pre_NGC_(call.k_pre_NGC.value()),
      tape_(ctx) {
  const Tensor y_NSR = ProjectKeys(ctx, layer, k_pre_NGC_);
  own_y_ = Var(y_NSR.Reshape({y_NSR.dim(0), y_NSR.dim(1) * y_NSR.dim(2)}),
               /*requires_grad=*/grads != nullptr);
  y_ = call.part == nullptr ? own_y_
                            : BringRows(tape_, *call.part, call.wanted, own_y_);
  if (grads != nullptr) {
    dy_ = Tensor::Zeros(ctx, DType::kF32, y_.value().shape());
  }
}

double LayerAlignment::Add(const AttentionCall& chunk,
                           const kernels::AttentionPattern& pattern,
                           const Tensor& lse_HT,
                           const std::vector<std::int32_t>& rows, float scale) {
  const std::int64_t begin = chunk.query_begin;
  std::vector<std::int32_t> positions;
  std::vector<std::int32_t> query_rows;
  for (const std::int32_t row : rows) {
    if (begin <= row && row < begin + chunk.q_THC.value().dim(0)) {
      positions.push_back(row);
      query_rows.push_back(row - static_cast<std::int32_t>(begin));
    }
  }
  const auto M = static_cast<std::int64_t>(positions.size());
  const auto S = static_cast<std::int64_t>(layer_.head_S.size());
  const std::int64_t N = chunk.k_NGC.value().dim(0);
  const Shape y_shape = {N, S, y_.value().dim(1) / S};
  const Tensor q_pre_MHC = GatherRows(ctx_, chunk.q_pre_THC.value(),
                                      FromHost(ctx_, query_rows, {M}));
  kernels::AlignmentInputs in;
  in.q_THC = chunk.q_THC.value();
  in.k_NGC = chunk.k_NGC.value();
  in.lse_HT = lse_HT;
  in.x_MSR = ProjectQueries(ctx_, layer_, q_pre_MHC);
  in.y_NSR = y_.value().Slice(0, N).Reshape(y_shape);
  in.query_begin = begin;
  in.row_M = FromHost(ctx_, positions, {M});
  in.head_S = layer_.head_S;
  Tensor kl_SM = Tensor::Empty(ctx_, DType::kF32, {S, M});
  Tensor dx_MSR;
  Tensor dy_NSR;
  if (grads_ != nullptr) {
    dx_MSR = Tensor::Empty(ctx_, DType::kF32, in.x_MSR.shape());
    dy_NSR = Tensor::Empty(ctx_, DType::kF32, y_shape);
  }
  kernels::AlignmentKl(ctx_, pattern, in, scale, &kl_SM, &dx_MSR, &dy_NSR);
  if (grads_ != nullptr) {
    kernels::HeadProjectionBackward(ctx_, q_pre_MHC, dx_MSR, layer_.head_S,
                                    &grads_->wq_SRC);
    Tensor sum = dy_.Slice(0, N);
    kernels::AddInto(ctx_, dy_NSR.Reshape(sum.shape()), &sum);
  }
  double loss = 0;
  for (const float kl : ToHost<float>(ctx_, kl_SM)) {
    loss += kl;
  }
  return loss;
}

void LayerAlignment::Finish() {
  if (grads_ == nullptr) {
    return;
  }
  tape_.Backward(y_, dy_);
  const Tensor dy_ND = own_y_.grad();
  const auto S = static_cast<std::int64_t>(layer_.head_S.size());
  kernels::HeadProjectionBackward(
      ctx_, k_pre_NGC_, dy_ND.Reshape({dy_ND.dim(0), S, dy_ND.dim(1) / S}),
      layer_.kv_head_S, &grads_->wk_SRC);
}

std::int64_t NumSlots(const IndexProjections& projections) {
  std::int64_t slots = 0;
  for (const IndexProjections::Layer& layer : projections.layers) {
    slots += static_cast<std::int64_t>(layer.head_S.size());
  }
  return slots;
}

// Adds the losses of layers, sums over their heads, to those of a step.
void AddLosses(const IndexProjections& projections,
               const std::vector<double>& loss, StepSums* sums) {
  const double all = std::accumulate(loss.begin(), loss.end(), 0.0);
  sums->loss += all;
  sums->kl += all / static_cast<double>(NumSlots(projections));
  sums->kl_of_layer.resize(loss.size());
  for (std::size_t l = 0; l < loss.size(); ++l) {
    const std::size_t heads = projections.layers[l].head_S.size();
    sums->kl_of_layer[l] += heads == 0
                                ? std::numeric_limits<double>::quiet_NaN()
                                : loss[l] / static_cast<double>(heads);
  }
}

// Blocks up to the last that has a retrieval head: what lies above is not
// needed.
std::int64_t NeededBlocks(const IndexProjections& projections) {
  auto needed = static_cast<std::int64_t>(projections.layers.size());
  while (needed > 0 &&
         projections.layers[static_cast<std::size_t>(needed - 1)].empty()) {
    --needed;
  }
  return needed;
}

}  // namespace

std::int64_t AlignmentRows::First(std::int64_t T) const {
  return static_cast<std::int64_t>(std::ceil(from * static_cast<double>(T)));
}

std::vector<std::int32_t> AlignmentRows::At(std::int64_t step,
                                            std::int64_t T) const {
  const std::int64_t begin = First(T);
  const std::int64_t answer = std::max<std::int64_t>(0, T - answer_rows);
  std::vector<std::int32_t> rows;
  for (std::int64_t t = 0; t < T; ++t) {
    const std::uint64_t bits =
        RandomBits(MixBits(seed ^ kRowStream), static_cast<std::uint64_t>(step),
                   static_cast<std::uint64_t>(t));
    const double uniform = static_cast<double>(bits >> 11U) * 0x1p-53;
    if (t >= answer || (t >= begin && uniform < share)) {
      rows.push_back(static_cast<std::int32_t>(t));
    }
  }
  return rows;
}

std::vector<std::int32_t> AlignmentRows::HeldOut(std::int64_t T) const {
  constexpr std::int64_t kEvery = 8;
  std::vector<std::int32_t> rows;
  for (std::int64_t t = First(T); t < T; ++t) {
    if (t % kEvery == 0 || t >= T - answer_rows) {
      rows.push_back(static_cast<std::int32_t>(t));
    }
  }
  return rows;
}

std::vector<double> AlignmentLoss(Transformer& model,
                                  const IndexProjections& projections,
                                  const std::vector<std::int32_t>& tokens,
                                  const std::vector<std::int32_t>& rows,
                                  float scale, IndexProjections* grads) {
  const ExecContext& ctx = model.ctx();
  const ModelConfig& config = model.config();
  std::vector<double> loss(projections.layers.size());
  LayerAlignment* current = nullptr;
  const Attend observed = ObservedAttend(
      MakePatterns(config, DenseMap(config)),
      [&](const AttentionCall& call, const kernels::AttentionPattern& pattern,
          const Tensor& lse_HT) {
        if (current != nullptr) {
          loss[static_cast<std::size_t>(call.layer)] +=
              current->Add(call, pattern, lse_HT, rows, scale);
        }
      });
  const Attend attend = [&](Tape& tape, Stash& stash,
                            const AttentionCall& call) {
    const auto l = static_cast<std::size_t>(call.layer);
    if (projections.layers[l].empty()) {
      return observed(tape, stash, call);
    }
    LayerAlignment layer(ctx, call, projections.layers[l],
                         grads == nullptr ? nullptr : &grads->layers[l]);
    current = &layer;
    Var o_THC = observed(tape, stash, call);
    layer.Finish();
    current = nullptr;
    return o_THC;
  };
  Tape tape(ctx, Tape::Mode::kOff);
  model.AfterBlocks(
      tape, MakeInput(model, tokens, static_cast<std::int64_t>(tokens.size())),
      attend, NeededBlocks(projections));
  return loss;
}

ProjectionAlignment::ProjectionAlignment(Transformer& model, Options options,
                                         IndexProjections* projections)
    : model_(model), options_(std::move(options)), projections_(projections) {
  CHECK_LE(1, NumSlots(*projections_)) << "no head retrieves";
  grads_ = *projections_;
  for (IndexProjections::Layer& layer : grads_.layers) {
    if (!layer.empty()) {
      const ExecContext ctx = model_.ctx().Tagged("grads");
      layer.wq_SRC = Tensor::Zeros(ctx, DType::kF32, layer.wq_SRC.shape());
      layer.wk_SRC = Tensor::Zeros(ctx, DType::kF32, layer.wk_SRC.shape());
    }
  }
}

std::vector<TrainedTensor> ProjectionAlignment::trained() {
  std::vector<TrainedTensor> tensors;
  const auto add = [&](const std::string& name, const Tensor& weight,
                       const Tensor& grad) {
    const Shape flat = {weight.size()};
    tensors.push_back({name,
                       weight.Reshape(flat),
                       grad.Reshape(flat),
                       options_.weight_decay,
                       {{name, weight.shape(), 0}},
                       0,
                       options_.replicas,
                       "projections"});
  };
  for (std::size_t l = 0; l < projections_->layers.size(); ++l) {
    const IndexProjections::Layer& layer = projections_->layers[l];
    if (!layer.empty()) {
      add(absl::StrCat("projections.", l, ".wq"), layer.wq_SRC,
          grads_.layers[l].wq_SRC);
      add(absl::StrCat("projections.", l, ".wk"), layer.wk_SRC,
          grads_.layers[l].wk_SRC);
    }
  }
  return tensors;
}

absl::StatusOr<double> ProjectionAlignment::RowsOf(std::int64_t step,
                                                   std::int64_t micro_batch) {
  ASSIGN_OR_RETURN(
      const Sequence sequence,
      options_.train(step * options_.sequences_per_step + micro_batch));
  const auto T = static_cast<std::int64_t>(sequence.tokens_T.size());
  return static_cast<double>(options_.rows.At(step, T).size());
}

absl::Status ProjectionAlignment::RunMicroBatch(std::int64_t step,
                                                std::int64_t micro_batch,
                                                float scale, StepSums* sums) {
  ASSIGN_OR_RETURN(
      const Sequence sequence,
      options_.train(step * options_.sequences_per_step + micro_batch));
  const auto T = static_cast<std::int64_t>(sequence.tokens_T.size());
  const std::vector<std::int32_t> rows = options_.rows.At(step, T);
  AddLosses(*projections_,
            AlignmentLoss(model_, *projections_, sequence.tokens_T, rows, scale,
                          &grads_),
            sums);
  if (Speaks(model_)) {
    sums->rows += static_cast<double>(rows.size());
    sums->tokens += T;
  }
  return model_.status();
}

absl::StatusOr<double> ProjectionAlignment::HeldOutMean(std::int64_t i) {
  ASSIGN_OR_RETURN(const Sequence sequence, options_.held_out(i));
  const std::vector<std::int32_t> rows =
      options_.rows.HeldOut(sequence.num_tokens());
  StepSums sums;
  AddLosses(
      *projections_,
      AlignmentLoss(model_, *projections_, sequence.tokens_T, rows, 0, nullptr),
      &sums);
  RETURN_IF_ERROR(model_.status());
  return sums.loss / (static_cast<double>(rows.size()) *
                      static_cast<double>(NumSlots(*projections_)));
}

}  // namespace rtpurbo
