#include "dist/watchdog.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "dist/lost_ranks.h"
#include "dist/peer_net.h"
#include "dist/quiet_thread.h"
#include "kernels/core/check.h"
#include "kernels/core/log.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

using internal::Between;
using internal::Loss;
using internal::LossReason;
using internal::LostRanks;
using internal::MessageType;
using internal::PeerEvent;
using internal::PeerMessage;
using internal::PeerNet;
using internal::SteadyTime;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr SteadyTime kNever = SteadyTime::max();
// Each rank that learns of a loss tells all others, so that it also reaches
// those whom the first cannot. What comes in larger numbers everybody sees.
constexpr std::size_t kMostRelayed = 64;
constexpr int kExitCode = 6;  // of Unavailable

// What is known of another rank.
struct Peer {
  SteadyTime heard;
  bool left = false;            // in order
  bool reported = false;        // and may end
  bool waits_too_long = false;  // its main thread, for other ranks
};

}  // namespace

// The thread and what it knows. All but what mutex_ guards belongs to Start()
// until the thread runs, and to the thread from then on.
class Watchdog::Loop {
 public:
  Loop(const WatchdogOptions& options, std::unique_ptr<PeerNet> net)
      : options_(options),
        tick_(std::clamp(options.interval / 10, milliseconds(5),
                         milliseconds(100))),
        net_(std::move(net)),
        peers_(static_cast<std::size_t>(options.size)) {}

  const std::string& address() const { return net_->address(); }
  absl::Status Start(const std::vector<std::string>& addresses, Report report);
  void Mark(bool waits, milliseconds allowance);
  absl::Status status() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return status_;
  }
  void Stop(bool failed);

 private:
  // Of the main thread.
  struct Progress {
    SteadyTime since;
    SteadyTime deadline;
    bool waits = false;
  };

  Peer& At(int rank) { return peers_[static_cast<std::size_t>(rank)]; }
  bool IsRank(int rank) const { return rank >= 0 && rank < options_.size; }
  Progress progress() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return progress_;
  }

  void Run();
  bool IsFinished() const;
  void Take(const PeerEvent& event);
  // False if a peer of ours would not say this.
  bool TakeMessage(int rank, const PeerMessage& message);
  void NoteAllJoined();
  void ForgiveSilence(Clock::duration asleep);
  void Look();
  void BeginToLeave();
  void SendBeats();
  void JudgeArrivals();
  void JudgePeers();
  void JudgeSelf();
  void Accuse(int rank, const Loss& loss);
  void TellCaller();
  void EndIfLate();

  const WatchdogOptions options_;
  const milliseconds tick_;
  std::unique_ptr<PeerNet> net_;
  std::vector<Peer> peers_;  // by rank; this one's is not used
  LostRanks lost_{0, {}};
  bool is_one_unsaid_ = false;
  Report report_;
  SteadyTime now_;
  SteadyTime next_look_;
  SteadyTime next_beat_;
  SteadyTime start_deadline_;
  SteadyTime report_at_ = kNever;
  SteadyTime reported_at_ = kNever;
  SteadyTime leave_deadline_ = kNever;
  bool all_joined_ = false;
  std::thread thread_;
  std::thread reporter_;
  std::atomic<bool> is_reporting_ = false;

  std::mutex mutex_;
  std::condition_variable changed_;
  Progress progress_;
  bool may_start_ = false;
  bool stop_ = false;
  bool failed_ = false;
  absl::Status status_;
};

absl::Status Watchdog::Loop::Start(const std::vector<std::string>& addresses,
                                   Report report) {
  CHECK(report_ == nullptr) << "Watchdog::Start() was called twice";
  report_ = std::move(report);
  start_deadline_ = Clock::now() + options_.start_timeout;
  RETURN_IF_ERROR(net_->Connect(addresses, start_deadline_));
  lost_ = LostRanks(options_.rank, net_->Hosts());
  thread_ = internal::ThreadWithoutSignals([this] { Run(); });
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return may_start_ || !status_.ok(); });
  return may_start_ ? absl::OkStatus() : status_;
}

void Watchdog::Loop::Mark(bool waits, milliseconds allowance) {
  const SteadyTime now = Clock::now();
  const std::lock_guard<std::mutex> lock(mutex_);
  progress_ = {now, now + std::max(allowance, options_.stuck_after), waits};
}

void Watchdog::Loop::Stop(bool failed) {
  if (!thread_.joinable()) {
    return;
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
    failed_ = failed;
  }
  net_->Wake();
  thread_.join();
  if (reporter_.joinable()) {
    reporter_.join();
  }
}

