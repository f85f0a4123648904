#include "dist/mpi_communicator.h"

#include <mpi.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <list>
#include <mutex>
#include <numeric>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "dist/patience.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

using Clock = std::chrono::steady_clock;
using internal::Patience;

constexpr std::chrono::seconds kDrainTime(2);
// How long to wait at full speed: for ranks that may be late, and for messages
// of ranks that have come.
constexpr std::chrono::microseconds kSpinForCall(200);
constexpr std::chrono::milliseconds kSpinForPart(50);

// Messages of all groups differ by their tag alone: all use MPI_COMM_WORLD,
// because MPI makes no communicator of several ranks without blocking.
constexpr int kNumTags = 3;
enum class Tag : std::uint8_t { kMeet, kPart, kNotice };
enum class Way : std::uint8_t { kSend, kReceive };

// What all groups of this process share. `mutex` is held around every call of
// MPI.
struct Process {
  std::mutex mutex;
  absl::Status status;  // not OK: MPI must not be entered
  std::int64_t next_group = 0;
  std::int64_t max_group = 0;
  // Messages that nobody waits for, with their bytes.
  std::list<std::pair<MPI_Request, std::vector<std::byte>>> unwatched;
};

Process& TheProcess() {
  static auto* const process = new Process;  // outlives all communicators
  return *process;
}

absl::Status ToStatus(int code) {
  if (code == MPI_SUCCESS) {
    return absl::OkStatus();
  }
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  return absl::InternalError(absl::StrCat("MPI: ", text.data()));
}

}  // namespace

// One group on one rank. Functions that end in Locked are called with the
// process' mutex held.
class MpiCommunicator::Group {
 public:
  Group(std::int64_t number, std::vector<int> members, int rank)
      : number_(number), members_(std::move(members)), rank_(rank) {
    const std::lock_guard<std::mutex> lock(process_.mutex);
    if (process_.status.ok()) {
      MPI_Irecv(notice_.data(), internal::kMaxErrorBytes, MPI_BYTE,
                MPI_ANY_SOURCE, TagOf(Tag::kNotice), MPI_COMM_WORLD,
                &notice_request_);
    }
  }
  ~Group();
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  int rank() const { return rank_; }
  int size() const { return static_cast<int>(members_.size()); }
  int WorldRank(int member) const {
    return members_[static_cast<std::size_t>(member)];
  }

  // Starts the messages of one part, of max_bytes at most; Wait() waits for all
  // those started since the last Wait().
  void Start(Tag tag, Way way, const Part& part, std::int64_t max_bytes);
  // late(ranks) makes the error when the time is over.
  template <typename Late>
  absl::Status Wait(std::chrono::microseconds spin,
                    std::chrono::milliseconds timeout, const Late& late);
  // Bytes of the i-th message started before the last Wait().
  std::int64_t NumBytes(std::size_t i) const { return done_[i].num_bytes; }

  // The first error of the group, after hearing what the others say.
  absl::Status Poll() {
    const std::lock_guard<std::mutex> lock(process_.mutex);
    if (StatusLocked().ok()) {
      HearLocked();
    }
    return status_;
  }
  // Keeps the first error, and returns it.
  absl::Status Fail(const absl::Status& status, bool tell_others) {
    const std::lock_guard<std::mutex> lock(process_.mutex);
    FailLocked(status, tell_others);
    return status_;
  }

 private:
  struct Started {
    int peer = 0;
    Way way = Way::kSend;
    std::int64_t num_bytes = 0;  // for a receive: known when it is done
  };

  int TagOf(Tag tag) const {
    return static_cast<int>(number_) * kNumTags + static_cast<int>(tag);
  }
  int TestLocked();
  void HearLocked();
  absl::Status StatusLocked() {
    status_.Update(process_.status);
    return status_;
  }
  void FailLocked(const absl::Status& status, bool tell_others);
  void TellAllLocked(Tag tag, const std::vector<std::byte>& bytes);
  std::vector<int> UnfinishedLocked() const;
  void Drain(std::unique_lock<std::mutex>* lock);

