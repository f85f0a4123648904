// Make over fingerprints: which stages of a run are complete and unchanged.
//
// artefacts/<stage>.textproto holds what a stage read (parts of the
// configuration, digests of files) and wrote (digests). A stage is skipped if
// what it would read is what it read, and what it wrote is still there,
// unchanged.

#ifndef RTPURBO_TRAINER_CONVERSION_ARTEFACTS_H_
#define RTPURBO_TRAINER_CONVERSION_ARTEFACTS_H_

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/file_system.h"
#include "trainer/conversion/artefact.pb.h"

namespace rtpurbo {

// Name and value, in order.
using StageInputs = std::vector<std::pair<std::string, std::string>>;

struct StagePlan {
  enum class Action {
    kMake,      // nothing is there
    kSkip,      // complete and unchanged
    kContinue,  // interrupted, with the same inputs
    kRedo,      // inputs or outputs changed: what is there does not fit
  };
  Action action = Action::kMake;
  std::string why;  // of kRedo, for people: "align.steps: 100 -> 50"
};

class Artefacts {
 public:
  // Of the run in `folder`. `files` must outlive it.
  Artefacts(FileSystem& files, std::string folder)
      : files_(files), folder_(std::move(folder)) {}

  absl::StatusOr<StagePlan> Plan(const std::string& stage,
                                 const StageInputs& inputs) const;
  // Before a stage is made.
  absl::Status Begin(const std::string& stage, const StageInputs& inputs);
  // After. `outputs` are files or folders, from the run's folder.
  absl::Status Finish(const std::string& stage, const StageInputs& inputs,
                      const std::vector<std::string>& outputs, double seconds,
                      const std::map<std::string, double>& numbers);
  // Of a complete stage.
  // Returns FailedPrecondition if it is not complete.
  absl::StatusOr<Artefact> Complete(const std::string& stage) const;

 private:
  std::string PathOf(const std::string& stage) const;
  absl::StatusOr<Artefact> Read(const std::string& stage) const;
  absl::Status Write(const Artefact& artefact);

  FileSystem& files_;
  std::string folder_;
};

// SHA-256 of a file; of a folder, of the names and digests of what is in it.
absl::StatusOr<std::string> DigestOf(FileSystem& files,
                                     const std::string& path);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_CONVERSION_ARTEFACTS_H_
