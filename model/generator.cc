#include "model/generator.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"
#include "kernels/sparse_decode.h"

namespace rtpurbo {
namespace {

// New rows of one call: prompts are written to an empty cache in one piece.
constexpr std::int64_t kNewRows = 1;

std::size_t Index(std::int64_t i) {
  return static_cast<std::size_t>(i);
}

ForwardInput InputOf(const ExecContext& ctx,
                     std::span<const std::int32_t> tokens,
                     std::int64_t first_position) {
  const std::vector<std::int32_t> ids(tokens.begin(), tokens.end());
  std::vector<std::int32_t> positions(ids.size());
  std::iota(positions.begin(), positions.end(),
            static_cast<std::int32_t>(first_position));
  const Shape shape = {static_cast<std::int64_t>(ids.size())};
  return {.id_T = FromHost(ctx, ids, shape),
          .position_T = FromHost(ctx, positions, shape),
          .output_rows = 1};
}

// The projections of a layer; null if it has none.
const IndexProjections::Layer* ProjectionOf(const SparseMode& mode,
                                            std::int64_t layer) {
  if (mode.projections == nullptr ||
      mode.projections->layers[Index(layer)].empty()) {
    return nullptr;
  }
  return &mode.projections->layers[Index(layer)];
}

void AppendTo(const ExecContext& ctx, const SparseMode& mode,
              const AttentionCall& call, KvCache* cache) {
  const IndexProjections::Layer* projection = ProjectionOf(mode, call.layer);
  cache->Append(call.layer, call.k_NGC.value(), call.v_NGC.value(),
                projection == nullptr
                    ? Tensor()
                    : ProjectKeys(ctx, *projection, call.k_pre_NGC.value()));
}

std::int64_t NumBlocks(std::int64_t keys, std::int64_t block) {
  return (keys + block - 1) / block;
}

// Of the last row, whose heads see all keys.
void CountDense(const SparseMode& mode, std::int64_t heads, std::int64_t keys,
                KeptCounts* counts) {
  counts->rows += heads;
  counts->tokens += heads * keys;
  counts->blocks += heads * NumBlocks(keys, mode.selection.block);
  counts->visible += heads * keys;
}

}  // namespace

bool SharePrefill(const SparseMode& a, const SparseMode& b) {
  const auto same_heads = [](const HeadMap::Layer& x, const HeadMap::Layer& y) {
    return x.retrieval_H == y.retrieval_H;
  };
  return a.dense_below == b.dense_below && a.map.window == b.map.window &&
         a.map.sinks == b.map.sinks &&
         std::equal(a.map.layers.begin(), a.map.layers.end(),
                    b.map.layers.begin(), b.map.layers.end(), same_heads);
}

std::vector<KvCache> Prefill(Transformer& model,
                             std::span<const std::int32_t> prompt,
                             std::span<const SparseMode* const> modes) {
  CHECK(!prompt.empty());
  CHECK(!modes.empty());
  const ModelConfig& config = model.config();
  const DType dtype = model.options().dtype;
  std::vector<KvCache> caches;
  for (const SparseMode* mode : modes) {
    CHECK(SharePrefill(*mode, *modes[0])) << "modes of different prefills";
    caches.emplace_back(model.ctx(), LayoutOf(config, *mode, dtype, kNewRows));
  }
  if (prompt.size() == 1) {
    return caches;
  }
  const auto N = static_cast<std::int64_t>(prompt.size());
  const bool dense = N <= modes[0]->dense_below;
  const Attend attend = RangeAttend(
      MakePatterns(config, dense ? DenseMap(config) : modes[0]->map));
  const Attend append = [&](Tape& tape, Stash& stash,
                            const AttentionCall& call) {
    for (std::size_t m = 0; m < modes.size(); ++m) {
      AppendTo(tape.ctx(), *modes[m], call, &caches[m]);
    }
    return attend(tape, stash, call);
  };
  Tape tape(model.ctx(), Tape::Mode::kOff);
  model.AfterBlocks(tape,
                    InputOf(model.ctx(), prompt.first(prompt.size() - 1), 0),
                    append, config.num_layers);
  return caches;
}

SparseDecoder::SparseDecoder(Transformer& model, SparseMode mode, KvCache cache)
    : model_(model),
      mode_(std::move(mode)),
      cache_(std::move(cache)),
      dense_(MakePatterns(model.config(), DenseMap(model.config()))),
      sparse_(MakePatterns(model.config(), mode_.map)) {}

Tensor SparseDecoder::Step(std::int32_t token, KeptCounts* counts) {
  const Attend attend = [&](Tape& tape, Stash& /*stash*/,
                            const AttentionCall& call) {
    return Attention(tape, call, counts);
  };
  Tape tape(model_.ctx(), Tape::Mode::kOff);
  const Var x_LD =
      model_.Hidden(tape, InputOf(model_.ctx(), {&token, 1}, length()), attend);
  return model_.Logits(tape, x_LD)
      .value()
      .Reshape({model_.config().vocab_size});
}

Var SparseDecoder::Attention(Tape& tape, const AttentionCall& call,
                             KeptCounts* counts) {
  const ExecContext& ctx = tape.ctx();
  AppendTo(ctx, mode_, call, &cache_);
  const Tensor& q_THC = call.q_THC.value();
  Tensor o_THC = Tensor::Empty(ctx, q_THC.dtype(), q_THC.shape());
  Tensor lse_HT = Tensor::Empty(ctx, DType::kF32, {q_THC.dim(1), 1});
  kernels::SparseDecode(ctx, *PatternOf(ctx, call, counts), q_THC,
                        cache_.View(call.layer), &o_THC, &lse_HT);
  return Var(std::move(o_THC), /*requires_grad=*/false);
}

PatternPtr SparseDecoder::PatternOf(const ExecContext& ctx,
                                    const AttentionCall& call,
                                    KeptCounts* counts) const {
  const std::int64_t N = cache_.length(call.layer);
  const bool dense = N <= mode_.dense_below;
  if (!dense && ProjectionOf(mode_, call.layer) != nullptr) {
    return Select(ctx, call, counts);
  }
  if (counts != nullptr) {
    const auto& heads = mode_.map.layers[Index(call.layer)].retrieval_H;
    CountDense(mode_, std::count(heads.begin(), heads.end(), true), N, counts);
  }
  return (dense ? dense_ : sparse_)[Index(call.layer)];
}

PatternPtr SparseDecoder::Select(const ExecContext& ctx,
                                 const AttentionCall& call,
                                 KeptCounts* counts) const {
  const IndexProjections::Layer& projection = *ProjectionOf(mode_, call.layer);
  auto pattern =
      std::make_shared<kernels::AttentionPattern>(*sparse_[Index(call.layer)]);
  kernels::Selection selection = mode_.selection;
  selection.scale = pattern->scale;
  const Tensor x_MSR = ProjectQueries(ctx, projection, call.q_pre_THC.value());
  const Tensor y_NSR = cache_.Projected(call.layer);
  const std::int64_t N = y_NSR.dim(0);
  const std::int64_t S = y_NSR.dim(1);
  pattern->block = selection.block;
  pattern->selected_SMB = Tensor::Empty(
      ctx, DType::kI32, {S, 1, kernels::MaskWords(N, selection.block)});
  Tensor kept_SM =
      counts == nullptr ? Tensor() : Tensor::Empty(ctx, DType::kI32, {S, 1, 2});
  kernels::SelectTopP(ctx, selection, x_MSR, y_NSR, N - 1, {},
                      &pattern->selected_SMB, &kept_SM);
  if (counts != nullptr) {
    const std::vector<std::int32_t> kept = ToHost<std::int32_t>(ctx, kept_SM);
    for (std::size_t i = 0; i < kept.size(); i += 2) {
      counts->tokens += kept[i];
      counts->blocks += kept[i + 1];
    }
    counts->rows += S;
    counts->visible += S * N;
  }
  return pattern;
}

absl::StatusOr<Generated> Generate(Transformer& model, SparseDecoder* decoder,
                                   std::int32_t last_token,
                                   const GenerateOptions& options,
                                   const OnToken& on_token) {
  Generated generated;
  std::int32_t token = last_token;
  for (std::int64_t i = 0; i < options.max_tokens && !generated.ended; ++i) {
    const Tensor z_V = decoder->Step(token, &generated.counts);
    RETURN_IF_ERROR(model.status());
    token = ChooseToken(model.ctx(), options.sampling, i, z_V);
    generated.token_T.push_back(token);
    generated.ended =
        std::find(options.end_tokens.begin(), options.end_tokens.end(),
                  token) != options.end_tokens.end();
    if (on_token) {
      on_token(token);
    }
  }
  return generated;
}

absl::Status CheckPrompt(const Transformer& model,
                         std::span<const std::int32_t> prompt,
                         std::int64_t max_tokens) {
  if (prompt.empty()) {
    return absl::InvalidArgumentError(
        "cannot continue an empty prompt: give at least one token");
  }
  const std::int64_t positions =
      static_cast<std::int64_t>(prompt.size()) + max_tokens;
  if (positions > model.options().max_positions) {
    return absl::InvalidArgumentError(absl::StrCat(
        "cannot generate: a prompt of ", prompt.size(), " tokens and ",
        max_tokens, " more need ", positions,
        " positions, the model is loaded for ", model.options().max_positions));
  }
  for (const std::int32_t id : prompt) {
    if (id < 0 || id >= model.config().vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat(
          "cannot generate: token ", id, " of the prompt is not one of the ",
          model.config().vocab_size, " of the model"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Generated> Generate(Transformer& model, const SparseMode& mode,
                                   std::span<const std::int32_t> prompt,
                                   const GenerateOptions& options,
                                   const OnToken& on_token) {
  RETURN_IF_ERROR(CheckPrompt(model, prompt, options.max_tokens));
  const SparseMode* const only = &mode;
  std::vector<KvCache> caches = Prefill(model, prompt, {&only, 1});
  RETURN_IF_ERROR(model.status());
  SparseDecoder decoder(model, mode, std::move(caches[0]));
  return Generate(model, &decoder, prompt.back(), options, on_token);
}

}  // namespace rtpurbo
