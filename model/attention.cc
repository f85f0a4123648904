#include "model/attention.h"

#include <cmath>
#include <utility>

#include "autograd/ops/ops.h"

namespace rtpurbo {
namespace {

std::size_t Index(std::int64_t i) {
  return static_cast<std::size_t>(i);
}

// Keys and blocks kept by one layer's rows, added to *counts.
void Count(const ExecContext& ctx, const Tensor& kept,
           const AttentionCall& call, std::int64_t rows, KeptCounts* counts) {
  const std::vector<std::int32_t> values = ToHost<std::int32_t>(ctx, kept);
  for (std::size_t i = 0; i < values.size(); i += 2) {
    counts->tokens += values[i];
    counts->blocks += values[i + 1];
  }
  const std::int64_t slots = kept.dim(0);
  const std::int64_t N = call.k_NGC.value().dim(0);
  counts->rows += slots * rows;
  // Row N - rows + r sees N - rows + r + 1 keys.
  counts->visible += slots * (rows * (N - rows) + rows * (rows + 1) / 2);
}

Var Observed(Tape& tape, const PatternPtr& pattern, const AttentionCall& call,
             const Observer& observer) {
  Tensor lse_HT;
  Var o = ops::RangeAttention(tape, pattern, call.q_THC, call.k_NGC, call.v_NGC,
                              call.query_begin, &lse_HT);
  observer(call, *pattern, lse_HT);
  return o;
}

}  // namespace

std::vector<PatternPtr> MakePatterns(const ModelConfig& config,
                                     const HeadMap& map,
                                     const Tensor& document_N) {
  std::vector<PatternPtr> patterns;
  for (std::int64_t layer = 0; layer < config.num_layers; ++layer) {
    auto pattern = std::make_shared<kernels::AttentionPattern>();
    pattern->scale = static_cast<float>(
        1 / std::sqrt(static_cast<double>(config.head_width)));
    pattern->sinks = map.sinks;
    pattern->document_N = document_N;
    std::int32_t slot = 0;
    for (std::int64_t head = 0; head < config.num_heads; ++head) {
      const bool dense = map.retrieves(layer, head);
      pattern->window_H.push_back(dense ? kernels::AttentionPattern::kDense
                                        : map.window);
      pattern->kv_head_H.push_back(
          static_cast<std::int32_t>(config.kv_head(head)));
      pattern->slot_H.push_back(dense ? slot++ : -1);
    }
    patterns.push_back(std::move(pattern));
  }
  return patterns;
}

Attend RangeAttend(std::vector<PatternPtr> patterns) {
  return [patterns = std::move(patterns)](Tape& tape, Stash& /*stash*/,
                                          const AttentionCall& call) {
    return ops::RangeAttention(tape, patterns[Index(call.layer)], call.q_THC,
                               call.k_NGC, call.v_NGC, call.query_begin);
  };
}

Attend ObservedAttend(std::vector<PatternPtr> patterns, Observer observer) {
  return [patterns = std::move(patterns), observer = std::move(observer)](
             Tape& tape, Stash& /*stash*/, const AttentionCall& call) {
    return Observed(tape, patterns[Index(call.layer)], call, observer);
  };
}

Attend GatedAttend(std::vector<PatternPtr> full, std::vector<PatternPtr> local,
                   std::vector<Var> gates) {
  return [full = std::move(full), local = std::move(local),
          gates = std::move(gates)](Tape& tape, Stash& /*stash*/,
                                    const AttentionCall& call) {
    const std::size_t layer = Index(call.layer);
    const auto attend = [&](const PatternPtr& pattern) {
      return ops::RangeAttention(tape, pattern, call.q_THC, call.k_NGC,
                                 call.v_NGC, call.query_begin);
    };
    const Var full_THC = attend(full[layer]);
    return ops::GateHeads(tape, full_THC, attend(local[layer]), gates[layer]);
  };
}

Tensor SelectLastRows(const ExecContext& ctx,
                      const IndexProjections::Layer& projection,
                      const kernels::AttentionPattern& pattern,
                      kernels::Selection selection, std::int64_t rows,
                      const AttentionCall& call, KeptCounts* counts) {
  selection.scale = pattern.scale;
  const Tensor& q_pre = call.q_pre_THC.value();
  const Tensor& k_pre = call.k_pre_NGC.value();
  const std::int64_t T = q_pre.dim(0);
  const std::int64_t N = k_pre.dim(0);
  const Tensor x_MSR =
      ProjectQueries(ctx, projection, q_pre.Slice(T - rows, T));
  const Tensor y_NSR = ProjectKeys(ctx, projection, k_pre);
  const std::int64_t S = x_MSR.dim(1);
  Tensor mask = Tensor::Empty(
      ctx, DType::kI32, {S, rows, kernels::MaskWords(N, selection.block)});
  Tensor kept = Tensor::Empty(ctx, DType::kI32, {S, rows, 2});
  kernels::SelectTopP(ctx, selection, x_MSR, y_NSR, N - rows,
                      pattern.document_N, &mask, &kept);
  if (counts != nullptr) {
    Count(ctx, kept, call, rows, counts);
  }
  return mask;
}

Attend SelectiveAttend(std::vector<PatternPtr> patterns,
                       std::shared_ptr<const IndexProjections> projections,
                       kernels::Selection selection, std::int64_t label_rows,
                       KeptCounts* counts, Observer observer) {
  return [patterns = std::move(patterns), projections = std::move(projections),
          selection, label_rows, counts, observer = std::move(observer)](
             Tape& tape, Stash& stash, const AttentionCall& call) {
    PatternPtr pattern = patterns[Index(call.layer)];
    const IndexProjections::Layer& layer =
        projections->layers[Index(call.layer)];
    if (!layer.empty() && label_rows > 0) {
      auto selected = std::make_shared<kernels::AttentionPattern>(*pattern);
      selected->block = selection.block;
      selected->selected_SMB = stash.Keep([&] {
        return SelectLastRows(tape.ctx(), layer, *pattern, selection,
                              label_rows, call, counts);
      });
      pattern = std::move(selected);
    }
    if (observer == nullptr) {
      return ops::RangeAttention(tape, pattern, call.q_THC, call.k_NGC,
                                 call.v_NGC, call.query_begin);
    }
    return Observed(tape, pattern, call, observer);
  };
}

}  // namespace rtpurbo
