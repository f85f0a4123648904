#include "trainer/evaluation/fidelity.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "kernels/attention_view.h"
#include "kernels/core/check.h"
#include "kernels/core/interval.h"
#include "kernels/core/status_macros.h"
#include "kernels/range_attention.h"
#include "kernels/top_k_kl.h"
#include "trainer/evaluation/attended_keys.h"

namespace rtpurbo {
namespace {

using kernels::AttentionPattern;

struct Field {
  const char* name;
  double Fidelity::*value;
};
constexpr Field kFields[] = {
    {"kl", &Fidelity::kl},
    {"argmax_agreement", &Fidelity::argmax_agreement},
    {"kept_mass", &Fidelity::kept_mass},
    {"tokens_kept", &Fidelity::tokens_kept},
    {"blocks_kept", &Fidelity::blocks_kept},
    {"compute_sparsity", &Fidelity::compute_sparsity},
    {"memory_sparsity", &Fidelity::memory_sparsity},
};

// What the layers of one forward pass attend in their last `rows` rows.
class Budget {
 public:
  Budget(const ExecContext& ctx, const ModelConfig& config,
         const SparseMode& mode, std::int64_t rows)
      : ctx_(ctx), config_(config), mode_(mode), rows_(rows) {}

  void Add(const AttentionCall& call, const AttentionPattern& pattern,
           const Tensor& lse_HT) {
    AddMass(call, pattern, lse_HT);
    std::vector<std::int32_t> mask;
    if (pattern.selected_rows() > 0) {
      CHECK_EQ(pattern.selected_rows(), rows_);
      mask = ToHost<std::int32_t>(ctx_, pattern.selected_SMB);
    }
    const std::int64_t N = call.k_NGC.value().dim(0);
    for (std::int64_t m = 0; m < rows_; ++m) {
      AddRow(call.layer, pattern, mask, m, N - rows_ + m);
    }
  }

  void Store(Fidelity* fidelity) const {
    const auto retrieval = static_cast<double>(retrieval_rows_);
    fidelity->kept_mass = mass_ / retrieval;
    fidelity->tokens_kept = tokens_ / retrieval;
    fidelity->blocks_kept = blocks_ / retrieval;
    const double layer_rows =
        static_cast<double>(rows_) * static_cast<double>(config_.num_layers);
    fidelity->compute_sparsity =
        1 - attended_ / (layer_rows * static_cast<double>(config_.num_heads));
    fidelity->memory_sparsity =
        1 - held_ / (layer_rows * static_cast<double>(config_.num_kv_heads));
  }

 private:
  void AddMass(const AttentionCall& call, const AttentionPattern& pattern,
               const Tensor& lse_HT) {
    const std::vector<std::int32_t> heads =
        mode_.map.RetrievalHeads(call.layer);
    if (heads.empty()) {
      return;
    }
    const std::vector<float> dense = DenseLogSums(call, pattern);
    const std::vector<float> attended = ToHost<float>(ctx_, lse_HT);
    const std::int64_t T = lse_HT.dim(1);
    for (const std::int64_t head : heads) {
      for (std::int64_t m = 0; m < rows_; ++m) {
        const auto i = static_cast<std::size_t>(head * T + T - rows_ + m);
        const auto j = static_cast<std::size_t>(head * rows_ + m);
        mass_ += std::exp(static_cast<double>(attended[i]) - dense[j]);
      }
    }
  }

  // [H, rows]: over all visible keys for retrieval heads. Of local heads, whose
  // sums nobody reads, the least is computed.
  std::vector<float> DenseLogSums(const AttentionCall& call,
                                  const AttentionPattern& pattern) const {
    const Tensor& q_THC = call.q_THC.value();
    const std::int64_t T = q_THC.dim(0);
    AttentionPattern dense = kernels::DensePattern(pattern, q_THC.dim(1));
    dense.sinks = 0;
    for (std::int64_t head = 0; head < q_THC.dim(1); ++head) {
      if (!mode_.map.retrieves(call.layer, head)) {
        dense.window_H[static_cast<std::size_t>(head)] = 0;
      }
    }
    const kernels::AttentionInputs in = {q_THC.Slice(T - rows_, T),
                                         call.k_NGC.value(), call.v_NGC.value(),
                                         call.query_begin + T - rows_};
    Tensor o_THC = Tensor::Empty(ctx_, q_THC.dtype(), in.q_THC.shape());
    Tensor lse_HT = Tensor::Empty(ctx_, DType::kF32, {q_THC.dim(1), rows_});
    kernels::RangeAttentionForward(ctx_, dense, in, &o_THC, &lse_HT);
    return ToHost<float>(ctx_, lse_HT);
  }

  // Row m of the last ones, at position i.
  void AddRow(std::int64_t layer, const AttentionPattern& pattern,
              const std::vector<std::int32_t>& mask, std::int64_t m,
              std::int64_t i) {
    const auto visible = static_cast<double>(i + 1);
    std::vector<std::vector<Interval>> keys_G(
        static_cast<std::size_t>(config_.num_kv_heads));
    for (std::int64_t head = 0; head < config_.num_heads; ++head) {
      const std::vector<Interval> keys = KeysOf(pattern, mask, head, m, i);
      const auto kept = static_cast<double>(NumKeysInUnion(keys));
      attended_ += kept / visible;
      if (mode_.map.retrieves(layer, head)) {
        ++retrieval_rows_;
        tokens_ += kept;
        blocks_ += static_cast<double>(NumBlocks(keys));
      }
      std::vector<Interval>& held =
          keys_G[static_cast<std::size_t>(config_.kv_head(head))];
      held.insert(held.end(), keys.begin(), keys.end());
    }
    for (std::vector<Interval>& keys : keys_G) {
      held_ += static_cast<double>(NumKeysInUnion(std::move(keys))) / visible;
    }
  }

