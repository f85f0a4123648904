#include "data/file_system.h"

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

absl::StatusCode CodeOf(int error_number) {
  switch (error_number) {
    case ENOENT:
      return absl::StatusCode::kNotFound;
    case EEXIST:
    case ENOTEMPTY:
      return absl::StatusCode::kAlreadyExists;
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::StatusCode::kPermissionDenied;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return absl::StatusCode::kResourceExhausted;
    case EISDIR:
    case ENOTDIR:
    case ENAMETOOLONG:
    case ELOOP:
    case EXDEV:
    case EBUSY:
    case ETXTBSY:
      return absl::StatusCode::kFailedPrecondition;
    case EIO:
    case ESTALE:
    case ENXIO:
    case ENODEV:
      return absl::StatusCode::kUnavailable;
    default:
      return absl::StatusCode::kInternal;
  }
}

const char* RemedyOf(int error_number) {
  switch (error_number) {
    case ENOENT:
      return "check the path";
    case EEXIST:
    case ENOTEMPTY:
      return "remove it, or choose another name";
    case EACCES:
    case EPERM:
      return "change its permissions, or choose a path that you may use";
    case EROFS:
      return "the file system is read-only: choose another path";
    case ENOSPC:
      return "the disk is full: free space on it, or choose a path on another";
    case EDQUOT:
      return "your quota is used up: remove files, or choose another disk";
    case EFBIG:
      return "the file would be larger than the file system or `ulimit -f` "
             "allows";
    case EMFILE:
    case ENFILE:
      return "raise the limit of open files (`ulimit -n`)";
    case ENOMEM:
      return "free memory, or raise the limit of mappings";
    case EISDIR:
      return "it is a folder: name a file";
    case ENOTDIR:
      return "a part of the path is a file: name a folder";
    case EXDEV:
      return "both names must be on one file system";
    case EIO:
    case ESTALE:
    case ENXIO:
    case ENODEV:
      return "the disk or the network file system failed: check it (dmesg), "
             "then start again";
    default:
      return "check the path and its file system";
  }
}

std::string WithoutTrailingSlashes(absl::string_view path) {
  while (path.size() > 1 && path.back() == '/') {
    path.remove_suffix(1);
  }
  return std::string(path);
}

}  // namespace

absl::Status ErrnoStatus(int error_number, absl::string_view what,
                         absl::string_view path) {
  return {CodeOf(error_number),
          absl::StrCat("cannot ", what, " ", path, ": ",
                       std::generic_category().message(error_number), "; ",
                       RemedyOf(error_number))};
}

std::string JoinPath(absl::string_view dir, absl::string_view name) {
  if (dir.empty()) {
    return std::string(name);
  }
  return absl::StrCat(dir, dir.back() == '/' ? "" : "/", name);
}

std::string ParentDirectory(absl::string_view path) {
  const std::string trimmed = WithoutTrailingSlashes(path);
  const std::size_t slash = trimmed.rfind('/');
  if (slash == std::string::npos) {
    return ".";
  }
  return WithoutTrailingSlashes(
      absl::string_view(trimmed).substr(0, std::max<std::size_t>(slash, 1)));
}

std::string BaseName(absl::string_view path) {
  const std::string trimmed = WithoutTrailingSlashes(path);
  return trimmed.substr(trimmed.rfind('/') + 1);
}

absl::StatusOr<std::string> FileSystem::ReadFile(const std::string& path) {
  ASSIGN_OR_RETURN(const auto file, OpenForRead(path));
  std::string contents(static_cast<std::size_t>(file->size()), '\0');
  RETURN_IF_ERROR(file->ReadAt(
      0, std::as_writable_bytes(std::span(contents.data(), contents.size()))));
  return contents;
}

absl::Status FileSystem::WriteFileAtomically(const std::string& path,
                                             absl::string_view contents) {
  const std::string temporary = absl::StrCat(path, ".tmp");
  const auto write = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const auto file,
                     OpenForWrite(temporary, WriteMode::kCreate));
    RETURN_IF_ERROR(file->WriteAt(0, AsBytes(contents)));
    RETURN_IF_ERROR(file->Sync());
    RETURN_IF_ERROR(file->Close());
    return Rename(temporary, path);
  };
  if (absl::Status status = write(); !status.ok()) {
    // What is left of it would only be in the way; the first error is the one
    // to tell.
    Remove(temporary).IgnoreError();
    return status;
  }
  return SyncDirectory(ParentDirectory(path));
}

absl::Status FileSystem::AppendToFile(const std::string& path,
                                      absl::string_view contents) {
  ASSIGN_OR_RETURN(const auto file, OpenForWrite(path, WriteMode::kAppend));
  RETURN_IF_ERROR(file->Append(AsBytes(contents)));
  return file->Close();
}

absl::Status FileSystem::RemoveTree(const std::string& path) {
  // The tree is walked with a list of our own: its depth is not ours to trust.
  std::vector<std::string> folders;
  std::vector<std::string> open = {path};
  while (!open.empty()) {
    const std::string at = std::move(open.back());
    open.pop_back();
    // A link is removed, not followed, so Remove comes first: it fails for a
    // folder that is not empty, and for nothing else that is removable.
    absl::Status removed = Remove(at);
    if (removed.ok() || absl::IsNotFound(removed)) {
      continue;
    }
    if (!absl::IsAlreadyExists(removed)) {
      return removed;
    }
    folders.push_back(at);
    ASSIGN_OR_RETURN(const std::vector<std::string> names, List(at));
    for (const std::string& name : names) {
      open.push_back(JoinPath(at, name));
    }
  }
  for (auto folder = folders.rbegin(); folder != folders.rend(); ++folder) {
    if (absl::Status removed = Remove(*folder);
        !removed.ok() && !absl::IsNotFound(removed)) {
      return removed;
    }
  }
  return absl::OkStatus();
}

}  // namespace rtpurbo