  Process& process_ = TheProcess();
  const std::int64_t number_;
  const std::vector<int> members_;  // their ranks in MPI_COMM_WORLD
  const int rank_;
  absl::Status status_;
  std::vector<MPI_Request> requests_;
  std::vector<Started> started_;  // by request
  std::vector<Started> done_;     // those of the last Wait()
  MPI_Request notice_request_ = MPI_REQUEST_NULL;
  std::vector<std::byte> notice_ =
      std::vector<std::byte>(internal::kMaxErrorBytes);
};

MpiCommunicator::Group::~Group() {
  const std::lock_guard<std::mutex> lock(process_.mutex);
  if (!process_.status.ok()) {
    return;
  }
  if (status_.ok()) {  // who still calls must not wait for us
    const Message last = LastMessage();
    const auto bytes = std::as_bytes(std::span(last));
    TellAllLocked(Tag::kMeet, {bytes.begin(), bytes.end()});
  }
  if (notice_request_ != MPI_REQUEST_NULL) {
    MPI_Cancel(&notice_request_);
    process_.unwatched.emplace_back(notice_request_, std::move(notice_));
  }
}

void MpiCommunicator::Group::Start(Tag tag, Way way, const Part& part,
                                   std::int64_t max_bytes) {
  const std::lock_guard<std::mutex> lock(process_.mutex);
  for (std::int64_t begin = 0; begin < part.num_bytes && StatusLocked().ok();
       begin += max_bytes) {
    std::byte* const bytes = part.bytes + begin;
    const auto count =
        static_cast<int>(std::min(max_bytes, part.num_bytes - begin));
    const int peer = WorldRank(part.peer);
    MPI_Request request = MPI_REQUEST_NULL;
    const int code = way == Way::kReceive
                         ? MPI_Irecv(bytes, count, MPI_BYTE, peer, TagOf(tag),
                                     MPI_COMM_WORLD, &request)
                         : MPI_Isend(bytes, count, MPI_BYTE, peer, TagOf(tag),
                                     MPI_COMM_WORLD, &request);
    FailLocked(ToStatus(code), /*tell_others=*/true);
    requests_.push_back(request);
    // The request is kept for Wait().
    // NOLINTNEXTLINE(clang-analyzer-optin.mpi.MPI-Checker)
    started_.push_back({part.peer, way, count});
  }
}

template <typename Late>
absl::Status MpiCommunicator::Group::Wait(std::chrono::microseconds spin,
                                          std::chrono::milliseconds timeout,
                                          const Late& late) {
  Patience patience(spin);
  const Clock::time_point deadline = Clock::now() + timeout;
  std::unique_lock<std::mutex> lock(process_.mutex);
  while (StatusLocked().ok()) {
    const int num_done = TestLocked();
    if (num_done == MPI_UNDEFINED) {
      break;  // all are
    }
    if (num_done > 0) {
      patience = Patience(spin);
    }
    HearLocked();
    if (Clock::now() > deadline) {
      FailLocked(late(UnfinishedLocked()), /*tell_others=*/true);
      break;
    }
    lock.unlock();
    patience.Pause();
    lock.lock();
  }
  if (!StatusLocked().ok()) {
    Drain(&lock);
  }
  done_.swap(started_);
  started_.clear();
  requests_.clear();
  return StatusLocked();
}

// The number of messages that have ended since the last test, MPI_UNDEFINED if
// all had ended before.
int MpiCommunicator::Group::TestLocked() {
  const auto size = static_cast<int>(requests_.size());
  std::vector<int> which(requests_.size());
  std::vector<MPI_Status> statuses(requests_.size());
  int num_done = 0;
  const int code = MPI_Testsome(size, requests_.data(), &num_done, which.data(),
                                statuses.data());
  FailLocked(ToStatus(code), /*tell_others=*/true);
  for (int i = 0; num_done != MPI_UNDEFINED && i < num_done; ++i) {
    Started& done = started_[static_cast<std::size_t>(which[i])];
    if (done.way == Way::kReceive) {
      int count = 0;
      MPI_Get_count(&statuses[i], MPI_BYTE, &count);
      done.num_bytes = count;
    }
  }
  return num_done;
}

