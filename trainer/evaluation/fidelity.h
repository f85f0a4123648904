// How close a sparse model stays to its teacher on held-out sequences, and what
// it attends.
//
// All of it is over the label rows: with tokens t_0 .. t_N-1 and labels from
// t_b on, the rows b-1 .. N-2 of one forward pass over t_0 .. t_N-2, in which
// the label rows select keys as decoding does.

#ifndef RTPURBO_TRAINER_EVALUATION_FIDELITY_H_
#define RTPURBO_TRAINER_EVALUATION_FIDELITY_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/document_stream.h"
#include "model/sparse_mode.h"
#include "nlohmann/json.hpp"
#include "trainer/model_input.h"

namespace rtpurbo {

// Of one sequence, or the mean of several. The retrieval heads are those of the
// mode's map, also where the sequence is so short that all heads are dense;
// what is a mean over them is NaN if there are none.
struct Fidelity {
  // KL(softmax of the teacher's top 10 || softmax of the student at the same
  // ids), nats a row.
  double kl = 0;
  // Share of rows whose highest logit is at the teacher's first id.
  double argmax_agreement = 0;
  // Mean over rows and retrieval heads of the share of exact softmax mass that
  // the keys they attend hold, exp(lse_attended - lse_dense).
  double kept_mass = 0;
  double tokens_kept = 0;  // keys a row of a retrieval head
  double blocks_kept = 0;  // blocks of mode.selection.block that hold them
  // 1 - mean over rows and all query heads of attended / visible keys.
  double compute_sparsity = 0;
  // The same of the keys that any query head of a key/value head attends, mean
  // over rows and key/value heads.
  double memory_sparsity = 0;
};

// Of one sequence. `labels`: the teacher's, of its label rows.
// Returns what a collective says if one failed.
// REQUIRES: a label for each label row; the sequence is within the model's
// rotation tables.
absl::StatusOr<Fidelity> MeasureFidelity(Transformer& model,
                                         const SparseMode& mode,
                                         const Sequence& sequence,
                                         const TopLabels& labels);

// Its fields in their order, and back: for ranks that exchange them.
std::vector<double> NumbersOf(const Fidelity& fidelity);
// REQUIRES: `numbers` are from NumbersOf().
Fidelity FidelityOf(std::span<const double> numbers);

// Each sequence counts the same. REQUIRES: at least one.
Fidelity MeanFidelity(std::span<const Fidelity> sequences);

// The row of summary.json's "fidelity": {"model": `name`, "kl": ..., and the
// other fields}, null for NaN.
nlohmann::json FidelityRow(absl::string_view name, const Fidelity& fidelity);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_EVALUATION_FIDELITY_H_
