#include "model/sparse_mode.h"

#include <limits>
#include <utility>
#include <vector>

namespace rtpurbo {

SparseMode DenseMode(const ModelConfig& config) {
  SparseMode mode;
  mode.map = DenseMap(config);
  mode.dense_below = std::numeric_limits<std::int64_t>::max();
  return mode;
}

Attend SparseAttend(const ModelConfig& config, const SparseMode& mode,
                    std::int64_t num_tokens, std::int64_t label_rows,
                    KeptCounts* counts, const Observer& observer) {
  const bool dense = num_tokens <= mode.dense_below;
  std::vector<PatternPtr> patterns =
      MakePatterns(config, dense ? DenseMap(config) : mode.map);
  if (dense || mode.projections == nullptr) {
    return observer == nullptr ? RangeAttend(std::move(patterns))
                               : ObservedAttend(std::move(patterns), observer);
  }
  return SelectiveAttend(std::move(patterns), mode.projections, mode.selection,
                         label_rows, counts, observer);
}

}  // namespace rtpurbo
