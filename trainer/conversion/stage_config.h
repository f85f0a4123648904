// What of a run's configuration a stage depends on, and what it says at its
// end.

#ifndef RTPURBO_TRAINER_CONVERSION_STAGE_CONFIG_H_
#define RTPURBO_TRAINER_CONVERSION_STAGE_CONFIG_H_

#include <map>
#include <string>

#include "absl/strings/string_view.h"
#include "configs/schema/run.pb.h"
#include "trainer/trainer.h"

namespace rtpurbo {

// The fields that decide what a stage writes, as a text with a field a line.
// Threads, and how often checkpoints are made, don't.
std::string StageConfigText(const configs::Run& run, absl::string_view stage);

// Says how far the held-out KL fell, and whether that is more than chance.
void LogFall(const std::string& stage, const TrainResult& result);

// "<stage>_before", "<stage>_after" (mean held-out KL), "<stage>_fall" (mean
// paired difference), "<stage>_fall_error" (its standard error) and
// "<stage>_best_step".
std::map<std::string, double> HeldOutNumbers(const std::string& stage,
                                             const TrainResult& result);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_CONVERSION_STAGE_CONFIG_H_
