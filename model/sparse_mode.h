// How a converted model attends: the one answer that training, evaluation and
// decoding share.

#ifndef RTPURBO_MODEL_SPARSE_MODE_H_
#define RTPURBO_MODEL_SPARSE_MODE_H_

#include <cstdint>
#include <memory>

#include "kernels/select_top_p.h"
#include "model/attention.h"
#include "model/head_map.h"
#include "model/index_projection.h"

namespace rtpurbo {

struct SparseMode {
  HeadMap map;
  // Null: retrieval heads attend densely, also in decode.
  std::shared_ptr<const IndexProjections> projections;
  kernels::Selection selection;
  // Up to this many tokens every head is dense, so that sparsity never slows a
  // short prompt.
  std::int64_t dense_below = 0;
};

// All heads dense at any length.
SparseMode DenseMode(const ModelConfig& config);

// The Attend of one sequence of `num_tokens` whose last `label_rows` rows
// select keys. `counts` and `observer` may be null.
Attend SparseAttend(const ModelConfig& config, const SparseMode& mode,
                    std::int64_t num_tokens, std::int64_t label_rows,
                    KeptCounts* counts, const Observer& observer = nullptr);

}  // namespace rtpurbo

#endif  // RTPURBO_MODEL_SPARSE_MODE_H_
