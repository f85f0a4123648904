#include "launch/run_session.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "dist/agree.h"
#include "kernels/core/log.h"
#include "kernels/core/parallel.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

// How long after the loss of a rank this one may take to end. What it does
// then is for nothing.
constexpr std::chrono::seconds kKillAfter{5};

std::chrono::milliseconds Milliseconds(double seconds) {
  return std::chrono::milliseconds(std::llround(seconds * 1000));
}

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
  const absl::Status opened = session->Begin(run, flags);
  if (!opened.ok()) {
    return session->Close(opened);
  }
  return session;
}

absl::Status RunSession::Begin(const configs::Run& run, const RunFlags& flags) {
  RETURN_IF_ERROR(Watch(run.watch()));
  RETURN_IF_ERROR(Lock(flags.out));
  log_ = std::make_unique<RunLog>(*files_, flags.out, ranks_->rank());
  Log(LogLevel::kDebug, "run", "this rank starts",
      {{"of", ranks_->size()},
       {"on_its_host", ranks_->local_size()},
       {"threads", NumThreads()},
       {"incarnation", control_.incarnation}});
  control_.profile_steps = flags.profile;
  control_.may_go_on = [this] { return MayGoOn(); };
  ASSIGN_OR_RETURN(conversion_,
                   Conversion::Open(device_->ctx(), *files_, ranks_->world(),
                                    run, flags.out, control_));
  return absl::OkStatus();
}

absl::Status RunSession::Watch(const configs::Watch& watch) {
  if (ranks_->size() == 1 || watch.silent_seconds() == 0) {
    return absl::OkStatus();
  }
  WatchdogOptions options;
  options.rank = ranks_->rank();
  options.size = ranks_->size();
  if (ranks_->local_size() == ranks_->size()) {
    options.host = "localhost";
  }
  options.limit = Milliseconds(watch.silent_seconds());
  options.interval = options.limit / 10;
  options.stuck_after = Milliseconds(watch.stuck_seconds());
  options.kill_after = kKillAfter;
  options.stop = &stop_;
  auto opened = Watchdog::Open(options);
  absl::StatusOr<std::string> address = "";
  if (opened.ok()) {
    address = (*opened)->address();
  } else {
    address = opened.status();
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> addresses,
                   GatherResults(device_->ctx(), ranks_->world(), address));
  RETURN_IF_ERROR((*opened)->Start(
      addresses, [this](const absl::Status& lost) { ranks_->GiveUp(lost); }));
  watchdog_ = *std::move(opened);
  ranks_->world().set_watchdog(watchdog_.get());
  return absl::OkStatus();
}

absl::Status RunSession::Lock(const std::string& folder) {
  const auto acquire = [&]() -> absl::StatusOr<std::int64_t> {
    ASSIGN_OR_RETURN(lock_, RunLock::Acquire(RealFileSystem(), folder));
    return lock_->incarnation();
  };
  ASSIGN_OR_RETURN(
      control_.incarnation,
      NumberFromFirstRank(device_->ctx(), ranks_->world(), acquire));
  files_ = std::make_unique<FencedFileSystem>(
      RealFileSystem(),
      [lock = lock_.get(), folder, incarnation = control_.incarnation] {
        return lock != nullptr
                   ? lock->CheckHeld()
                   : CheckIncarnation(RealFileSystem(), folder, incarnation);
      });
  return absl::OkStatus();
}

bool RunSession::MayGoOn() {
  if (watchdog_ != nullptr) {
    watchdog_->Beat();
  }
  if (stop_.is_set() && !has_said_stop_) {
    has_said_stop_ = true;
    Log(LogLevel::kInfo, "signal",
        "asked to stop: does so where nothing is lost");
  }
  return !stop_.is_set();
}

// The lock goes when all ranks have come, and no rank leaves before.
absl::Status RunSession::Leave() {
  RETURN_IF_ERROR(ranks_->world().Barrier());
  RETURN_IF_ERROR(OnFirstRank(device_->ctx(), ranks_->world(),
                              [this] { return lock_->Release(); }));
  if (watchdog_ != nullptr) {
    watchdog_->Stop();
  }
  return ranks_->Close();
}

absl::Status RunSession::Close(const absl::Status& work) {
  absl::Status status = work;
  if (work.ok() || absl::IsCancelled(work)) {
    status = Leave();
    if (status.ok()) {
      return work;
    }
  }
  if (watchdog_ == nullptr) {
    return status;
  }
  watchdog_->Fail();
  const absl::Status lost = watchdog_->status();
  return lost.ok() || absl::StrContains(status.message(), lost.message())
             ? status
             : absl::Status(status.code(), absl::StrCat(status.message(), "; ",
                                                        lost.message()));
}

absl::Status InRunSession(
    const RunFlags& flags,
    const std::function<absl::Status(RunSession&)>& work) {
  ASSIGN_OR_RETURN(const auto session, RunSession::Open(flags));
  return session->Close(work(*session));
}

}  // namespace rtpurbo
