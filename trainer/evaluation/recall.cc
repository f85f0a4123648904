#include "trainer/evaluation/recall.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>

#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"
#include "kernels/select_top_p.h"
#include "trainer/model_input.h"

namespace rtpurbo {
namespace {

using kernels::Selection;

constexpr std::int64_t kDefaultBlock = 64;

// Sums over rows and heads at one p and block.
struct Sums {
  double recall = 0;
  double exact = 0;  // sizes, in bits: blocks or tokens
  double index = 0;
  std::int64_t rows = 0;
};

int NumBits(std::int32_t word) {
  return std::popcount(static_cast<std::uint32_t>(word));
}

// Both masks: [S, M, words].
void AddRows(const ExecContext& ctx, const Tensor& exact_SMB,
             const Tensor& index_SMB, Sums* sums) {
  const std::vector<std::int32_t> exact = ToHost<std::int32_t>(ctx, exact_SMB);
  const std::vector<std::int32_t> index = ToHost<std::int32_t>(ctx, index_SMB);
  const auto words = static_cast<std::size_t>(exact_SMB.dim(2));
  for (std::size_t begin = 0; begin < exact.size(); begin += words) {
    int wanted = 0;
    int found = 0;
    int selected = 0;
    for (std::size_t i = begin; i < begin + words; ++i) {
      wanted += NumBits(exact[i]);
      found += NumBits(exact[i] & index[i]);
      selected += NumBits(index[i]);
    }
    sums->recall += static_cast<double>(found) / wanted;
    sums->exact += wanted;
    sums->index += selected;
    ++sums->rows;
  }
}

// Of the same heads: leaves queries and keys as they are.
IndexProjections::Layer Identity(const ExecContext& ctx,
                                 const IndexProjections::Layer& layer) {
  const std::int64_t S = layer.wq_SRC.dim(0);
  const std::int64_t C = layer.wq_SRC.dim(2);
  std::vector<float> values(static_cast<std::size_t>(S * C * C), 0.0F);
  for (std::int64_t s = 0; s < S; ++s) {
    for (std::int64_t c = 0; c < C; ++c) {
      values[static_cast<std::size_t>((s * C + c) * C + c)] = 1;
    }
  }
  IndexProjections::Layer identity = layer;
  identity.wq_SRC = FromHost(ctx, values, {S, C, C});
  identity.wk_SRC = identity.wq_SRC;
  return identity;
}

class Meter {
 public:
  Meter(const ExecContext& ctx, const SparseMode& mode,
        std::span<const double> masses)
      : ctx_(ctx), mode_(mode), masses_(masses.begin(), masses.end()) {
    token_.resize(masses_.size());
    block_.resize(masses_.size());
  }

  void Add(const AttentionCall& call, const kernels::AttentionPattern& pattern,
           std::int64_t rows) {
    const IndexProjections::Layer& layer =
        mode_.projections->layers[static_cast<std::size_t>(call.layer)];
    if (layer.empty()) {
      return;
    }
    const IndexProjections::Layer exact = Identity(ctx_, layer);
    AttentionCall rotated = call;
    rotated.q_pre_THC = call.q_THC;
    rotated.k_pre_NGC = call.k_NGC;
    for (std::size_t i = 0; i < masses_.size(); ++i) {
      const auto compare = [&](std::int64_t block, Sums* sums) {
        Selection selection = mode_.selection;
        selection.rule = Selection::Rule::kTopP;
        selection.top_p = masses_[i];
        selection.block = block;
        const Tensor index = SelectLastRows(ctx_, layer, pattern, selection,
                                            rows, call, nullptr);
        selection.order = Selection::Order::kMass;  // the smallest set
        selection.sinks = 0;
        selection.recent = -1;
        AddRows(ctx_,
                SelectLastRows(ctx_, exact, pattern, selection, rows, rotated,
                               nullptr),
                index, sums);
      };
      compare(1, &token_[i]);
      compare(
          mode_.selection.block == 1 ? kDefaultBlock : mode_.selection.block,
          &block_[i]);
    }
  }

  std::vector<Recall> Means() const {
    std::vector<Recall> means;
    means.reserve(masses_.size());
    for (std::size_t i = 0; i < masses_.size(); ++i) {
      const auto rows = static_cast<double>(token_[i].rows);
      means.push_back({masses_[i], token_[i].recall / rows,
                       block_[i].recall / rows, token_[i].exact / rows,
                       token_[i].index / rows, block_[i].exact / rows,
                       block_[i].index / rows});
    }
    return means;
  }

 private:
  ExecContext ctx_;
  const SparseMode& mode_;
  std::vector<double> masses_;
  std::vector<Sums> token_;
  std::vector<Sums> block_;
};

}  // namespace

absl::StatusOr<std::vector<Recall>> MeasureRecall(
    Transformer& model, const SparseMode& mode,
    std::span<const Sequence> sequences, std::span<const double> masses) {
  CHECK(mode.projections != nullptr);
  const ExecContext& ctx = model.ctx();
  Meter meter(ctx, mode, masses);
  for (const Sequence& sequence : sequences) {
    const std::int64_t L = sequence.num_labels();
    const Attend attend = ObservedAttend(
        MakePatterns(model.config(), DenseMap(model.config())),
        [&](const AttentionCall& call, const kernels::AttentionPattern& pattern,
            const Tensor& /*lse_HT*/) { meter.Add(call, pattern, L); });
    Tape tape(ctx, Tape::Mode::kOff);
    model.Hidden(
        tape,
        MakeInput(
            ctx,
            std::span(sequence.tokens_T).first(sequence.tokens_T.size() - 1),
            L),
        attend);
    RETURN_IF_ERROR(model.status());
  }
  return meter.Means();
}

nlohmann::json RecallRow(absl::string_view projections, const Recall& recall) {
  const auto number = [](double value) {
    return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json();
  };
  return {{"projections", std::string(projections)},
          {"p", recall.p},
          {"token_recall", number(recall.token_recall)},
          {"block_recall", number(recall.block_recall)},
          {"exact_tokens", number(recall.exact_tokens)},
          {"index_tokens", number(recall.index_tokens)},
          {"exact_blocks", number(recall.exact_blocks)},
          {"index_blocks", number(recall.index_blocks)}};
}

}  // namespace rtpurbo
