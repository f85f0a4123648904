// The answers of a run, read back.

#ifndef RTPURBO_TRAINER_CONVERSION_ANSWERS_H_
#define RTPURBO_TRAINER_CONVERSION_ANSWERS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/file_system.h"
#include "trainer/evaluation/summary.h"

namespace rtpurbo {

// SummarizeEvaluation() of a file like evaluation.jsonl.
absl::StatusOr<std::vector<SummaryRow>> SummarizeFile(FileSystem& files,
                                                      const std::string& path);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_CONVERSION_ANSWERS_H_
