// Where a stage's sequences and their labels come from.

#ifndef RTPURBO_TRAINER_SEQUENCES_H_
#define RTPURBO_TRAINER_SEQUENCES_H_

#include <cstdint>
#include <functional>

#include "absl/status/statusor.h"
#include "data/document_stream.h"
#include "data/label_cache.h"
#include "trainer/model_input.h"

namespace rtpurbo {

// By position, from 0 on: a pure function of it.
using SequenceAt = std::function<absl::StatusOr<Sequence>(std::int64_t index)>;
using LabelsAt = std::function<absl::StatusOr<TopLabels>(std::int64_t index)>;

// The training sequences of a stream, and its held-out ones. `stream` must
// outlive the function.
SequenceAt TrainingSequences(const DocumentStream& stream);
SequenceAt HeldOutSequences(const DocumentStream& stream);

// The teacher's labels of these sequences from a cache: the `top_k` highest of
// the kTopLabels that it holds. `cache` must outlive the function.
// REQUIRES: top_k <= kTopLabels.
LabelsAt TrainingLabels(const ExecContext& ctx, const LabelCache& cache,
                        std::int64_t top_k);
LabelsAt HeldOutLabels(const ExecContext& ctx, const LabelCache& cache,
                       std::int64_t top_k);

// What a cache keeps of labels, and what a stage reads of that.
Labels ToCache(const ExecContext& ctx, const TopLabels& labels,
               std::int64_t index);
TopLabels FromCache(const ExecContext& ctx, const Labels& labels,
                    std::int64_t top_k);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_SEQUENCES_H_