// The others of the group whose messages have not come, or, if all have, those
// who did not take ours.
std::vector<int> MpiCommunicator::Group::UnfinishedLocked() const {
  for (const Way way : {Way::kReceive, Way::kSend}) {
    std::set<int> ranks;
    for (std::size_t i = 0; i < requests_.size(); ++i) {
      if (requests_[i] != MPI_REQUEST_NULL && started_[i].way == way) {
        ranks.insert(started_[i].peer);
      }
    }
    if (!ranks.empty()) {
      return {ranks.begin(), ranks.end()};
    }
  }
  return {};
}

// Ends what Wait() has left, so that MPI touches our memory no more.
void MpiCommunicator::Group::Drain(std::unique_lock<std::mutex>* lock) {
  for (std::size_t i = 0; i < requests_.size() && process_.status.ok(); ++i) {
    if (started_[i].way == Way::kReceive && requests_[i] != MPI_REQUEST_NULL) {
      MPI_Cancel(&requests_[i]);
    }
  }
  Patience patience(kSpinForCall);
  const Clock::time_point deadline = Clock::now() + kDrainTime;
  while (process_.status.ok() && TestLocked() != MPI_UNDEFINED) {
    if (Clock::now() > deadline) {
      process_.status = absl::UnavailableError(absl::StrCat(
          "MPI is given up, as a transfer was cut off: ", status_.message()));
    }
    lock->unlock();
    patience.Pause();
    lock->lock();
  }
}

void MpiCommunicator::Group::HearLocked() {
  int is_here = 0;
  MPI_Status status;
  const int code = MPI_Test(&notice_request_, &is_here, &status);
  FailLocked(ToStatus(code), /*tell_others=*/true);
  int count = 0;
  if (is_here != 0 && status_.ok()) {  // else there is nothing to listen to
    MPI_Get_count(&status, MPI_BYTE, &count);
    notice_.resize(static_cast<std::size_t>(count));
    FailLocked(internal::DecodeError(notice_), /*tell_others=*/false);
  }
}

void MpiCommunicator::Group::FailLocked(const absl::Status& status,
                                        bool tell_others) {
  if (status.ok() || !status_.ok()) {
    return;
  }
  status_ = status;
  if (tell_others && process_.status.ok()) {
    TellAllLocked(Tag::kNotice, internal::EncodeError(status));
  }
}

void MpiCommunicator::Group::TellAllLocked(
    Tag tag, const std::vector<std::byte>& bytes) {
  process_.unwatched.remove_if([](auto& message) {
    int is_done = 0;
    MPI_Test(&message.first, &is_done, MPI_STATUS_IGNORE);
    return is_done != 0;
  });
  for (int peer = 0; peer < size(); ++peer) {
    if (peer != rank_) {
      auto& [request, copy] =
          process_.unwatched.emplace_back(MPI_REQUEST_NULL, bytes);
      MPI_Isend(copy.data(), static_cast<int>(copy.size()), MPI_BYTE,
                WorldRank(peer), TagOf(tag), MPI_COMM_WORLD, &request);
    }
  }
}

std::unique_ptr<Communicator> MpiCommunicator::World() {
  Process& process = TheProcess();
  std::unique_lock<std::mutex> lock(process.mutex);
  int level = 0;
  MPI_Query_thread(&level);
  CHECK_LE(MPI_THREAD_SERIALIZED, level);
  int rank = 0;
  int size = 0;
  const int* max_tag = nullptr;
  int is_set = 0;
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &max_tag, &is_set);
  CHECK(is_set != 0) << "MPI_TAG_UB";
  process.max_group = *max_tag / kNumTags - 1;
  const std::int64_t number = process.next_group++;
  lock.unlock();
  std::vector<int> members(static_cast<std::size_t>(size));
  std::iota(members.begin(), members.end(), 0);
  return std::unique_ptr<Communicator>(new MpiCommunicator(
      std::make_unique<Group>(number, std::move(members), rank)));
}

