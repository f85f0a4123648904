#include "data/fenced_file_system.h"

#include <atomic>
#include <limits>
#include <utility>

#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

std::int64_t NowMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

class FencedFileSystem::Fence {
 public:
  Fence(MayWrite may_write, std::chrono::milliseconds trust_for)
      : may_write_(std::move(may_write)), trust_for_ms_(trust_for.count()) {}

  // Before a change of names.
  absl::Status Ask() {
    const std::int64_t now = NowMs();
    RETURN_IF_ERROR(may_write_());
    asked_at_ms_ = now;
    return absl::OkStatus();
  }
  // Before bytes go to a file that is open.
  absl::Status AskAgain() {
    return NowMs() - asked_at_ms_ < trust_for_ms_ ? absl::OkStatus() : Ask();
  }

 private:
  const MayWrite may_write_;
  const std::int64_t trust_for_ms_;
  std::atomic<std::int64_t> asked_at_ms_ =
      std::numeric_limits<std::int64_t>::min() / 2;
};

class FencedFileSystem::File : public WritableFile {
 public:
  File(std::unique_ptr<WritableFile> file, std::shared_ptr<Fence> fence)
      : file_(std::move(file)), fence_(std::move(fence)) {}

  absl::Status WriteAt(std::int64_t offset, Bytes bytes) override {
    RETURN_IF_ERROR(fence_->AskAgain());
    return file_->WriteAt(offset, bytes);
  }
  absl::Status Append(Bytes bytes) override {
    RETURN_IF_ERROR(fence_->AskAgain());
    return file_->Append(bytes);
  }
  absl::Status ReadAt(std::int64_t offset,
                      std::span<std::byte> out) const override {
    return file_->ReadAt(offset, out);
  }
  absl::StatusOr<std::int64_t> Size() const override { return file_->Size(); }
  absl::Status Truncate(std::int64_t size) override {
    RETURN_IF_ERROR(fence_->Ask());
    return file_->Truncate(size);
  }
  absl::Status Sync() override { return file_->Sync(); }
  absl::Status Close() override { return file_->Close(); }

 private:
  const std::unique_ptr<WritableFile> file_;
  const std::shared_ptr<Fence> fence_;
};

FencedFileSystem::FencedFileSystem(FileSystem& files, MayWrite may_write,
                                   std::chrono::milliseconds trust_for)
    : files_(files),
      fence_(std::make_shared<Fence>(std::move(may_write), trust_for)) {}
FencedFileSystem::~FencedFileSystem() = default;

absl::StatusOr<std::unique_ptr<WritableFile>> FencedFileSystem::OpenForWrite(
    const std::string& path, WriteMode mode) {
  RETURN_IF_ERROR(fence_->Ask());
  ASSIGN_OR_RETURN(auto file, files_.OpenForWrite(path, mode));
  return std::make_unique<File>(std::move(file), fence_);
}

absl::Status FencedFileSystem::CreateDirectories(const std::string& path) {
  RETURN_IF_ERROR(fence_->Ask());
  return files_.CreateDirectories(path);
}

absl::Status FencedFileSystem::Rename(const std::string& from,
                                      const std::string& to) {
  RETURN_IF_ERROR(fence_->Ask());
  return files_.Rename(from, to);
}

absl::Status FencedFileSystem::Remove(const std::string& path) {
  RETURN_IF_ERROR(fence_->Ask());
  return files_.Remove(path);
}

absl::Status FencedFileSystem::Truncate(const std::string& path,
                                        std::int64_t size) {
  RETURN_IF_ERROR(fence_->Ask());
  return files_.Truncate(path, size);
}

}  // namespace rtpurbo
