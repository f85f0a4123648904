// The ways in which a layer attends, as functions that Transformer calls.
//
// All of them also attend for a part of a sequence whose rows are cut over
// ranks (model/sequence_attention.h): then they are collective over these
// ranks, in both passes.

#ifndef RTPURBO_MODEL_ATTENTION_H_
#define RTPURBO_MODEL_ATTENTION_H_

#include <functional>
#include <memory>
#include <vector>

#include "kernels/attention_mass.h"
#include "kernels/range_attention.h"
#include "kernels/select_top_p.h"
#include "model/head_map.h"
#include "model/index_projection.h"
#include "model/transformer.h"

namespace rtpurbo {

using PatternPtr = std::shared_ptr<const kernels::AttentionPattern>;

// One pattern a layer: retrieval heads dense, the others with the map's window
// and sinks. `document_N` as in AttentionPattern, or undefined.
std::vector<PatternPtr> MakePatterns(const ModelConfig& config,
                                     const HeadMap& map,
                                     const Tensor& document_N = {});

// Every head sees what its pattern shows.
Attend RangeAttend(std::vector<PatternPtr> patterns);

// What a layer hands to an observer: what was attended, and the row log-sums.
using Observer = std::function<void(const AttentionCall& call,
                                    const kernels::AttentionPattern& pattern,
                                    const Tensor& lse_HT)>;
// RangeAttend that shows each layer's queries, keys and row log-sums. Of a part
// of a sequence it shows each chunk that has queries as a call of its own
// (SequenceKeys::Chunk()); all heads must be dense then.
Attend ObservedAttend(std::vector<PatternPtr> patterns, Observer observer);

// gate * full + (1 - gate) * local in each layer; gates are [H] f32 Vars.
Attend GatedAttend(std::vector<PatternPtr> full, std::vector<PatternPtr> local,
                   std::vector<Var> gates);

// Keys and blocks that retrieval rows kept, summed over rows.
struct KeptCounts {
  std::int64_t rows = 0;  // (row, retrieval head) pairs
  std::int64_t tokens = 0;
  std::int64_t blocks = 0;
  std::int64_t visible = 0;  // keys that a dense row would have seen
};

// What `selection` takes for the last `rows` rows of a call, as SelectTopP()'s
// mask: [S, rows, words] i32. selection.scale is not read: it is the pattern's.
// `counts` may be null. REQUIRES: the call is of a whole sequence.
Tensor SelectLastRows(const ExecContext& ctx,
                      const IndexProjections::Layer& projection,
                      const kernels::AttentionPattern& pattern,
                      kernels::Selection selection, std::int64_t rows,
                      const AttentionCall& call, KeptCounts* counts);

// Local heads windowed everywhere; retrieval heads dense, except in the last
// `label_rows` rows, where they attend what `selection` takes: training sees
// what decoding will do. `counts` and `observer` may be null. Of a part of a
// sequence, `label_rows` are those of the whole, counts are of the rank's own
// rows, and the observer must be null.
Attend SelectiveAttend(std::vector<PatternPtr> patterns,
                       std::shared_ptr<const IndexProjections> projections,
                       kernels::Selection selection, std::int64_t label_rows,
                       KeptCounts* counts, Observer observer = nullptr);

}  // namespace rtpurbo

#endif  // RTPURBO_MODEL_ATTENTION_H_
