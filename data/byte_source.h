// The bytes of a file in order, from the first to the last, unpacked on the way
// if its name ends in .gz, .xz or .zst.
//
// Unpacking needs libarchive, which is optional in the build: without it such a
// file is refused by name, never read as if it were text. A file whose content
// is not what its name says is refused as well.

#ifndef RTPURBO_DATA_BYTE_SOURCE_H_
#define RTPURBO_DATA_BYTE_SOURCE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/file_system.h"

namespace rtpurbo {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Reads the next bytes into `out`: at least one, at most out.size(). Returns
  // how many; 0 only at the end.
  // REQUIRES: out is not empty.
  // Returns DataLoss if packed data is damaged or cut off.
  virtual absl::StatusOr<std::int64_t> Read(std::span<char> out) = 0;
};

// Opens a file for reading from its start. `file_system` must outlive it.
// Returns FailedPrecondition if the file is packed and the build cannot unpack
// it, or if its content is not packed as its name says.
absl::StatusOr<std::unique_ptr<ByteSource>> OpenByteSource(
    FileSystem& file_system, const std::string& path);

// All that a ByteSource gives.
absl::StatusOr<std::string> ReadAll(ByteSource& source);

// "notes.txt" of "notes.txt.gz" (or .xz, .zst), else the path as it is.
absl::string_view WithoutPackingSuffix(absl::string_view path);

namespace internal {
// OpenByteSource in a build that can unpack, or that cannot. For tests.
absl::StatusOr<std::unique_ptr<ByteSource>> OpenByteSource(
    FileSystem& file_system, const std::string& path, bool can_unpack);
}  // namespace internal

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_BYTE_SOURCE_H_