void Watchdog::Loop::Run() {
  now_ = next_look_ = next_beat_ = Clock::now();
  while (!IsFinished()) {
    const SteadyTime before = now_;
    const std::vector<PeerEvent> events = net_->Wait(tick_);
    now_ = Clock::now();
    for (const PeerEvent& event : events) {
      Take(event);
    }
    // This process itself was stopped: what it did not hear says nothing.
    if (now_ - before > options_.limit / 2) {
      ForgiveSilence(now_ - before);
    }
    if (now_ >= next_look_) {
      next_look_ = now_ + tick_;
      Look();
    }
  }
}

bool Watchdog::Loop::IsFinished() const {
  return leave_deadline_ != kNever && !is_reporting_ &&
         (!net_->any_connected() || now_ >= leave_deadline_);
}

void Watchdog::Loop::Take(const PeerEvent& event) {
  Peer& peer = At(event.rank);
  if (event.kind == PeerEvent::Kind::kMessage) {
    peer.heard = now_;
    if (TakeMessage(event.rank, event.message)) {
      return;
    }
    net_->Close(event.rank);
  }
  if (!peer.reported) {
    Accuse(event.rank,
           {event.kind == PeerEvent::Kind::kClosed ? LossReason::kDied
                                                   : LossReason::kBroken,
            Between(peer.heard, now_), options_.rank});
  }
}

bool Watchdog::Loop::TakeMessage(int rank, const PeerMessage& message) {
  Peer& peer = At(rank);
  switch (message.type) {
    case MessageType::kHello:
      return false;
    case MessageType::kBeat:
      peer.waits_too_long = (message.detail & internal::kWaits) != 0;
      if ((message.detail & internal::kAskedToStop) != 0 &&
          options_.stop != nullptr) {
        options_.stop->Set();
      }
      return true;
    case MessageType::kAccuse:
      if (!IsRank(message.rank) || !IsRank(message.by) || message.detail < 1 ||
          message.detail > internal::kLastLossReason) {
        return false;
      }
      Accuse(message.rank,
             {static_cast<LossReason>(message.detail),
              milliseconds(message.number & 0xffffffffU), message.by});
      return true;
    case MessageType::kReported:
      peer.reported = true;
      return true;
    case MessageType::kLeave:
      peer.left = true;
      net_->Close(rank);
      return true;
  }
  return false;
}

void Watchdog::Loop::NoteAllJoined() {
  all_joined_ = true;
  ForgiveSilence({});
  Mark(false, {});
  const std::lock_guard<std::mutex> lock(mutex_);
  may_start_ = true;
  changed_.notify_all();
}

void Watchdog::Loop::ForgiveSilence(Clock::duration asleep) {
  for (Peer& peer : peers_) {
    peer.heard = now_;
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  progress_.deadline += asleep;
}

void Watchdog::Loop::Look() {
  BeginToLeave();
  const bool leaves = leave_deadline_ != kNever;
  net_->Flush(/*then_close=*/leaves);
  EndIfLate();
  if (leaves) {
    return;
  }
  if (!all_joined_ && net_->all_joined() && lost_.empty()) {
    NoteAllJoined();
  }
  if (now_ >= next_beat_) {
    next_beat_ = now_ + options_.interval;
    SendBeats();
  }
  if (all_joined_) {
    JudgePeers();
    JudgeSelf();
  } else if (now_ >= start_deadline_) {
    JudgeArrivals();
  }
  if (now_ >= report_at_) {
    TellCaller();
  }
}

void Watchdog::Loop::BeginToLeave() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (stop_ && leave_deadline_ == kNever) {
    leave_deadline_ = now_ + 2 * options_.interval;
    // Who ends because another is lost is not to blame.
    if (failed_ && lost_.empty()) {
      net_->Broadcast({.type = MessageType::kAccuse,
                       .detail = static_cast<std::uint8_t>(LossReason::kFailed),
                       .rank = options_.rank,
                       .by = options_.rank},
                      /*must_arrive=*/true);
    }
    net_->Broadcast({.type = MessageType::kLeave}, /*must_arrive=*/true);
  }
}

void Watchdog::Loop::SendBeats() {
  const Progress mine = progress();
  PeerMessage beat;
  const bool asked = options_.stop != nullptr && options_.stop->is_set();
  beat.detail = static_cast<std::uint8_t>(
      (mine.waits && now_ > mine.deadline ? internal::kWaits : 0) +
      (asked ? internal::kAskedToStop : 0));
  // A beat that cannot be sent now is worth nothing later.
  net_->Broadcast(beat, /*must_arrive=*/false);
}

