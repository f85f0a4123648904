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
                    KeptCounts* counts) {
  if (num_tokens <= mode.dense_below) {
    return RangeAttend(MakePatterns(config, DenseMap(config)));
  }
  std::vector<PatternPtr> patterns = MakePatterns(config, mode.map);
  if (mode.projections == nullptr) {
    return RangeAttend(std::move(patterns));
  }
  return SelectiveAttend(std::move(patterns), mode.projections, mode.selection,
                         label_rows, counts);
}

}  // namespace rtpurbo
