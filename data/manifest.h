// The manifest of a checkpoint, read and written with its digest, and the check
// sums that it holds.

#ifndef RTPURBO_DATA_MANIFEST_H_
#define RTPURBO_DATA_MANIFEST_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/file_system.h"
#include "data/manifest.pb.h"
#include "kernels/core/interval.h"

namespace rtpurbo {

inline constexpr char kManifestName[] = "manifest.textproto";
inline constexpr std::int64_t kManifestVersion = 1;
// A check sum covers this much: little enough to read one block to check one
// tensor, much enough that the sums are a millionth of the data.
inline constexpr std::int64_t kBlockBytes = std::int64_t{4} << 20U;

// The text of a manifest with the line of its digest. Same message, same bytes.
std::string FormatManifest(const Manifest& manifest);

// Reads and checks dir/manifest.textproto. Returns NotFound if there is none,
// DataLoss if its digest, its text, the number of its check sums or its parts
// are wrong, FailedPrecondition if it is of another version.
absl::StatusOr<Manifest> ReadManifest(FileSystem& files,
                                      const std::string& dir);

// Whether the parts of all files hold each tensor exactly once, with one type
// and shape. If not, FailedPrecondition that names the tensor.
absl::Status CheckPartsCover(const Manifest& manifest);

// Blocks that hold `num_bytes`.
constexpr std::int64_t NumBlocks(std::int64_t num_bytes,
                                 std::int64_t block_bytes) {
  return (num_bytes + block_bytes - 1) / block_bytes;
}

// Reads a file of `num_bytes` block by block: the blocks of which `wanted` is
// true, in order. Calls use(index, first byte, bytes) with each.
absl::Status ForEachBlock(
    const std::function<absl::Status(std::int64_t offset,
                                     std::span<std::byte> out)>& read_at,
    std::int64_t num_bytes, std::int64_t block_bytes,
    const std::function<bool(std::int64_t index)>& wanted,
    const std::function<absl::Status(std::int64_t index, std::int64_t begin,
                                     Bytes bytes)>& use);

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_MANIFEST_H_
