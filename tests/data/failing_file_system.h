// A FileSystem that fails the k-th call, to see what is left behind.
//
//   for (int k = 1;; ++k) {
//     FailingFileSystem files(RealFileSystem());
//     files.FailFrom(k, ENOSPC);
//     if (Save(files).ok()) break;        // fewer than k calls
//     EXPECT_OK(OldOrNewIsUsable(RealFileSystem()));
//   }
//
// Calls of the FileSystem and of the files that it opened count alike, in the
// order in which they are made. A write that fails has written half.

#ifndef RTPURBO_TESTS_DATA_FAILING_FILE_SYSTEM_H_
#define RTPURBO_TESTS_DATA_FAILING_FILE_SYSTEM_H_

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data/file_system.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo::testing {

// Counts calls and says which fail. Calls are numbered from 1.
class CallCounter {
 public:
  void Fail(std::int64_t first, std::int64_t last, int error_number) {
    first_ = first;
    last_ = last;
    error_number_ = error_number;
  }
  std::int64_t calls() const { return calls_; }
  absl::Status Next(const char* what, const std::string& path) {
    const std::int64_t call = ++calls_;
    return call >= first_ && call <= last_
               ? ErrnoStatus(error_number_, what, path)
               : absl::OkStatus();
  }

 private:
  std::atomic<std::int64_t> calls_ = 0;
  std::int64_t first_ = std::numeric_limits<std::int64_t>::max();
  std::int64_t last_ = 0;
  int error_number_ = 0;
};

class FailingReadableFile : public ReadableFile {
 public:
  FailingReadableFile(std::unique_ptr<ReadableFile> file, std::string path,
                      std::shared_ptr<CallCounter> counter)
      : file_(std::move(file)),
        path_(std::move(path)),
        counter_(std::move(counter)) {}
  std::int64_t size() const override { return file_->size(); }
  absl::Status ReadAt(std::int64_t offset,
                      std::span<std::byte> out) const override {
    RETURN_IF_ERROR(counter_->Next("read", path_));
    return file_->ReadAt(offset, out);
  }

 private:
  std::unique_ptr<ReadableFile> file_;
  std::string path_;
  std::shared_ptr<CallCounter> counter_;
};

class FailingWritableFile : public WritableFile {
 public:
  FailingWritableFile(std::unique_ptr<WritableFile> file, std::string path,
                      std::shared_ptr<CallCounter> counter)
      : file_(std::move(file)),
        path_(std::move(path)),
        counter_(std::move(counter)) {}

  absl::Status WriteAt(std::int64_t offset, Bytes bytes) override {
    if (absl::Status failed = counter_->Next("write", path_); !failed.ok()) {
      file_->WriteAt(offset, bytes.first(bytes.size() / 2)).IgnoreError();
      return failed;
    }
    return file_->WriteAt(offset, bytes);
  }
  absl::Status Append(Bytes bytes) override {
    if (absl::Status failed = counter_->Next("write", path_); !failed.ok()) {
      file_->Append(bytes.first(bytes.size() / 2)).IgnoreError();
      return failed;
    }
    return file_->Append(bytes);
  }
  absl::Status ReadAt(std::int64_t offset,
                      std::span<std::byte> out) const override {
    RETURN_IF_ERROR(counter_->Next("read", path_));
    return file_->ReadAt(offset, out);
  }
  absl::StatusOr<std::int64_t> Size() const override {
    RETURN_IF_ERROR(counter_->Next("look at", path_));
    return file_->Size();
  }
  absl::Status Truncate(std::int64_t size) override {
    RETURN_IF_ERROR(counter_->Next("set the size of", path_));
    return file_->Truncate(size);
  }
  absl::Status Sync() override {
    RETURN_IF_ERROR(counter_->Next("sync", path_));
    return file_->Sync();
  }
  absl::Status Close() override {
    const absl::Status failed = counter_->Next("close", path_);
    const absl::Status closed = file_->Close();
    return failed.ok() ? closed : failed;
  }

 private:
  std::unique_ptr<WritableFile> file_;
  std::string path_;
  std::shared_ptr<CallCounter> counter_;
};

class FailingFileSystem : public FileSystem {
 public:
  explicit FailingFileSystem(FileSystem& files) : files_(files) {}

  // Call k alone fails: what a program may go on after.
  void FailOnce(std::int64_t k, int error_number) {
    counter_->Fail(k, k, error_number);
  }
  // Call k and all later ones fail: as if the machine had stopped there.
  void FailFrom(std::int64_t k, int error_number) {
    counter_->Fail(k, std::numeric_limits<std::int64_t>::max(), error_number);
  }
  std::int64_t calls() const { return counter_->calls(); }

  absl::StatusOr<std::unique_ptr<ReadableFile>> OpenForRead(
      const std::string& path) override {
    RETURN_IF_ERROR(counter_->Next("open", path));
    ASSIGN_OR_RETURN(auto file, files_.OpenForRead(path));
    return std::make_unique<FailingReadableFile>(std::move(file), path,
                                                 counter_);
  }
  absl::StatusOr<std::unique_ptr<MappedFile>> Map(
      const std::string& path) override {
    RETURN_IF_ERROR(counter_->Next("map", path));
    return files_.Map(path);
  }
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForWrite(
      const std::string& path, WriteMode mode) override {
    RETURN_IF_ERROR(counter_->Next("open", path));
    ASSIGN_OR_RETURN(auto file, files_.OpenForWrite(path, mode));
    return std::make_unique<FailingWritableFile>(std::move(file), path,
                                                 counter_);
  }
  absl::StatusOr<bool> Exists(const std::string& path) override {
    RETURN_IF_ERROR(counter_->Next("look at", path));
    return files_.Exists(path);
  }
  absl::StatusOr<bool> IsDirectory(const std::string& path) override {
    RETURN_IF_ERROR(counter_->Next("look at", path));
    return files_.IsDirectory(path);
  }
  absl::StatusOr<std::int64_t> Size(const std::string& path) override {
    RETURN_IF_ERROR(counter_->Next("look at", path));
    return files_.Size(path);
  }
  absl::StatusOr<std::vector<std::string>> List(
      const std::string& path) override {
    RETURN_IF_ERROR(counter_->Next("list", path));
    return files_.List(path);
  }
  absl::Status CreateDirectories(const std::string& path) override {
    RETURN_IF_ERROR(counter_->Next("create the folder", path));
    return files_.CreateDirectories(path);
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    RETURN_IF_ERROR(counter_->Next("rename", from));
    return files_.Rename(from, to);
  }
  absl::Status Remove(const std::string& path) override {
    RETURN_IF_ERROR(counter_->Next("remove", path));
    return files_.Remove(path);
  }
  absl::Status Truncate(const std::string& path, std::int64_t size) override {
    RETURN_IF_ERROR(counter_->Next("set the size of", path));
    return files_.Truncate(path, size);
  }
  absl::Status SyncDirectory(const std::string& path) override {
    RETURN_IF_ERROR(counter_->Next("sync the folder", path));
    return files_.SyncDirectory(path);
  }

 private:
  FileSystem& files_;
  // Shared with the files, which may outlive this.
  std::shared_ptr<CallCounter> counter_ = std::make_shared<CallCounter>();
};

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_DATA_FAILING_FILE_SYSTEM_H_
