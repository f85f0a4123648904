// A folder of checkpoints: which there are, which is the newest that is intact,
// which is the best, and which may go.
//
//   step_00000010/  step_00000020/   committed
//   step_00000030.7.tmp/             being written, or left by a writer, of
//                                    incarnation 7 of the run
//   step_00000020.old/               being replaced
//   best                             a line with the name of one

#ifndef RTPURBO_DATA_CHECKPOINT_FOLDER_H_
#define RTPURBO_DATA_CHECKPOINT_FOLDER_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/checkpoint.h"
#include "data/file_system.h"

namespace rtpurbo {

struct CheckpointRef {
  std::int64_t step = 0;
  std::string dir;
};

// All committed ones, newest first; not opened, so some may be damaged. Nothing
// if the folder is not there.
absl::StatusOr<std::vector<CheckpointRef>> ListCheckpoints(
    FileSystem& files, const std::string& root);

// The newest that passes Checkpoint::Verify(). NotFound if there is none; the
// message then says what is wrong with each. Other errors (the disk) are
// returned at once: they say nothing about a checkpoint.
//   skipped: if not null, one message for each newer one that was passed over.
absl::StatusOr<CheckpointRef> NewestIntactCheckpoint(
    FileSystem& files, const std::string& root,
    std::vector<std::string>* skipped = nullptr);

// Names the checkpoint of `step` as the best, durably.
// Returns NotFound if there is none of that step.
absl::Status SetBestCheckpoint(FileSystem& files, const std::string& root,
                               std::int64_t step);
// NotFound if none was named, or it is no longer there.
absl::StatusOr<CheckpointRef> BestCheckpoint(FileSystem& files,
                                             const std::string& root);

// Removes all but the newest, the newest `keep` among those that count, and the
// best; and what interrupted writers left behind.
//   counts: by step; null: all do. Those that do not, because a run made them
//     to stop there, go when a newer one is there: the folder ends as that of a
//     run that never stopped.
// REQUIRES: keep >= 1; no checkpoint is being written.
absl::Status RemoveOldCheckpoints(
    FileSystem& files, const std::string& root, std::int64_t keep,
    const std::function<bool(std::int64_t step)>& counts = nullptr);
// Removes those of later steps than `step`: a run that goes on from there would
// otherwise take them for its own.
absl::Status RemoveCheckpointsAfter(FileSystem& files, const std::string& root,
                                    std::int64_t step);

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_CHECKPOINT_FOLDER_H_
