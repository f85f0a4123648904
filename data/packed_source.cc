#include "data/packed_source.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"

#ifdef RTPURBO_WITH_LIBARCHIVE
#include <archive.h>
#include <archive_entry.h>
#endif

namespace rtpurbo {

#ifdef RTPURBO_WITH_LIBARCHIVE

namespace {

constexpr std::int64_t kBlockBytes = std::int64_t{1} << 18U;

class PackedSource : public ByteSource {
 public:
  PackedSource(std::unique_ptr<ReadableFile> file, std::string path)
      : file_(std::move(file)),
        path_(std::move(path)),
        block_(static_cast<std::size_t>(kBlockBytes)),
        archive_(archive_read_new()) {
    CHECK(archive_ != nullptr) << "no memory";
  }
  PackedSource(const PackedSource&) = delete;
  PackedSource& operator=(const PackedSource&) = delete;
  ~PackedSource() override { archive_read_free(archive_); }

  // Reads up to the first unpacked byte.
  absl::Status Open() {
    archive_read_support_filter_gzip(archive_);
    archive_read_support_filter_xz(archive_);
    archive_read_support_filter_zstd(archive_);
    archive_read_support_format_raw(archive_);
    archive_read_support_format_empty(archive_);
    if (archive_read_open(archive_, this, nullptr, &ReadBlock, nullptr) !=
        ARCHIVE_OK) {
      return Failure();
    }
    archive_entry* entry = nullptr;
    const int result = archive_read_next_header(archive_, &entry);
    if (result != ARCHIVE_OK && result != ARCHIVE_EOF) {
      return Failure();
    }
    at_end_ = result == ARCHIVE_EOF;
    const int wanted = absl::EndsWith(path_, ".gz")   ? ARCHIVE_FILTER_GZIP
                       : absl::EndsWith(path_, ".xz") ? ARCHIVE_FILTER_XZ
                                                      : ARCHIVE_FILTER_ZSTD;
    if (archive_filter_code(archive_, 0) != wanted) {
      return absl::FailedPreconditionError(
          absl::StrCat("cannot read ", path_, ": its content is not packed as ",
                       "its name says; rename it to what it is"));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::int64_t> Read(std::span<char> out) override {
    if (at_end_) {
      return 0;
    }
    const la_ssize_t count =
        archive_read_data(archive_, out.data(), out.size());
    if (count < 0) {
      return Failure();
    }
    at_end_ = count == 0;
    return count;
  }

 private:
  static la_ssize_t ReadBlock(archive* /*archive*/, void* self,
                              const void** block) {
    auto* source = static_cast<PackedSource*>(self);
    const std::int64_t count =
        std::min(kBlockBytes, source->file_->size() - source->offset_);
    source->file_status_ = source->file_->ReadAt(
        source->offset_,
        std::as_writable_bytes(
            std::span(source->block_).first(static_cast<std::size_t>(count))));
    if (!source->file_status_.ok()) {
      return ARCHIVE_FATAL;
    }
    source->offset_ += count;
    *block = source->block_.data();
    return count;
  }

  absl::Status Failure() const {
    RETURN_IF_ERROR(file_status_);
    const char* reason = archive_error_string(archive_);
    return absl::DataLossError(
        absl::StrCat("cannot unpack ", path_, " after ", offset_,
                     " bytes: ", reason == nullptr ? "no reason given" : reason,
                     "; the file is damaged or cut off, fetch it again"));
  }

  std::unique_ptr<ReadableFile> file_;
  std::string path_;
  std::vector<char> block_;
  archive* archive_;
  std::int64_t offset_ = 0;
  absl::Status file_status_;
  bool at_end_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ByteSource>> OpenPackedSource(
    std::unique_ptr<ReadableFile> file, const std::string& path) {
  auto source = std::make_unique<PackedSource>(std::move(file), path);
  RETURN_IF_ERROR(source->Open());
  return source;
}

#else

absl::StatusOr<std::unique_ptr<ByteSource>> OpenPackedSource(
    std::unique_ptr<ReadableFile> /*file*/, const std::string& path) {
  CHECK(kCanUnpack) << path << " needs libarchive";
  return absl::InternalError("built without libarchive");
}

#endif

}  // namespace rtpurbo
