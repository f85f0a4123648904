#include "data/run_lock.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "data/run_claim.h"
#include "kernels/core/check.h"
#include "kernels/core/log.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

using internal::ClaimPath;
using internal::NewestIncarnation;
using std::chrono::milliseconds;

constexpr milliseconds kLongestLook{200};

// Of an incarnation that is no longer the newest, or whose claim is gone.
absl::Status TakenOver(FileSystem& files, const std::string& run_dir,
                       std::int64_t incarnation, std::int64_t newest) {
  const std::string rest =
      absl::StrCat("; this process is incarnation ", incarnation,
                   " and writes nothing more to ", run_dir);
  if (newest <= incarnation) {
    return absl::UnavailableError(
        absl::StrCat("the claim ", ClaimPath(run_dir, incarnation),
                     " was removed or replaced", rest));
  }
  const auto text = files.ReadFile(ClaimPath(run_dir, newest));
  return absl::UnavailableError(absl::StrCat(
      "incarnation ", newest, " took over this run (",
      internal::DescribeClaim(
          newest, text.ok() ? internal::ParseClaim(*text) : std::nullopt),
      ")", rest));
}

}  // namespace

RunLock::RunLock(FileSystem& files, std::string run_dir, RunLockOptions options,
                 std::int64_t incarnation)
    : files_(files),
      run_dir_(std::move(run_dir)),
      options_(std::move(options)),
      incarnation_(incarnation),
      path_(ClaimPath(run_dir_, incarnation)),
      first_line_(internal::ClaimLine(options_.self, incarnation)) {}

RunLock::~RunLock() {
  Release().IgnoreError();
}

absl::StatusOr<std::unique_ptr<RunLock>> RunLock::Acquire(
    FileSystem& files, const std::string& run_dir,
    const RunLockOptions& options) {
  CHECK(options.gone_after >= 4 * options.beat_every)
      << options.gone_after.count() << " ms, beats every "
      << options.beat_every.count();
  RETURN_IF_ERROR(files.CreateDirectories(run_dir));
  for (;;) {
    ASSIGN_OR_RETURN(const std::int64_t newest,
                     NewestIncarnation(files, run_dir));
    if (newest > 0) {
      ASSIGN_OR_RETURN(const bool is_free,
                       internal::WaitUntilFree(
                           files, run_dir, newest, options.self,
                           std::min(options.beat_every / 2, kLongestLook),
                           options.gone_after));
      if (!is_free) {
        continue;
      }
    }
    std::unique_ptr<RunLock> lock(
        new RunLock(files, run_dir, options, newest + 1));
    const absl::Status claimed = lock->Claim();
    if (claimed.ok()) {
      return lock;
    }
    if (!absl::IsAlreadyExists(claimed)) {
      return claimed;
    }
  }
}

absl::Status RunLock::Claim() {
  ASSIGN_OR_RETURN(const auto file,
                   files_.OpenForWrite(path_, WriteMode::kNew));
  const auto complete = [&]() -> absl::Status {
    RETURN_IF_ERROR(WriteClaim(*file));
    RETURN_IF_ERROR(files_.SyncDirectory(run_dir_));
    ASSIGN_OR_RETURN(const std::int64_t newest,
                     NewestIncarnation(files_, run_dir_));
    if (newest > incarnation_) {
      return absl::AlreadyExistsError(ClaimPath(run_dir_, newest));
    }
    return RemoveOlderClaims();
  };
  if (absl::Status status = complete(); !status.ok()) {
    Withdraw();
    return status;
  }
  held_ = true;
  beater_ = std::thread([this] { KeepBeating(); });
  return absl::OkStatus();
}

absl::Status RunLock::WriteClaim(WritableFile& file) {
  RETURN_IF_ERROR(
      file.WriteAt(0, AsBytes(first_line_ + internal::BeatLine(0))));
  RETURN_IF_ERROR(file.Sync());
  return file.Close();
}

void RunLock::Withdraw() {
  // Not removed: its number would be given again. If this fails, too, it is a
  // damaged claim, or one of a process that is gone.
  const auto mark = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const auto file,
                     files_.OpenForWrite(path_, WriteMode::kExisting));
    RETURN_IF_ERROR(file->Truncate(0));
    RETURN_IF_ERROR(file->WriteAt(0, AsBytes(internal::ReleasedLine())));
    return file->Close();
  };
  mark().IgnoreError();
}

absl::Status RunLock::RemoveOlderClaims() {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, files_.List(run_dir_));
  for (const std::string& name : names) {
    const std::int64_t incarnation = internal::IncarnationOf(name);
    if (incarnation > 0 && incarnation < incarnation_) {
      absl::Status removed = files_.Remove(JoinPath(run_dir_, name));
      if (!removed.ok() && !absl::IsNotFound(removed)) {
        return removed;
      }
    }
  }
  return absl::OkStatus();
}

absl::Status RunLock::WriteLastLine(const std::string& line, bool sync) {
  ASSIGN_OR_RETURN(const auto file,
                   files_.OpenForWrite(path_, WriteMode::kExisting));
  RETURN_IF_ERROR(file->WriteAt(static_cast<std::int64_t>(first_line_.size()),
                                AsBytes(line)));
  if (sync) {
    RETURN_IF_ERROR(file->Sync());
  }
  return file->Close();
}

absl::Status RunLock::Beat() {
  return WriteLastLine(internal::BeatLine(++beats_), /*sync=*/false);
}

void RunLock::KeepBeating() {
  std::unique_lock<std::mutex> lock(mutex_);
  bool is_well = true;
  while (!changed_.wait_for(lock, options_.beat_every,
                            [this] { return !held_; })) {
    const absl::Status status = Beat();
    if (is_well && !status.ok()) {
      Log(LogLevel::kWarning, "lock",
          absl::StrCat("cannot beat: ", status.message()));
    }
    is_well = status.ok();
  }
}

absl::Status RunLock::CheckHeld() {
  const std::lock_guard<std::mutex> lock(mutex_);
  CHECK(held_) << "RunLock::CheckHeld() after Release()";
  // The beat first: who judges from now on sees it.
  absl::Status beat = Beat();
  if (!beat.ok() && !absl::IsNotFound(beat)) {
    return beat;
  }
  RETURN_IF_ERROR(CheckIncarnation(files_, run_dir_, incarnation_));
  ASSIGN_OR_RETURN(const std::string text, files_.ReadFile(path_));
  return absl::StartsWith(text, first_line_)
             ? absl::OkStatus()
             : TakenOver(files_, run_dir_, incarnation_, incarnation_);
}

absl::Status RunLock::Release() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!held_) {
      return absl::OkStatus();
    }
    held_ = false;
    changed_.notify_all();
  }
  beater_.join();
  const absl::Status status =
      WriteLastLine(internal::ReleasedLine(), /*sync=*/true);
  return absl::IsNotFound(status) ? absl::OkStatus() : status;
}

absl::Status CheckIncarnation(FileSystem& files, const std::string& run_dir,
                              std::int64_t incarnation) {
  ASSIGN_OR_RETURN(const std::int64_t newest,
                   NewestIncarnation(files, run_dir));
  // Its own file is looked for by name: the list of a folder may be an old one
  // on a network file system, where the taker removes the file.
  const absl::StatusOr<std::string> own =
      files.ReadFile(ClaimPath(run_dir, incarnation));
  if (newest > incarnation || absl::IsNotFound(own.status())) {
    return TakenOver(files, run_dir, incarnation, newest);
  }
  return own.status();
}

}  // namespace rtpurbo
