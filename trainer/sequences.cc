#include "trainer/sequences.h"

#include <algorithm>
#include <vector>

#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

SequenceAt SequencesFrom(const DocumentStream& stream, std::int64_t first) {
  return
      [&stream, first](std::int64_t index) { return stream.At(first + index); };
}

LabelsAt LabelsFrom(const ExecContext& ctx, const LabelCache& cache,
                    std::int64_t top_k, std::int64_t first) {
  return [ctx, &cache, top_k,
          first](std::int64_t index) -> absl::StatusOr<TopLabels> {
    ASSIGN_OR_RETURN(const Labels labels, cache.Read(first + index));
    return FromCache(ctx, labels, top_k);
  };
}

}  // namespace

SequenceAt TrainingSequences(const DocumentStream& stream) {
  return SequencesFrom(stream, 0);
}

SequenceAt HeldOutSequences(const DocumentStream& stream) {
  return SequencesFrom(stream, kFirstHeldOut);
}

LabelsAt TrainingLabels(const ExecContext& ctx, const LabelCache& cache,
                        std::int64_t top_k) {
  return LabelsFrom(ctx, cache, top_k, 0);
}

LabelsAt HeldOutLabels(const ExecContext& ctx, const LabelCache& cache,
                       std::int64_t top_k) {
  return LabelsFrom(ctx, cache, top_k, kFirstHeldOut);
}

Labels ToCache(const ExecContext& ctx, const TopLabels& labels,
               std::int64_t index) {
  CHECK_EQ(labels.id_LK.dim(1), kTopLabels);
  Labels cached;
  cached.index = index;
  const std::vector<std::int32_t> ids = ToHost<std::int32_t>(ctx, labels.id_LK);
  cached.ids_LK.assign(ids.begin(), ids.end());
  cached.logits_LK = ToHost<float>(ctx, labels.logit_LK);
  cached.lse_L = ToHost<float>(ctx, labels.lse_L);
  return cached;
}

TopLabels FromCache(const ExecContext& ctx, const Labels& labels,
                    std::int64_t top_k) {
  CHECK_LE(top_k, kTopLabels);
  const std::int64_t L = labels.num_rows();
  std::vector<std::int32_t> ids;
  std::vector<float> logits;
  for (std::int64_t row = 0; row < L; ++row) {
    for (std::int64_t k = 0; k < top_k; ++k) {
      const auto i = static_cast<std::size_t>(row * kTopLabels + k);
      ids.push_back(static_cast<std::int32_t>(labels.ids_LK[i]));
      logits.push_back(labels.logits_LK[i]);
    }
  }
  return {FromHost(ctx, ids, {L, top_k}), FromHost(ctx, logits, {L, top_k}),
          FromHost(ctx, labels.lse_L, {L})};
}

}  // namespace rtpurbo
