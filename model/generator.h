// Text from a converted model: a prompt once through all blocks, then a token
// at a time over a cache.
//
// Prefill covers all tokens of the prompt but the last; that one is the first
// step of decoding, so that the first token of an answer is already found
// sparsely, as in training (arXiv 2605.16928: dense prefill of retrieval heads,
// sparse decode).
//
//                        prefill                   decode
//   local head           sinks and window          sinks and window
//   retrieval head       all keys                  what SelectTopP takes; all
//                                                  keys without projections
//
// While a sequence has at most `dense_below` tokens, all heads are dense. A
// prompt counts whole: one longer than that is windowed from its first row. A
// sequence that grows beyond it keeps the rows of its cache as they were
// computed, the rows after it are sparse.

#ifndef RTPURBO_MODEL_GENERATOR_H_
#define RTPURBO_MODEL_GENERATOR_H_

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "model/attention.h"
#include "model/kv_cache.h"
#include "model/sampling.h"
#include "model/sparse_mode.h"
#include "model/transformer.h"

namespace rtpurbo {

// Whether one prefill serves both: the same heads with the same window and
// sinks, and dense up to the same length.
bool SharePrefill(const SparseMode& a, const SparseMode& b);

// Runs the prompt, without its last token, once, and returns a cache for each
// mode: they share keys and values and differ in projected keys. The bytes of a
// cache do not depend on the other modes.
// REQUIRES: at least one token and one mode; SharePrefill() of all modes; the
// prompt is within the model's rotation tables and its ids in the vocabulary.
std::vector<KvCache> Prefill(Transformer& model,
                             std::span<const std::int32_t> prompt,
                             std::span<const SparseMode* const> modes);

// One sequence that grows by a token a step.
class SparseDecoder {
 public:
  // `cache`: as Prefill() makes it for this model and mode. `model` must
  // outlive the decoder.
  SparseDecoder(Transformer& model, SparseMode mode, KvCache cache);

  // Adds `token` to the sequence and returns the logits of the next one: [V],
  // of the model's type. What its retrieval heads kept is added to *counts,
  // which may be null; a head that attends densely keeps all that it sees.
  // Counting waits for the device.
  Tensor Step(std::int32_t token, KeptCounts* counts);

  // Tokens of the sequence so far.
  std::int64_t length() const { return cache_.length(0); }
  const KvCache& cache() const { return cache_; }

 private:
  Var Attention(Tape& tape, const AttentionCall& call, KeptCounts* counts);
  PatternPtr PatternOf(const ExecContext& ctx, const AttentionCall& call,
                       KeptCounts* counts) const;
  PatternPtr Select(const ExecContext& ctx, const AttentionCall& call,
                    KeptCounts* counts) const;

  Transformer& model_;
  SparseMode mode_;
  KvCache cache_;
  std::vector<PatternPtr> dense_;
  std::vector<PatternPtr> sparse_;
};

struct GenerateOptions {
  std::int64_t max_tokens = 0;
  Sampling sampling;
  // The first of these is the last token of the text.
  std::vector<std::int32_t> end_tokens;
};

struct Generated {
  std::vector<std::int32_t> token_T;  // with the end token, if it came
  bool ended = false;                 // by an end token
  KeptCounts counts;
};

// Called with each token as soon as it is known, the end token included.
using OnToken = std::function<void(std::int32_t token)>;

// Goes on after `last_token`, which is not yet in the decoder's sequence: the
// last token of the prompt. `on_token` may be empty.
// Returns what a collective says if one failed.
absl::StatusOr<Generated> Generate(Transformer& model, SparseDecoder* decoder,
                                   std::int32_t last_token,
                                   const GenerateOptions& options,
                                   const OnToken& on_token);

// InvalidArgument if the prompt is empty, has ids that the model does not know,
// or is with max_tokens longer than the model's rotation tables.
absl::Status CheckPrompt(const Transformer& model,
                         std::span<const std::int32_t> prompt,
                         std::int64_t max_tokens);

// Prefill() and Generate() of one prompt.
// Returns what CheckPrompt() says, or a collective that failed.
absl::StatusOr<Generated> Generate(Transformer& model, const SparseMode& mode,
                                   std::span<const std::int32_t> prompt,
                                   const GenerateOptions& options,
                                   const OnToken& on_token);

}  // namespace rtpurbo

#endif  // RTPURBO_MODEL_GENERATOR_H_
