// What the steps of a run say of themselves: where their time goes, which rank
// the others wait for, how large each role's gradient is; and what the logs of
// all ranks warn of. HTML out of what metrics.jsonl and logs/ hold.

#ifndef RTPURBO_TRAINER_REPORT_STEPS_H_
#define RTPURBO_TRAINER_REPORT_STEPS_H_

#include <string>

#include "trainer/report_data.h"

namespace rtpurbo {

// A line a training stage: seconds of a step, of work and of each axis, and the
// rank that was slowest most often. "" if no step was recorded.
std::string StepTimes(const ReportData& data);
// The norm of each role's gradient over the steps of a stage.
std::string GradNorms(const ReportData& data, const std::string& stage);
// KL of each layer's heads, over the steps of a stage that knows it.
std::string LayerKl(const ReportData& data, const std::string& stage);
// Warnings and errors of all ranks, in the order of their times.
std::string Warnings(const ReportData& data);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_REPORT_STEPS_H_