void Watchdog::Loop::JudgeArrivals() {
  for (int rank = 0; rank < options_.size; ++rank) {
    if (rank != options_.rank && !net_->joined(rank)) {
      Accuse(rank,
             {LossReason::kAbsent, options_.start_timeout, options_.rank});
    }
  }
}

void Watchdog::Loop::JudgePeers() {
  for (int rank = 0; rank < options_.size; ++rank) {
    const Peer& peer = At(rank);
    if (net_->connected(rank) && !peer.reported &&
        now_ - peer.heard > options_.limit) {
      Accuse(rank,
             {LossReason::kSilent, Between(peer.heard, now_), options_.rank});
    }
  }
}

void Watchdog::Loop::JudgeSelf() {
  const Progress mine = progress();
  if (now_ <= mine.deadline) {
    return;
  }
  bool all_wait = mine.waits;
  for (int rank = 0; rank < options_.size; ++rank) {
    all_wait = all_wait && (!net_->connected(rank) || At(rank).waits_too_long);
  }
  if (!mine.waits || all_wait) {
    Accuse(options_.rank,
           {mine.waits ? LossReason::kAllWait : LossReason::kStuck,
            Between(mine.since, now_), options_.rank});
  }
}

void Watchdog::Loop::Accuse(int rank, const Loss& loss) {
  if (leave_deadline_ != kNever || reported_at_ != kNever || At(rank).left ||
      !lost_.Add(rank, loss)) {
    return;
  }
  // One who failed may have failed with this rank, which will say so itself.
  if (loss.reason == LossReason::kFailed) {
    is_one_unsaid_ = true;
  } else {
    Log(LogLevel::kError, "watchdog", lost_.Describe(rank));
  }
  if (lost_.size() <= kMostRelayed) {
    net_->Broadcast({.type = MessageType::kAccuse,
                     .detail = static_cast<std::uint8_t>(loss.reason),
                     .rank = rank,
                     .by = loss.seen_by,
                     .number = static_cast<std::uint64_t>(loss.since.count())},
                    /*must_arrive=*/true);
  }
  // Ranks that fall silent together are found up to two beats apart.
  const milliseconds wait = loss.reason == LossReason::kSilent
                                ? 2 * options_.interval
                                : options_.interval / 4;
  report_at_ = std::min(report_at_, now_ + wait);
}

void Watchdog::Loop::TellCaller() {
  reported_at_ = now_;
  report_at_ = kNever;
  // Before the caller can end the process: its connections close with it.
  net_->Broadcast({.type = MessageType::kReported}, /*must_arrive=*/true);
  const absl::Status status = lost_.ToStatus();
  if (is_one_unsaid_) {
    Log(LogLevel::kError, "watchdog", status.message());
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    status_ = status;
    changed_.notify_all();
  }
  if (all_joined_) {  // else Start() returns it
    // On a thread of its own: it may block, and kill_after must run on.
    is_reporting_ = true;
    reporter_ = internal::ThreadWithoutSignals([this, status] {
      report_(status);
      is_reporting_ = false;
    });
  }
}

void Watchdog::Loop::EndIfLate() {
  if (options_.kill_after > milliseconds(0) && all_joined_ &&
      reported_at_ != kNever && now_ - reported_at_ > options_.kill_after) {
    Log(LogLevel::kError, "watchdog", "ends this process, which did not end");
    _exit(kExitCode);
  }
}

Watchdog::Watchdog(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}

Watchdog::~Watchdog() {
  Stop();
}

absl::StatusOr<std::unique_ptr<Watchdog>> Watchdog::Open(
    const WatchdogOptions& options) {
  CHECK(options.rank >= 0 && options.rank < options.size)
      << options.rank << " of " << options.size;
  RETURN_IF_ERROR(CheckOptions(options));
  ASSIGN_OR_RETURN(auto net,
                   PeerNet::Listen(options.rank, options.size, options.host));
  return std::unique_ptr<Watchdog>(
      new Watchdog(std::make_unique<Loop>(options, std::move(net))));
}

const std::string& Watchdog::address() const {
  return loop_->address();
}

absl::Status Watchdog::Start(const std::vector<std::string>& addresses,
                             Report report) {
  return loop_->Start(addresses, std::move(report));
}

void Watchdog::Beat(milliseconds allowance) {
  loop_->Mark(false, allowance);
}

void Watchdog::BeginWait(milliseconds allowance) {
  loop_->Mark(true, allowance);
}

absl::Status Watchdog::status() const {
  return loop_->status();
}

void Watchdog::Stop() {
  loop_->Stop(/*failed=*/false);
}

void Watchdog::Fail() {
  loop_->Stop(/*failed=*/true);
}

}  // namespace rtpurbo
