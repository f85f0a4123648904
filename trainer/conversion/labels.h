// What the label cache of a run was made from.

#ifndef RTPURBO_TRAINER_CONVERSION_LABELS_H_
#define RTPURBO_TRAINER_CONVERSION_LABELS_H_

#include <memory>

#include "absl/status/statusor.h"
#include "data/label_cache.h"
#include "trainer/conversion/run_context.h"

namespace rtpurbo {

// Of the teacher, how it computes, and the sequences of stage 2.
absl::StatusOr<LabelFingerprints> LabelFingerprintsOf(
    RunContext& run, const DocumentStream& stream);

// prepare/labels.h5, refused if it was made from anything else.
absl::StatusOr<std::unique_ptr<LabelCache>> OpenLabels(
    RunContext& run, const DocumentStream& stream);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_CONVERSION_LABELS_H_
