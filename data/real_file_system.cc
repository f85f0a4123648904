// RealFileSystem(): the system calls behind data/file_system.h.

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "data/file_system.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

constexpr mode_t kFileMode = 0666;       // less the umask
constexpr mode_t kDirectoryMode = 0777;  // less the umask
// Linux moves at most 2^31 - 4096 bytes a call.
constexpr std::size_t kMaxTransfer = std::size_t{1} << 30U;

// Calls `call` again while a signal interrupts it.
template <typename Call>
auto Uninterrupted(Call call) {
  decltype(call()) result;
  do {
    result = call();
  } while (result < 0 && errno == EINTR);
  return result;
}

// The size of what `info` is of, which must be an ordinary file: a pipe or a
// device has no bytes at offsets.
absl::StatusOr<std::int64_t> FileSize(const struct stat& info,
                                      absl::string_view path) {
  if (S_ISDIR(info.st_mode)) {
    return ErrnoStatus(EISDIR, "read", path);
  }
  if (!S_ISREG(info.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "cannot read ", path,
        ": it is a pipe or a device; write it to a file, then name that"));
  }
  return info.st_size;
}

absl::Status PathError(absl::string_view what, absl::string_view path) {
  return ErrnoStatus(errno, what, path);
}

// A descriptor and the path that it was opened with, for messages.
class Descriptor {
 public:
  Descriptor(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~Descriptor() {
    if (fd_ >= 0) {
      close(fd_);
    }
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  static absl::StatusOr<std::unique_ptr<Descriptor>> Open(
      const std::string& path, int flags, absl::string_view what) {
    const int fd = Uninterrupted(
        [&] { return open(path.c_str(), flags | O_CLOEXEC, kFileMode); });
    if (fd < 0) {
      return PathError(what, path);
    }
    return std::make_unique<Descriptor>(fd, path);
  }

  int fd() const { return fd_; }
  const std::string& path() const { return path_; }
  absl::Status Error(absl::string_view what) const {
    return PathError(what, path_);
  }

  absl::StatusOr<std::int64_t> Size() const {
    struct stat info = {};
    if (fstat(fd_, &info) != 0) {
      return Error("look at");
    }
    return FileSize(info, path_);
  }

  absl::Status ReadAt(std::int64_t offset, std::span<std::byte> out) const {
    while (!out.empty()) {
      const ssize_t got = Uninterrupted([&] {
        return pread(fd_, out.data(), std::min(out.size(), kMaxTransfer),
                     offset);
      });
      if (got < 0) {
        return Error("read");
      }
      if (got == 0) {
        return absl::DataLossError(absl::StrCat(
            "cannot read ", path_, ": it ends at byte ", offset, ", ",
            out.size(), " bytes too early; copy or make the file again"));
      }
      offset += got;
      out = out.subspan(static_cast<std::size_t>(got));
    }
    return absl::OkStatus();
  }

  absl::Status WriteAt(std::int64_t offset, Bytes bytes) const {
    while (!bytes.empty()) {
      const ssize_t put = Uninterrupted([&] {
        return pwrite(fd_, bytes.data(), std::min(bytes.size(), kMaxTransfer),
                      offset);
      });
      if (put < 0) {
        return Error("write");
      }
      if (put == 0) {  // no progress and no reason given
        return ErrnoStatus(EIO, "write", path_);
      }
      offset += put;
      bytes = bytes.subspan(static_cast<std::size_t>(put));
    }
    return absl::OkStatus();
  }

  absl::Status Close() {
    // The descriptor is gone even if close() says it was interrupted.
    if (close(std::exchange(fd_, -1)) != 0 && errno != EINTR) {
      return Error("close");
    }
    return absl::OkStatus();
  }

 private:
  int fd_;
  std::string path_;
};

class RealReadableFile : public ReadableFile {
 public:
  RealReadableFile(std::unique_ptr<Descriptor> file, std::int64_t size)
      : file_(std::move(file)), size_(size) {}
  std::int64_t size() const override { return size_; }
  absl::Status ReadAt(std::int64_t offset,
                      std::span<std::byte> out) const override {
    return file_->ReadAt(offset, out);
  }

 private:
  std::unique_ptr<Descriptor> file_;
  std::int64_t size_;
};

class RealMappedFile : public MappedFile {
 public:
  explicit RealMappedFile(Bytes bytes) : bytes_(bytes) {}
  ~RealMappedFile() override {
    if (!bytes_.empty()) {
      munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
    }
  }
  RealMappedFile(const RealMappedFile&) = delete;
  RealMappedFile& operator=(const RealMappedFile&) = delete;
  Bytes bytes() const override { return bytes_; }
  void Forget() const override {
    if (!bytes_.empty()) {
      madvise(const_cast<std::byte*>(bytes_.data()), bytes_.size(),
              MADV_DONTNEED);
    }
  }

 private:
  Bytes bytes_;
};

class RealWritableFile : public WritableFile {
 public:
  explicit RealWritableFile(std::unique_ptr<Descriptor> file)
      : file_(std::move(file)) {}

  absl::Status WriteAt(std::int64_t offset, Bytes bytes) override {
    return file_->WriteAt(offset, bytes);
  }
  absl::Status Append(Bytes bytes) override {
    ASSIGN_OR_RETURN(const std::int64_t size, file_->Size());
    return file_->WriteAt(size, bytes);
  }
  absl::Status ReadAt(std::int64_t offset,
                      std::span<std::byte> out) const override {
    return file_->ReadAt(offset, out);
  }
  absl::StatusOr<std::int64_t> Size() const override { return file_->Size(); }
  absl::Status Truncate(std::int64_t size) override {
    if (Uninterrupted([&] { return ftruncate(file_->fd(), size); }) != 0) {
      return file_->Error("set the size of");
    }
    return absl::OkStatus();
  }
  absl::Status Sync() override {
    if (Uninterrupted([&] { return fsync(file_->fd()); }) != 0) {
      return file_->Error("sync");
    }
    return absl::OkStatus();
  }
  absl::Status Close() override { return file_->Close(); }

 private:
  std::unique_ptr<Descriptor> file_;
};

class RealFiles : public FileSystem {
 public:
  absl::StatusOr<std::unique_ptr<ReadableFile>> OpenForRead(
      const std::string& path) override {
    // O_NONBLOCK: a pipe is refused, not waited for.
    ASSIGN_OR_RETURN(auto file,
                     Descriptor::Open(path, O_RDONLY | O_NONBLOCK, "open"));
    ASSIGN_OR_RETURN(const std::int64_t size, file->Size());
    return std::make_unique<RealReadableFile>(std::move(file), size);
  }

  absl::StatusOr<std::unique_ptr<MappedFile>> Map(
      const std::string& path) override {
    ASSIGN_OR_RETURN(const auto file,
                     Descriptor::Open(path, O_RDONLY | O_NONBLOCK, "open"));
    ASSIGN_OR_RETURN(const std::int64_t size, file->Size());
    if (size == 0) {  // which mmap refuses
      return std::make_unique<RealMappedFile>(Bytes());
    }
    void* const address = mmap(nullptr, static_cast<std::size_t>(size),
                               PROT_READ, MAP_SHARED, file->fd(), 0);
    if (address == MAP_FAILED) {
      return file->Error("map");
    }
    return std::make_unique<RealMappedFile>(
        Bytes(static_cast<const std::byte*>(address),
              static_cast<std::size_t>(size)));
  }

  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForWrite(
      const std::string& path, WriteMode mode) override {
    int flags = O_RDWR;
    if (mode == WriteMode::kCreate) {
      flags |= O_CREAT | O_TRUNC;
    } else if (mode == WriteMode::kNew) {
      flags |= O_CREAT | O_EXCL;
    } else if (mode == WriteMode::kAppend) {
      flags |= O_CREAT;
    }
    ASSIGN_OR_RETURN(auto file, Descriptor::Open(path, flags,
                                                 mode == WriteMode::kCreate ||
                                                         mode == WriteMode::kNew
                                                     ? "create"
                                                     : "open"));
    return std::make_unique<RealWritableFile>(std::move(file));
  }

  absl::StatusOr<bool> Exists(const std::string& path) override {
    struct stat info = {};
    if (stat(path.c_str(), &info) == 0) {
      return true;
    }
    if (errno == ENOENT || errno == ENOTDIR) {
      return false;
    }
    return PathError("look at", path);
  }

  absl::StatusOr<bool> IsDirectory(const std::string& path) override {
    struct stat info = {};
    if (stat(path.c_str(), &info) == 0) {
      return S_ISDIR(info.st_mode);
    }
    if (errno == ENOENT || errno == ENOTDIR) {
      return false;
    }
    return PathError("look at", path);
  }

  absl::StatusOr<std::int64_t> Size(const std::string& path) override {
    struct stat info = {};
    if (stat(path.c_str(), &info) != 0) {
      return PathError("look at", path);
    }
    return FileSize(info, path);
  }

  absl::StatusOr<std::vector<std::string>> List(
      const std::string& path) override {
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(path.c_str()),
                                                  &closedir);
    if (dir == nullptr) {
      return PathError("list", path);
    }
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = readdir(dir.get())) {
      if (std::strcmp(entry->d_name, ".") != 0 &&
          std::strcmp(entry->d_name, "..") != 0) {
        names.emplace_back(entry->d_name);
      }
      errno = 0;
    }
    if (errno != 0) {
      return PathError("list", path);
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  absl::Status CreateDirectories(const std::string& path) override {
    for (std::size_t end = 0; end < path.size();) {
      end = std::min(path.find('/', end + 1), path.size());
      const std::string prefix = path.substr(0, end);
      if (mkdir(prefix.c_str(), kDirectoryMode) == 0) {
        continue;
      }
      const int error_number = errno;
      ASSIGN_OR_RETURN(const bool there, IsDirectory(prefix));
      if (!there) {
        return ErrnoStatus(error_number == EEXIST ? ENOTDIR : error_number,
                           "create the folder", prefix);
      }
    }
    return absl::OkStatus();
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    if (rename(from.c_str(), to.c_str()) != 0) {
      return PathError(absl::StrCat("rename ", from, " to"), to);
    }
    return absl::OkStatus();
  }

  absl::Status Remove(const std::string& path) override {
    if (unlink(path.c_str()) == 0) {
      return absl::OkStatus();
    }
    if (errno == EISDIR && rmdir(path.c_str()) == 0) {
      return absl::OkStatus();
    }
    return PathError("remove", path);
  }

  absl::Status Truncate(const std::string& path, std::int64_t size) override {
    if (Uninterrupted([&] { return truncate(path.c_str(), size); }) != 0) {
      return PathError("set the size of", path);
    }
    return absl::OkStatus();
  }

  absl::Status SyncDirectory(const std::string& path) override {
    ASSIGN_OR_RETURN(
        const auto file,
        Descriptor::Open(path, O_RDONLY | O_DIRECTORY, "open the folder"));
    // EINVAL: this file system has nothing to sync in a folder.
    if (Uninterrupted([&] { return fsync(file->fd()); }) != 0 &&
        errno != EINVAL) {
      return file->Error("sync the folder");
    }
    return absl::OkStatus();
  }
};

}  // namespace

FileSystem& RealFileSystem() {
  static FileSystem& files = *new RealFiles;
  return files;
}

}  // namespace rtpurbo
