#include "data/byte_source.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "data/packed_source.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

constexpr std::array<const char*, 3> kPackingSuffixes = {".gz", ".xz", ".zst"};

class PlainSource : public ByteSource {
 public:
  explicit PlainSource(std::unique_ptr<ReadableFile> file)
      : file_(std::move(file)) {}

  absl::StatusOr<std::int64_t> Read(std::span<char> out) override {
    const std::int64_t count = std::min(static_cast<std::int64_t>(out.size()),
                                        file_->size() - offset_);
    RETURN_IF_ERROR(file_->ReadAt(
        offset_,
        std::as_writable_bytes(out.first(static_cast<std::size_t>(count)))));
    offset_ += count;
    return count;
  }

 private:
  std::unique_ptr<ReadableFile> file_;
  std::int64_t offset_ = 0;
};

}  // namespace

absl::string_view WithoutPackingSuffix(absl::string_view path) {
  for (const absl::string_view suffix : kPackingSuffixes) {
    if (absl::EndsWith(path, suffix)) {
      return path.substr(0, path.size() - suffix.size());
    }
  }
  return path;
}

absl::StatusOr<std::unique_ptr<ByteSource>> OpenByteSource(
    FileSystem& file_system, const std::string& path) {
  return internal::OpenByteSource(file_system, path, kCanUnpack);
}

absl::StatusOr<std::unique_ptr<ByteSource>> internal::OpenByteSource(
    FileSystem& file_system, const std::string& path, bool can_unpack) {
  const absl::string_view plain = WithoutPackingSuffix(path);
  const bool packed = plain.size() != path.size();
  if (packed && !can_unpack) {
    return absl::FailedPreconditionError(absl::StrCat(
        "cannot read ", path, ": this program was built without libarchive, ",
        "which unpacks ", absl::string_view(path).substr(plain.size()),
        " files; unpack it first, or install libarchive-dev and build again"));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<ReadableFile> file,
                   file_system.OpenForRead(path));
  if (packed) {
    return OpenPackedSource(std::move(file), path);
  }
  return std::make_unique<PlainSource>(std::move(file));
}

absl::StatusOr<std::string> ReadAll(ByteSource& source) {
  std::string all;
  std::vector<char> piece(std::size_t{1} << 18U);
  for (;;) {
    ASSIGN_OR_RETURN(const std::int64_t count, source.Read(piece));
    if (count == 0) {
      return all;
    }
    all.append(piece.data(), static_cast<std::size_t>(count));
  }
}

}  // namespace rtpurbo
