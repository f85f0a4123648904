// Does the indexer find what exact attention looks at?
//
// For each label row and retrieval head, at each mass p: the exact row's own
// smallest set of mass p (nothing forced into it), and what the indexer selects
// at the same p (with its sinks and recent keys, as in decoding). Recall is the
// share of the first set that is in the second. Both are chosen by
// kernels::SelectTopP: the exact row is the special case of projections of full
// width that change nothing, on rotated queries and keys.

#ifndef RTPURBO_TRAINER_EVALUATION_RECALL_H_
#define RTPURBO_TRAINER_EVALUATION_RECALL_H_

#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/document_stream.h"
#include "model/sparse_mode.h"
#include "nlohmann/json.hpp"

namespace rtpurbo {

// Means over label rows, retrieval heads and sequences; NaN if there are none.
struct Recall {
  double p = 0;
  double token_recall = 0;
  double block_recall = 0;
  double exact_tokens = 0;  // sizes of the sets
  double index_tokens = 0;
  double exact_blocks = 0;
  double index_blocks = 0;
};

// One for each of `masses`, from a dense forward pass over each sequence. Of
// mode.selection it reads order, sinks and recent, and block, which is 64 for
// the recall of blocks if it is 1.
// Returns what a collective says if one failed.
// REQUIRES: mode.projections is not null.
absl::StatusOr<std::vector<Recall>> MeasureRecall(
    Transformer& model, const SparseMode& mode,
    std::span<const Sequence> sequences, std::span<const double> masses);

// The row of summary.json's "recall"; `projections` says which they are:
// "start", "stage 1". Null for NaN.
nlohmann::json RecallRow(absl::string_view projections, const Recall& recall);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_EVALUATION_RECALL_H_
