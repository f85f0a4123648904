// The whole conversion of a model, as make over the files of a run folder:
//
//   prepare -> calibrate -> labels -> align -> distill -> export -> evaluate
//
// A stage that is complete and unchanged is skipped, one that was interrupted
// continues, one whose inputs or outputs changed is made again; the log says
// which, and why. summary.json and report.html are written after each.
//
// With several ranks, all call the same functions. prepare and export are made
// by the first, while the others wait; the other stages by all of them
// together. Only the first writes, but for each rank's part of a checkpoint.
// Files must be the same ones on all ranks.

#ifndef RTPURBO_TRAINER_CONVERSION_CONVERSION_H_
#define RTPURBO_TRAINER_CONVERSION_CONVERSION_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "trainer/conversion/artefacts.h"
#include "trainer/conversion/run_context.h"
#include "trainer/conversion/stages.h"

namespace rtpurbo {

class Conversion {
 public:
  // Makes the folder `out` and writes `run` to out/run.textproto. `ranks` must
  // outlive it.
  static absl::StatusOr<std::unique_ptr<Conversion>> Open(
      const ExecContext& ctx, FileSystem& files, Communicator& ranks,
      const configs::Run& run, const std::string& out,
      const RunControl& control = {});

  // In the order in which they are made.
  static std::vector<std::string> StageNames();

  // All stages.
  absl::Status MakeAll();
  // One stage, after those that it alone needs ("labels" before "distill").
  // Returns FailedPrecondition if a stage that it reads is not complete.
  absl::Status Make(const std::string& stage);
  // Writes summary.json and report.html from the run's files.
  absl::Status Report();

  RunContext& run() { return run_; }

 private:
  Conversion(const ExecContext& ctx, FileSystem& files,
             std::unique_ptr<Mesh> mesh, const configs::Run& run,
             const std::string& out, const RunControl& control)
      : run_(ctx, files, std::move(mesh), run, out, control),
        artefacts_(files, out) {}

  absl::StatusOr<StageInputs> InputsOf(const std::string& stage);
  absl::StatusOr<bool> Begin(const std::string& stage);
  absl::Status Finish(const std::string& stage, const StageResult& result,
                      double seconds);
  absl::Status RemoveOutputs(const std::string& stage);

  RunContext run_;
  Artefacts artefacts_;
  StageInputs inputs_;  // of the stage that is being made, on the first rank
};

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_CONVERSION_CONVERSION_H_
