#include "model/attention.h"

#include <cmath>
#include <optional>
#include <utility>

#include "autograd/ops/ops.h"
#include "model/sequence_attention.h"

namespace rtpurbo {
namespace {

std::size_t Index(std::int64_t i) {
  return static_cast<std::size_t>(i);
}

// Keys and blocks kept by one layer's last `rows` rows of N, added to *counts.
void Count(const ExecContext& ctx, const Tensor& kept, std::int64_t N,
           std::int64_t rows, KeptCounts* counts) {
  const std::vector<std::int32_t> values = ToHost<std::int32_t>(ctx, kept);
  for (std::size_t i = 0; i < values.size(); i += 2) {
    counts->tokens += values[i];
    counts->blocks += values[i + 1];
  }
  const std::int64_t slots = kept.dim(0);
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

// One layer's attention by any pattern that shows no key that `widest` does
// not.
class LayerAttention {
 public:
  LayerAttention(Tape& tape, const AttentionCall& call,
                 const kernels::AttentionPattern& widest)
      : call_(call) {
    if (call.part != nullptr) {
      keys_.emplace(tape, call, widest);
    }
  }

  Var Attend(Tape& tape, const PatternPtr& pattern) const {
    return keys_.has_value()
               ? keys_->Attend(tape, *pattern)
               : ops::RangeAttention(tape, pattern, call_.q_THC, call_.k_NGC,
                                     call_.v_NGC, call_.query_begin);
  }

 private:
  const AttentionCall& call_;
  std::optional<SequenceKeys> keys_;
};

// Each chunk of a sequence that is cut over ranks.
Var ObservedChunks(Tape& tape, const PatternPtr& pattern,
                   const AttentionCall& call, const Observer& observer) {
  const SequenceKeys keys(tape, call, *pattern);
  std::vector<Var> parts;
  for (int i = 0; i < SequenceShard::kChunks; ++i) {
    if (!keys.queries(i).empty()) {
      parts.push_back(Observed(tape, pattern, keys.Chunk(tape, i), observer));
    }
  }
  return parts.empty() ? call.q_THC : ops::ConcatRows(tape, parts);
}

// What `selection` takes for rows x_MSR, the last ones of keys y_NSR.
Tensor Select(const ExecContext& ctx, const Tensor& x_MSR, const Tensor& y_NSR,
              const Tensor& document_N, const kernels::Selection& selection,
              KeptCounts* counts) {
  const std::int64_t M = x_MSR.dim(0);
  const std::int64_t S = x_MSR.dim(1);
  const std::int64_t N = y_NSR.dim(0);
  Tensor mask = Tensor::Empty(ctx, DType::kI32,
                              {S, M, kernels::MaskWords(N, selection.block)});
  Tensor kept = Tensor::Empty(ctx, DType::kI32, {S, M, 2});
  kernels::SelectTopP(ctx, selection, x_MSR, y_NSR, N - M, document_N, &mask,
                      &kept);
  if (counts != nullptr) {
    Count(ctx, kept, N, M, counts);
  }
  return mask;
}

// Projected keys of all rows up to the rank's last label row: [end, S, R].
Tensor BringProjectedKeys(const ExecContext& ctx,
                          const IndexProjections::Layer& projection,
                          std::int64_t label_rows, const AttentionCall& call) {
  const Tensor y_NSR = ProjectKeys(ctx, projection, call.k_pre_NGC.value());
  const Shape& shape = y_NSR.shape();
  Tape off(ctx, Tape::Mode::kOff);
  const Tensor y = BringRows(off, *call.part, label_rows,
                             Var(y_NSR.Reshape({shape[0], shape[1] * shape[2]}),
                                 /*requires_grad=*/false))
                       .value();
  return y.Reshape({y.dim(0), shape[1], shape[2]});
}

// By chunk, of those of the last `label_rows` rows that this rank has. All
// ranks keep as much in the stash.
SequenceKeys::Masks SelectByChunk(
    Tape& tape, Stash& stash, const IndexProjections::Layer& projection,
    const kernels::AttentionPattern& pattern, kernels::Selection selection,
    std::int64_t label_rows, const AttentionCall& call, KeptCounts* counts) {
  const ExecContext& ctx = tape.ctx();
  selection.scale = pattern.scale;
  const SequencePart& part = *call.part;
  const int rank = part.comm->rank();
  const Tensor& q_pre = call.q_pre_THC.value();
  std::int64_t row = q_pre.dim(0) - part.shard.num_queries(rank, label_rows);
  Tensor y_NSR;
  SequenceKeys::Masks masks;
  for (int i = 0; i < SequenceShard::kChunks; ++i) {
    const Interval labels = part.shard.queries(rank, i, label_rows);
    masks[static_cast<std::size_t>(i)] = stash.Keep([&]() -> Tensor {
      if (i == 0) {
        y_NSR = BringProjectedKeys(ctx, projection, label_rows, call);
      }
      if (labels.empty()) {
        return {};
      }
      return Select(ctx,
                    ProjectQueries(ctx, projection,
                                   q_pre.Slice(row, row + labels.size())),
                    y_NSR.Slice(0, labels.end), {}, selection, counts);
    });
    row += labels.size();
  }
  return masks;
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
    const PatternPtr& pattern = patterns[Index(call.layer)];
    return LayerAttention(tape, call, *pattern).Attend(tape, pattern);
  };
}

Attend ObservedAttend(std::vector<PatternPtr> patterns, Observer observer) {
  return [patterns = std::move(patterns), observer = std::move(observer)](
             Tape& tape, Stash& /*stash*/, const AttentionCall& call) {
    const auto observed = call.part == nullptr ? Observed : ObservedChunks;
    return observed(tape, patterns[Index(call.layer)], call, observer);
  };
}

Attend GatedAttend(std::vector<PatternPtr> full, std::vector<PatternPtr> local,
                   std::vector<Var> gates) {
  return [full = std::move(full), local = std::move(local),
          gates = std::move(gates)](Tape& tape, Stash& /*stash*/,
                                    const AttentionCall& call) {
    const std::size_t layer = Index(call.layer);
    const LayerAttention attention(tape, call, *full[layer]);
    const Var full_THC = attention.Attend(tape, full[layer]);
    return ops::GateHeads(tape, full_THC, attention.Attend(tape, local[layer]),
                          gates[layer]);
  };
}

Tensor SelectLastRows(const ExecContext& ctx,
                      const IndexProjections::Layer& projection,
                      const kernels::AttentionPattern& pattern,
                      kernels::Selection selection, std::int64_t rows,
                      const AttentionCall& call, KeptCounts* counts) {
  CHECK(call.part == nullptr) << "these are not all rows of the sequence";
  selection.scale = pattern.scale;
  const Tensor& q_pre = call.q_pre_THC.value();
  const std::int64_t T = q_pre.dim(0);
  return Select(ctx, ProjectQueries(ctx, projection, q_pre.Slice(T - rows, T)),
                ProjectKeys(ctx, projection, call.k_pre_NGC.value()),
                pattern.document_N, selection, counts);
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
    const bool selects = !layer.empty() && label_rows > 0;
    if (call.part != nullptr) {
      CHECK(observer == nullptr)
          << "what a part of a sequence selects cannot be observed";
      SequenceKeys::Masks masks;
      if (selects) {
        masks = SelectByChunk(tape, stash, layer, *pattern, selection,
                              label_rows, call, counts);
      }
      auto selective = *pattern;
      selective.block = selection.block;
      return SequenceKeys(tape, call, *pattern).Attend(tape, selective, masks);
    }
    if (selects) {
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
