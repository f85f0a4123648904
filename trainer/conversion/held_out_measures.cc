#include "trainer/conversion/held_out_measures.h"

#include <algorithm>
#include <utility>

#include "dist/agree.h"
#include "kernels/core/status_macros.h"
#include "trainer/conversion/labels.h"
#include "trainer/evaluation/recall.h"
#include "trainer/sequences.h"

namespace rtpurbo {

absl::StatusOr<FidelityMeasure> FidelityMeasure::Open(RunContext& run) {
  ASSIGN_OR_RETURN(const auto stream,
                   run.MakeStream(RunContext::StreamUse::kDistill));
  ASSIGN_OR_RETURN(const auto cache, OpenLabels(run, *stream));
  const LabelsAt labels_at = HeldOutLabels(run.ctx(), *cache, kTopLabels);
  const std::int64_t count =
      std::min(run.run().evaluation().fidelity_sequences(),
               run.run().distill().held_out_sequences());
  FidelityMeasure measure;
  for (std::int64_t i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(Sequence sequence, stream->At(kFirstHeldOut + i));
    ASSIGN_OR_RETURN(TopLabels labels, labels_at(i));
    measure.sequences_.push_back(std::move(sequence));
    measure.labels_.push_back(std::move(labels));
  }
  return measure;
}

absl::StatusOr<Fidelity> FidelityMeasure::Of(Communicator& ranks,
                                             Transformer& model,
                                             const SparseMode& mode) const {
  const auto measure =
      [&](std::int64_t i,
          bool /*counts*/) -> absl::StatusOr<std::vector<double>> {
    const auto at = static_cast<std::size_t>(i);
    ASSIGN_OR_RETURN(const Fidelity one,
                     MeasureFidelity(model, mode, sequences_[at], labels_[at]));
    return NumbersOf(one);
  };
  ASSIGN_OR_RETURN(
      const auto numbers,
      ShareOut(model.ctx(), ranks, {ranks.rank(), ranks.size()},
               static_cast<std::int64_t>(sequences_.size()), measure));
  std::vector<Fidelity> all;
  all.reserve(numbers.size());
  for (const std::vector<double>& one : numbers) {
    all.push_back(FidelityOf(one));
  }
  return MeanFidelity(all);
}

absl::StatusOr<nlohmann::ordered_json> RecallRows(RunContext& run,
                                                  Transformer& teacher,
                                                  const SparseMode& start,
                                                  const SparseMode& aligned) {
  ASSIGN_OR_RETURN(const auto stream,
                   run.MakeStream(RunContext::StreamUse::kAlign));
  std::vector<Sequence> sequences;
  for (std::int64_t i = 0; i < run.run().evaluation().fidelity_sequences();
       ++i) {
    ASSIGN_OR_RETURN(Sequence sequence, stream->At(kFirstHeldOut + i));
    sequences.push_back(std::move(sequence));
  }
  const std::vector<double> masses(run.run().align().recall_at().begin(),
                                   run.run().align().recall_at().end());
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const auto& [name, mode] :
       {std::pair<const char*, const SparseMode*>{"start", &start},
        {"stage 1", &aligned}}) {
    ASSIGN_OR_RETURN(const std::vector<Recall> recall,
                     MeasureRecall(teacher, *mode, sequences, masses));
    for (const Recall& one : recall) {
      rows.push_back(nlohmann::ordered_json(RecallRow(name, one)));
    }
  }
  return rows;
}

}  // namespace rtpurbo