void MpiCommunicator::CloseAll() {
  const std::lock_guard<std::mutex> lock(TheProcess().mutex);
  TheProcess().status.Update(
      absl::FailedPreconditionError("MPI has been closed"));
}

void MpiCommunicator::GiveUpAll(const absl::Status& why) {
  const std::lock_guard<std::mutex> lock(TheProcess().mutex);
  TheProcess().status.Update(why);
}

MpiCommunicator::MpiCommunicator(std::unique_ptr<Group> group)
    : group_(std::move(group)) {}
MpiCommunicator::~MpiCommunicator() = default;

int MpiCommunicator::rank() const {
  return group_->rank();
}
int MpiCommunicator::size() const {
  return group_->size();
}
absl::Status MpiCommunicator::Poll() {
  return group_->Poll();
}

void MpiCommunicator::Abort(absl::string_view why) {
  group_->Fail(GaveUp(rank(), why), /*tell_others=*/true).IgnoreError();
}

absl::Status MpiCommunicator::Fail(absl::Status status) {
  return group_->Fail(status, /*tell_others=*/false);
}

absl::Status MpiCommunicator::Meet(const Call& call,
                                   std::vector<Message>* messages,
                                   std::vector<Message>* received) {
  const auto start = [&](Way way, int peer, Message* message) {
    const auto bytes = std::as_writable_bytes(std::span(*message));
    group_->Start(Tag::kMeet, way,
                  {peer, bytes.data(), static_cast<std::int64_t>(bytes.size())},
                  max_message_bytes());
  };
  received->resize(messages->size());
  std::vector<Message*> expected;
  for (int peer = 0; peer < size(); ++peer) {
    if (peer != rank()) {
      expected.push_back(&(*received)[static_cast<std::size_t>(peer)]);
      expected.back()->resize(static_cast<std::size_t>(MaxMessageWords()));
      start(Way::kReceive, peer, expected.back());
    }
  }
  for (int peer = 0; peer < size(); ++peer) {
    if (peer != rank()) {
      start(Way::kSend, peer, &(*messages)[static_cast<std::size_t>(peer)]);
    }
  }
  RETURN_IF_ERROR(
      group_->Wait(kSpinForCall, timeout(), [&](const std::vector<int>& ranks) {
        return DidNotCome(call, ranks, timeout());
      }));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    expected[i]->resize(static_cast<std::size_t>(group_->NumBytes(i)) /
                        sizeof(Message::value_type));
  }
  return absl::OkStatus();
}

absl::Status MpiCommunicator::Exchange(const Call& call,
                                       std::span<const Part> send,
                                       std::span<const Part> receive) {
  for (const Part& part : receive) {
    group_->Start(Tag::kPart, Way::kReceive, part, max_message_bytes());
  }
  for (const Part& part : send) {
    group_->Start(Tag::kPart, Way::kSend, part, max_message_bytes());
  }
  return group_->Wait(kSpinForPart, timeout(),
                      [&](const std::vector<int>& ranks) {
                        return DidNotEnd(call, ranks, timeout());
                      });
}

std::int64_t MpiCommunicator::NextGroup() {
  const std::lock_guard<std::mutex> lock(TheProcess().mutex);
  return TheProcess().next_group;
}

absl::StatusOr<std::unique_ptr<Communicator>> MpiCommunicator::MakeGroup(
    std::int64_t number, std::span<const std::int64_t> members) {
  {
    Process& process = TheProcess();
    const std::lock_guard<std::mutex> lock(process.mutex);
    if (number > process.max_group) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "this MPI has tags for ", process.max_group, " groups only"));
    }
    process.next_group = std::max(process.next_group, number + 1);
  }
  std::vector<int> ranks;
  for (const std::int64_t member : members) {
    ranks.push_back(group_->WorldRank(static_cast<int>(member)));
  }
  const auto place = std::ranges::find(members, rank()) - members.begin();
  return std::unique_ptr<Communicator>(
      new MpiCommunicator(std::make_unique<Group>(number, std::move(ranks),
                                                  static_cast<int>(place))));
}

}  // namespace rtpurbo
