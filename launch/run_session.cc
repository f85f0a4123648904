#include "launch/run_session.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "dist/agree.h"
#include "kernels/core/check.h"
#include "kernels/core/parallel.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

void ShareProcessors(const configs::Run& run, const Bootstrap& ranks) {
  if (run.threads() > 0) {
    SetNumThreads(static_cast<int>(run.threads()));
  } else if (std::getenv("RTPURBO_THREADS") == nullptr) {
    const int share = static_cast<int>(std::thread::hardware_concurrency()) /
                      ranks.local_size();
    SetNumThreads(std::clamp(share, 1, NumThreads()));
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<RunSession>> RunSession::Open(
    const RunFlags& flags) {
  std::unique_ptr<RunSession> session(new RunSession());
  ASSIGN_OR_RETURN(session->device_, Device::Open(DeviceType::kCpu));
  ASSIGN_OR_RETURN(session->ranks_, Bootstrap::Open());
  ASSIGN_OR_RETURN(const configs::Run run, flags.Load(session->ranks_->size()));
  ShareProcessors(run, *session->ranks_);
  RETURN_IF_ERROR(session->Lock(flags.out));
  ASSIGN_OR_RETURN(session->conversion_,
                   Conversion::Open(session->device_->ctx(), *session->files_,
                                    session->ranks_->world(), run, flags.out,
                                    session->control_));
  return session;
}

absl::Status RunSession::Lock(const std::string& folder) {
  const auto acquire = [&]() -> absl::StatusOr<std::string> {
    ASSIGN_OR_RETURN(lock_, RunLock::Acquire(RealFileSystem(), folder));
    return absl::StrCat(lock_->incarnation());
  };
  ASSIGN_OR_RETURN(const std::string number,
                   FromFirstRank(device_->ctx(), ranks_->world(), acquire));
  CHECK(absl::SimpleAtoi(number, &control_.incarnation)) << number;
  files_ = std::make_unique<FencedFileSystem>(
      RealFileSystem(),
      [lock = lock_.get(), folder, incarnation = control_.incarnation] {
        return lock != nullptr
                   ? lock->CheckHeld()
                   : CheckIncarnation(RealFileSystem(), folder, incarnation);
      });
  return absl::OkStatus();
}

absl::Status RunSession::Close() {
  RETURN_IF_ERROR(OnFirstRank(device_->ctx(), ranks_->world(),
                              [this] { return lock_->Release(); }));
  return ranks_->Close();
}

absl::Status InRunSession(
    const RunFlags& flags,
    const std::function<absl::Status(RunSession&)>& work) {
  ASSIGN_OR_RETURN(const auto session, RunSession::Open(flags));
  RETURN_IF_ERROR(work(*session));
  return session->Close();
}

}  // namespace rtpurbo
