// Unpacks .gz, .xz and .zst while reading. packed_source.cc is the only file
// that includes libarchive, and only if the build found it. Use OpenByteSource
// (byte_source.h), which asks for this one.

#ifndef RTPURBO_DATA_PACKED_SOURCE_H_
#define RTPURBO_DATA_PACKED_SOURCE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "data/byte_source.h"
#include "data/file_system.h"

namespace rtpurbo {

#ifdef RTPURBO_WITH_LIBARCHIVE
inline constexpr bool kCanUnpack = true;
#else
inline constexpr bool kCanUnpack = false;
#endif

// Reads `file`, whose name `path` ends in .gz, .xz or .zst, unpacked.
// REQUIRES: kCanUnpack.
// Returns FailedPrecondition if the content is not packed as the name says.
absl::StatusOr<std::unique_ptr<ByteSource>> OpenPackedSource(
    std::unique_ptr<ReadableFile> file, const std::string& path);

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_PACKED_SOURCE_H_
