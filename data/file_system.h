// The one door to files.
//
// Everything that the project reads from or writes to disk goes through a
// FileSystem, so that a test can put one in that fails the k-th call
// (tests/data/failing_file_system.h). A real one makes the system calls and
// nothing else: no buffers, no cache, no retry but of interrupted calls.
//
// Errors: every Status names the attempt, the path, what the system said and
// what to do. By code: NotFound, AlreadyExists, PermissionDenied,
// ResourceExhausted (disk or quota full, too many files), FailedPrecondition
// (a folder where a file should be, or the reverse), DataLoss (the file is
// shorter than what is read), Unavailable (the device failed), Internal.
//
// Durability: what was written survives a crash of the machine only after
// Sync() of the file, and its name only after SyncDirectory() of its parent.
// WriteFileAtomically() does both.
//
// Threads: a FileSystem may be used by any number of them; a ReadableFile or
// MappedFile also; a WritableFile by one at a time.

#ifndef RTPURBO_DATA_FILE_SYSTEM_H_
#define RTPURBO_DATA_FILE_SYSTEM_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace rtpurbo {

using Bytes = std::span<const std::byte>;
inline Bytes AsBytes(absl::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

// A file open for reading; closed when destroyed.
class ReadableFile {
 public:
  virtual ~ReadableFile() = default;
  // Bytes, when it was opened.
  virtual std::int64_t size() const = 0;
  // Fills `out` with the bytes from `offset` on. DataLoss if the file ends
  // before that.
  virtual absl::Status ReadAt(std::int64_t offset,
                              std::span<std::byte> out) const = 0;
};

// A file seen as memory, read-only; unmapped when destroyed. Bytes are read
// when they are touched. If another process shortens the file meanwhile, a
// touch beyond the new end is fatal (SIGBUS).
class MappedFile {
 public:
  virtual ~MappedFile() = default;
  virtual Bytes bytes() const = 0;
  // Gives back the memory of what was read; it is read again when it is used.
  virtual void Forget() const {}
};

// A file open for writing (and reading, for formats that go back to what they
// wrote). Close() it: only then is it known that all was written. Destroyed
// without that, it is closed and errors are lost.
class WritableFile {
 public:
  virtual ~WritableFile() = default;
  virtual absl::Status WriteAt(std::int64_t offset, Bytes bytes) = 0;
  // Writes at the end of the file as it is now.
  virtual absl::Status Append(Bytes bytes) = 0;
  virtual absl::Status ReadAt(std::int64_t offset,
                              std::span<std::byte> out) const = 0;
  virtual absl::StatusOr<std::int64_t> Size() const = 0;
  // Cuts the file, or extends it with zeros.
  virtual absl::Status Truncate(std::int64_t size) = 0;
  // Returns when the bytes are on the device.
  virtual absl::Status Sync() = 0;
  // No call may follow, whatever it returns.
  virtual absl::Status Close() = 0;
};

enum class WriteMode : std::uint8_t {
  kCreate,    // an empty file; what was there is gone
  kNew,       // an empty file; AlreadyExists if there is one. Of many callers,
              // on any hosts, one gets it
  kExisting,  // the file as it is; NotFound if there is none
  kAppend,    // the file as it is, or an empty one
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;

  virtual absl::StatusOr<std::unique_ptr<ReadableFile>> OpenForRead(
      const std::string& path) = 0;
  virtual absl::StatusOr<std::unique_ptr<MappedFile>> Map(
      const std::string& path) = 0;
  virtual absl::StatusOr<std::unique_ptr<WritableFile>> OpenForWrite(
      const std::string& path, WriteMode mode) = 0;

  // Whether a file or folder of that name can be seen; links are followed.
  virtual absl::StatusOr<bool> Exists(const std::string& path) = 0;
  virtual absl::StatusOr<bool> IsDirectory(const std::string& path) = 0;
  // Bytes of a file.
  virtual absl::StatusOr<std::int64_t> Size(const std::string& path) = 0;
  // Names (not paths) of what is in a folder, sorted, without "." and "..".
  virtual absl::StatusOr<std::vector<std::string>> List(
      const std::string& path) = 0;

  // The folder and all its parents; those that exist are left as they are.
  virtual absl::Status CreateDirectories(const std::string& path) = 0;
  // Atomic: `to` is seen as it was or as `from` is. Replaces a file; a folder
  // only if it is empty. Both must be on one device.
  virtual absl::Status Rename(const std::string& from,
                              const std::string& to) = 0;
  // Of a file or an empty folder.
  virtual absl::Status Remove(const std::string& path) = 0;
  virtual absl::Status Truncate(const std::string& path, std::int64_t size) = 0;
  // Returns when the names in a folder are on the device.
  virtual absl::Status SyncDirectory(const std::string& path) = 0;

  // Built from the calls above.

  absl::StatusOr<std::string> ReadFile(const std::string& path);
  // A reader sees the old file or the new one, whole, also after a crash: the
  // bytes go to `path`.tmp, are synced, renamed, and the parent is synced. If
  // it fails before the rename, the old file is untouched.
  absl::Status WriteFileAtomically(const std::string& path,
                                   absl::string_view contents);
  // Adds `contents` to the end of a file, which is made if there is none. Does
  // not sync.
  absl::Status AppendToFile(const std::string& path,
                            absl::string_view contents);
  // A file, or a folder with all that is in it. Nothing there is no error.
  absl::Status RemoveTree(const std::string& path);
};

// The file system of this machine. Never destroyed.
FileSystem& RealFileSystem();

// dir + "/" + name, with one slash between them; `name` if `dir` is empty.
std::string JoinPath(absl::string_view dir, absl::string_view name);
// "a/b" of "a/b/c", "." of "c", "/" of "/c". A slash at the end is ignored.
std::string ParentDirectory(absl::string_view path);
// "c" of "a/b/c". A slash at the end is ignored.
std::string BaseName(absl::string_view path);

// The Status of a failed system call: "cannot <what> <path>: <text of the
// error number>" and what to do.
absl::Status ErrnoStatus(int error_number, absl::string_view what,
                         absl::string_view path);

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_FILE_SYSTEM_H_