  std::vector<Interval> KeysOf(const AttentionPattern& pattern,
                               const std::vector<std::int32_t>& mask,
                               std::int64_t head, std::int64_t m,
                               std::int64_t i) const {
    const auto h = static_cast<std::size_t>(head);
    const std::int64_t slot = pattern.slot_H.empty() ? -1 : pattern.slot_H[h];
    if (mask.empty() || slot < 0) {
      return RangeKeys(pattern.window_H[h], pattern.sinks, i);
    }
    const std::int64_t words = pattern.selected_SMB.dim(2);
    return MaskKeys(mask.data() + (slot * rows_ + m) * words, pattern.block, i);
  }

  // REQUIRES: whole blocks, but for the last one, or all keys.
  std::int64_t NumBlocks(const std::vector<Interval>& keys) const {
    const std::int64_t block = mode_.selection.block;
    std::int64_t count = 0;
    for (const Interval& interval : keys) {
      count += (interval.size() + block - 1) / block;
    }
    return count;
  }

  ExecContext ctx_;
  const ModelConfig& config_;
  const SparseMode& mode_;
  std::int64_t rows_;
  std::int64_t retrieval_rows_ = 0;
  double mass_ = 0;
  double tokens_ = 0;
  double blocks_ = 0;
  double attended_ = 0;
  double held_ = 0;
};

// Share of the rows whose highest logit is the label's first.
double Agreement(Tape& tape, Transformer& model, const Var& x_LD,
                 const TopLabels& labels) {
  const ExecContext& ctx = model.ctx();
  const Tensor z_LV = model.Logits(tape, x_LD).value();
  const std::int64_t L = z_LV.dim(0);
  const std::int64_t K = labels.id_LK.dim(1);
  Tensor value = Tensor::Empty(ctx, DType::kF32, {L, 1});
  Tensor id = Tensor::Empty(ctx, DType::kI32, {L, 1});
  Tensor lse = Tensor::Empty(ctx, DType::kF32, {L});
  kernels::TopK(ctx, z_LV, &value, &id, &lse);
  const std::vector<std::int32_t> highest = ToHost<std::int32_t>(ctx, id);
  const std::vector<std::int32_t> expected =
      ToHost<std::int32_t>(ctx, labels.id_LK);
  std::int64_t agree = 0;
  for (std::int64_t l = 0; l < L; ++l) {
    agree += highest[static_cast<std::size_t>(l)] ==
                     expected[static_cast<std::size_t>(l * K)]
                 ? 1
                 : 0;
  }
  return static_cast<double>(agree) / static_cast<double>(L);
}

}  // namespace

absl::StatusOr<Fidelity> MeasureFidelity(Transformer& model,
                                         const SparseMode& mode,
                                         const Sequence& sequence,
                                         const TopLabels& labels) {
  const ExecContext& ctx = model.ctx();
  const std::int64_t L = sequence.num_labels();
  CHECK_EQ(labels.id_LK.dim(0), L);
  const std::span<const std::int32_t> tokens =
      std::span(sequence.tokens_T).first(sequence.tokens_T.size() - 1);
  Budget budget(ctx, model.config(), mode, L);
  const Attend attend = SparseAttend(
      model.config(), mode, sequence.num_tokens() - 1, L, nullptr,
      [&](const AttentionCall& call, const AttentionPattern& pattern,
          const Tensor& lse_HT) { budget.Add(call, pattern, lse_HT); });
  Tape tape(ctx, Tape::Mode::kOff);
  const Var x_LD = model.Hidden(tape, MakeInput(ctx, tokens, L), attend);
  const Var loss = LabelLoss(tape, model, x_LD, labels);
  Fidelity fidelity;
  fidelity.kl = static_cast<double>(ToHost<float>(ctx, loss.value())[0]) /
                static_cast<double>(L);
  fidelity.argmax_agreement = Agreement(tape, model, x_LD, labels);
  budget.Store(&fidelity);
  RETURN_IF_ERROR(model.status());
  return fidelity;
}

std::vector<double> NumbersOf(const Fidelity& fidelity) {
  std::vector<double> numbers;
  for (const Field& field : kFields) {
    numbers.push_back(fidelity.*field.value);
  }
  return numbers;
}

Fidelity FidelityOf(std::span<const double> numbers) {
  CHECK_EQ(numbers.size(), std::size(kFields));
  Fidelity fidelity;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    fidelity.*kFields[i].value = numbers[i];
  }
  return fidelity;
}

Fidelity MeanFidelity(std::span<const Fidelity> sequences) {
  CHECK_LE(std::size_t{1}, sequences.size());
  Fidelity mean;
  for (const Field& field : kFields) {
    double sum = 0;
    for (const Fidelity& one : sequences) {
      sum += one.*field.value;
    }
    mean.*field.value = sum / static_cast<double>(sequences.size());
  }
  return mean;
}

nlohmann::json FidelityRow(absl::string_view name, const Fidelity& fidelity) {
  nlohmann::json row = {{"model", std::string(name)}};
  for (const Field& field : kFields) {
    const double value = fidelity.*field.value;
    row[field.name] =
        std::isfinite(value) ? nlohmann::json(value) : nlohmann::json();
  }
  return row;
}

}  // namespace rtpurbo
