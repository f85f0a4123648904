// Checkpoints: files of tensor intervals, one per rank, and a manifest.
//
// A checkpoint is the folder step_00000040/ with rank_0.h5, rank_1.h5, ... and
// manifest.textproto. It is written as step_00000040.7.tmp/, 7 being the
// incarnation of the run (data/run_lock.h), so that no other start writes to
// the same files; and it appears by one rename, whole: a folder without a
// manifest is no checkpoint. Every file has a CRC-32C for each 4 MiB, the
// manifest a digest of itself, so any changed byte is found. Same tensors, same
// bytes on disk.
//
// Three phases. The trainer takes a snapshot (device to host memory) at the
// boundary of a step. Then each rank writes its file, alone, from any thread
// (WriteCheckpointFile). When all have, one rank commits (CommitCheckpoint).
// Nothing here communicates: the trainer gathers the records of the files.
//
// A rank holds intervals of the flattened tensors, so loading into any number
// of ranks is the intersection of intervals.
//
// The rank files are HDF5, for h5ls, h5dump and h5py: a tensor that is whole
// has its name and shape; a part is "<name>@<begin>", flat, with the attributes
// "begin" and "shape". They are read here without the HDF5 library, which may
// crash on damaged files: the manifest says where each part lies.

#ifndef RTPURBO_DATA_CHECKPOINT_H_
#define RTPURBO_DATA_CHECKPOINT_H_

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/file_system.h"
#include "data/manifest.pb.h"
#include "kernels/core/tensor.h"

namespace rtpurbo {

// Elements [begin, end) of the row-major order of one named tensor.
struct TensorPart {
  std::string name;  // "block.12.experts.up", stable across world sizes
  Shape global_shape;
  std::int64_t begin = 0;
  std::int64_t end = 0;
  Tensor local;  // on the host, end - begin elements of any shape; also if 0
};

// "step_00000040".
std::string CheckpointName(std::int64_t step);

// Makes an empty folder for the files of `step` under `root`, and root itself;
// what an interrupted writer left there is removed. By one rank, before any
// writes.
//   incarnation: of the run; 0 where there is no lock.
absl::Status PrepareCheckpoint(FileSystem& files, const std::string& root,
                               std::int64_t step, std::int64_t incarnation = 0);

// Writes the parts of one rank, syncs, and returns the record for the commit.
// Needs no other rank.
// REQUIRES: PrepareCheckpoint() was done; no two parts of a rank have the same
// name and begin.
absl::StatusOr<CheckpointFile> WriteCheckpointFile(
    FileSystem& files, const std::string& root, std::int64_t step, int rank,
    std::span<const TensorPart> parts, std::int64_t incarnation = 0);

struct CheckpointContents {
  std::int64_t step = 0;
  std::string config;                        // resolved, as text
  std::map<std::string, std::string> state;  // where to go on
  std::vector<CheckpointFile> files;         // of all ranks, in order
  std::int64_t incarnation = 0;              // whose files; not stored
};

// Writes the manifest and makes the checkpoint appear, durably. One of the same
// step is replaced; until then it can be loaded. By one rank, after all have
// written.
// Returns FailedPrecondition if the parts are not a cover of each tensor, or a
// file is not there in its size. After any error the older checkpoints are as
// they were, and the new one is there whole or not at all.
absl::Status CommitCheckpoint(FileSystem& files, const std::string& root,
                              const CheckpointContents& contents);

// One committed checkpoint, open for reading. Threads: Load and Verify are safe
// from any number of them.
class Checkpoint {
 public:
  // Checks the manifest, and that every file is there in its size.
  static absl::StatusOr<Checkpoint> Open(FileSystem& files,
                                         const std::string& dir);

  const std::string& dir() const { return dir_; }
  const Manifest& manifest() const { return manifest_; }
  std::int64_t step() const { return manifest_.step(); }
  const std::string& config() const { return manifest_.config(); }
  // NotFound if there is no such key.
  absl::StatusOr<std::string> State(const std::string& key) const;
  // Names of all tensors, sorted, with their shapes.
  std::map<std::string, Shape> Tensors() const;

  // Fills the parts' local tensors. Reads the files and blocks that hold them
  // and checks those blocks.
  // Returns NotFound if a tensor is not in the checkpoint, FailedPrecondition
  // if it has another type or shape there, DataLoss if a block is damaged; the
  // local tensors are then undefined.
  absl::Status Load(std::span<const TensorPart> parts) const;

  // Reads everything. DataLoss, which names file and byte, if anything changed.
  absl::Status Verify() const;

 private:
  Checkpoint(FileSystem& files, std::string dir, Manifest manifest)
      : files_(&files), dir_(std::move(dir)), manifest_(std::move(manifest)) {}

  FileSystem* files_;
  std::string dir_;
  Manifest manifest_;
};

// Open() and Verify().
absl::Status VerifyCheckpoint(FileSystem& files, const std::string& dir);

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_CHECKPOINT_H_
