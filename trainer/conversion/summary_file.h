// summary.json: what came out of a run, from its other files.
//
//   {"table": [...], "kl": {"align_before", "align_after", "distill_before",
//    "distill_after"}, "seconds": {stage: s}, "peak_bytes": n, "version": 1}
// and, where they were measured, "recall", "fidelity" and "numbers" (of each
// stage). What is not there yet is left out.

#ifndef RTPURBO_TRAINER_CONVERSION_SUMMARY_FILE_H_
#define RTPURBO_TRAINER_CONVERSION_SUMMARY_FILE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "trainer/conversion/artefacts.h"
#include "trainer/conversion/run_context.h"

namespace rtpurbo {

// Writes it, from the artefacts of the `stages` that are complete. peak_bytes
// is the largest of this process and of those that wrote it before.
absl::Status WriteSummary(RunContext& run, const Artefacts& artefacts,
                          const std::vector<std::string>& stages);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_CONVERSION_SUMMARY_FILE_H_
