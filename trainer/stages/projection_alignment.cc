#include "trainer/stages/projection_alignment.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/alignment_kl.h"
#include "kernels/core/rng.h"
#include "kernels/core/status_macros.h"
#include "kernels/embedding.h"
#include "kernels/head_projection.h"
#include "model/attention.h"
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

// One layer's part of AlignmentLoss.
double LayerLoss(const ExecContext& ctx, const AttentionCall& call,
                 const kernels::AttentionPattern& pattern, const Tensor& lse_HT,
                 const IndexProjections::Layer& layer, const Tensor& row_M,
                 float scale, IndexProjections::Layer* grads) {
  const Tensor q_pre_MHC = GatherRows(ctx, call.q_pre_THC.value(), row_M);
  const Tensor& k_pre_TGC = call.k_pre_NGC.value();
  kernels::AlignmentInputs in;
  in.q_THC = call.q_THC.value();
  in.k_NGC = call.k_NGC.value();
  in.lse_HT = lse_HT;
  in.x_MSR = ProjectQueries(ctx, layer, q_pre_MHC);
  in.y_NSR = ProjectKeys(ctx, layer, k_pre_TGC);
  in.row_M = row_M;
  in.head_S = layer.head_S;
  Tensor kl_SM =
      Tensor::Empty(ctx, DType::kF32, {in.x_MSR.dim(1), in.x_MSR.dim(0)});
  Tensor dx_MSR;
  Tensor dy_NSR;
  if (grads != nullptr) {
    dx_MSR = Tensor::Empty(ctx, DType::kF32, in.x_MSR.shape());
    dy_NSR = Tensor::Empty(ctx, DType::kF32, in.y_NSR.shape());
  }
  kernels::AlignmentKl(ctx, pattern, in, scale, &kl_SM, &dx_MSR, &dy_NSR);
  if (grads != nullptr) {
    kernels::HeadProjectionBackward(ctx, q_pre_MHC, dx_MSR, layer.head_S,
                                    &grads->wq_SRC);
    kernels::HeadProjectionBackward(ctx, k_pre_TGC, dy_NSR, layer.kv_head_S,
                                    &grads->wk_SRC);
  }
  double sum = 0;
  for (const float kl : ToHost<float>(ctx, kl_SM)) {
    sum += kl;
  }
  return sum;
}

std::int64_t NumSlots(const IndexProjections& projections) {
  std::int64_t slots = 0;
  for (const IndexProjections::Layer& layer : projections.layers) {
    slots += static_cast<std::int64_t>(layer.head_S.size());
  }
  return slots;
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

double AlignmentLoss(Transformer& model, const IndexProjections& projections,
                     const std::vector<std::int32_t>& tokens,
                     const std::vector<std::int32_t>& rows, float scale,
                     IndexProjections* grads) {
  const ExecContext& ctx = model.ctx();
  const Tensor row_M =
      FromHost(ctx, rows, {static_cast<std::int64_t>(rows.size())});
  double loss = 0;
  const auto observe = [&](const AttentionCall& call,
                           const kernels::AttentionPattern& pattern,
                           const Tensor& lse_HT) {
    const auto l = static_cast<std::size_t>(call.layer);
    const IndexProjections::Layer& layer = projections.layers[l];
    if (!layer.empty()) {
      loss += LayerLoss(ctx, call, pattern, lse_HT, layer, row_M, scale,
                        grads == nullptr ? nullptr : &grads->layers[l]);
    }
  };
  Tape tape(ctx, Tape::Mode::kOff);
  const ModelConfig& config = model.config();
  model.AfterBlocks(
      tape, MakeInput(ctx, tokens, static_cast<std::int64_t>(tokens.size())),
      ObservedAttend(MakePatterns(config, DenseMap(config)), observe),
      NeededBlocks(projections));
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
                       options_.replicas});
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
  const double loss = AlignmentLoss(model_, *projections_, sequence.tokens_T,
                                    rows, scale, &grads_);
  sums->loss += loss;
  sums->kl += loss / static_cast<double>(NumSlots(*projections_));
  sums->rows += static_cast<double>(rows.size());
  sums->tokens += T;
  return model_.status();
}

absl::StatusOr<double> ProjectionAlignment::HeldOutMean(std::int64_t i) {
  ASSIGN_OR_RETURN(const Sequence sequence, options_.held_out(i));
  const std::vector<std::int32_t> rows =
      options_.rows.HeldOut(sequence.num_tokens());
  const double sum =
      AlignmentLoss(model_, *projections_, sequence.tokens_T, rows, 0, nullptr);
  RETURN_IF_ERROR(model_.status());
  return sum / (static_cast<double>(rows.size()) *
                static_cast<double>(NumSlots(*projections_)));
}

}  // namespace rtpurbo
