// What a stage says of each step: metrics.jsonl, TensorBoard, the terminal.
//
// A line of metrics.jsonl:
//   {"stage", "step", "loss", "kl", "lr", "grad_norm", "tokens",
//    "label_tokens", "seconds", "grad_norms" (by role), "costs"},
// "kl_of_layer" where the stage knows it (null for a layer without heads), and
// "held_out" (KL of each held-out sequence) where it was measured. Step 0 is
// before training: held_out alone. A number that is none is null.
//   costs: {"work_seconds", "peak_bytes"}, as StepCosts has them, and with
//   several ranks "slowest_work_seconds", "slowest_rank" and
//   "axes": {name: {"seconds", "bytes_sent"}}.

#ifndef RTPURBO_TRAINER_METRICS_H_
#define RTPURBO_TRAINER_METRICS_H_

#include <cstdint>
#include <memory>
#include <string>

#include "data/file_system.h"
#include "kernels/core/progress.h"
#include "trainer/event_file.h"
#include "trainer/trainer.h"

namespace rtpurbo {

class Metrics : public Recorder {
 public:
  // Writes into the run folder `folder`; `steps` are those of the stage.
  // `files` must outlive it.
  Metrics(FileSystem& files, std::string folder, std::int64_t steps)
      : files_(files), folder_(std::move(folder)), steps_(steps) {}

  // Cuts metrics.jsonl to what is before: lines of the stage after `step`, and
  // a line that was cut off.
  absl::Status Resume(absl::string_view stage, std::int64_t step) override;
  absl::Status Record(const StepRecord& record) override;

 private:
  FileSystem& files_;
  std::string folder_;
  std::int64_t steps_;
  std::int64_t tokens_ = 0;
  std::unique_ptr<EventFile> events_;
  std::unique_ptr<ProgressLine> progress_;
};

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_METRICS_H_
