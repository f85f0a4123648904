#include "dist/peer_net.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/core/check.h"
#include "kernels/core/log.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo::internal {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

// Who connects and says nothing is not one of us.
constexpr milliseconds kStrangerPatience{5000};
constexpr std::size_t kMostStrangers = 64;  // besides one for each rank

// What an event of epoll is about: a kind, and a rank or descriptor.
enum class Source : std::uint32_t { kListener, kWake, kPeer, kStranger };
std::uint64_t Tag(Source source, int id) {
  return (std::uint64_t{static_cast<std::uint32_t>(source)} << 32U) |
         static_cast<std::uint32_t>(id);
}

// Room for a connection to each rank besides what the program opens.
absl::Status AllowDescriptors(int size) {
  const rlim_t needed = static_cast<rlim_t>(size) + 256;
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur >= needed) {
    return absl::OkStatus();
  }
  limit.rlim_cur = std::min(needed, limit.rlim_max);
  if (limit.rlim_cur < needed || setrlimit(RLIMIT_NOFILE, &limit) != 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("watchdog: ", size, " ranks need ", needed,
                     " open files, but the limit is ", limit.rlim_max,
                     "; raise it (`ulimit -Hn`)"));
  }
  return absl::OkStatus();
}

std::string HostName() {
  std::array<char, 256> name = {};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data()
                                                        : "localhost";
}

}  // namespace

absl::StatusOr<std::unique_ptr<PeerNet>> PeerNet::Listen(
    int rank, int size, const std::string& host) {
  RETURN_IF_ERROR(AllowDescriptors(size));
  ASSIGN_OR_RETURN(auto listener,
                   PeerListener::Open(host.empty() ? HostName() : host));
  return std::unique_ptr<PeerNet>(new PeerNet(rank, size, std::move(listener)));
}

PeerNet::PeerNet(int rank, int size, std::unique_ptr<PeerListener> listener)
    : rank_(rank),
      size_(size),
      listener_(std::move(listener)),
      address_(AddressText(listener_->address())),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      peers_(static_cast<std::size_t>(size)) {}

absl::Status PeerNet::Connect(const std::vector<std::string>& addresses,
                              SteadyTime deadline) {
  if (addresses.size() != peers_.size() ||
      addresses[static_cast<std::size_t>(rank_)] != address_) {
    return absl::InvalidArgumentError(
        absl::StrCat("watchdog of rank ", rank_, ": got ", addresses.size(),
                     " addresses for ", size_, " ranks, or its own (", address_,
                     ") is not at its place"));
  }
  for (const std::string& text : addresses) {
    ASSIGN_OR_RETURN(PeerAddress address, ParseAddress(text));
    addresses_.push_back(std::move(address));
  }
  for (int rank = 0; rank < rank_; ++rank) {
    const auto left =
        std::chrono::duration_cast<milliseconds>(deadline - Clock::now());
    auto link =
        PeerLink::Connect(AddressOf(rank), std::max(left, milliseconds(1)));
    if (!link.ok()) {
      return absl::UnavailableError(
          absl::StrCat("watchdog: rank ", rank, ": ", link.status().message()));
    }
    At(rank).link = *std::move(link);
  }
  // Only now: who has said hello sends beats from then on.
  for (int rank = 0; rank < rank_; ++rank) {
    At(rank).link->Send(HelloTo(rank));
    Watch(At(rank).link->fd(), Tag(Source::kPeer, rank));
  }
  Watch(listener_->fd(), Tag(Source::kListener, 0));
  Watch(wake_.fd(), Tag(Source::kWake, 0));
  return absl::OkStatus();
}

std::vector<std::string> PeerNet::Hosts() const {
  std::vector<std::string> hosts;
  for (const PeerAddress& address : addresses_) {
    hosts.push_back(address.host);
  }
  return hosts;
}

std::vector<PeerEvent> PeerNet::Wait(milliseconds timeout) {
  std::array<epoll_event, 256> ready;
  const int num_ready =
      epoll_wait(epoll_.fd(), ready.data(), static_cast<int>(ready.size()),
                 static_cast<int>(timeout.count()));
  std::vector<PeerEvent> events;
  for (int i = 0; i < num_ready; ++i) {
    const std::uint64_t tag = ready[static_cast<std::size_t>(i)].data.u64;
    const int id = static_cast<int>(tag & 0xffffffffU);
    switch (static_cast<Source>(tag >> 32U)) {
      case Source::kListener:
        TakeConnections();
        break;
      case Source::kWake: {
        eventfd_t ignored = 0;
        eventfd_read(wake_.fd(), &ignored);
        break;
      }
      case Source::kPeer:
        if (connected(id)) {  // not closed by an earlier event
          TakeFromPeer(id, At(id).link->Receive(), &events);
        }
        break;
      case Source::kStranger:
        TakeFromStranger(id, &events);
        break;
    }
  }
  DropLateStrangers();
  return events;
}

void PeerNet::Wake() {
  eventfd_write(wake_.fd(), 1);
}

bool PeerNet::any_connected() const {
  return std::any_of(peers_.begin(), peers_.end(),
                     [](const Peer& peer) { return peer.link != nullptr; });
}

void PeerNet::Broadcast(const PeerMessage& message, bool must_arrive) {
  for (Peer& peer : peers_) {
    if (peer.link != nullptr && peer.joined &&
        (must_arrive || !peer.link->has_unsent())) {
      peer.link->Send(message);
    }
  }
}

void PeerNet::Flush(bool then_close) {
  for (Peer& peer : peers_) {
    if (peer.link == nullptr) {
      continue;
    }
    peer.link->Flush();
    if (then_close && !peer.link->has_unsent()) {
      peer.link->CloseForSending();
    }
  }
}

void PeerNet::Watch(int fd, std::uint64_t tag) {
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = tag;
  if (epoll_ctl(epoll_.fd(), EPOLL_CTL_ADD, fd, &event) != 0) {
    CHECK_EQ(errno, EEXIST);
    CHECK_EQ(epoll_ctl(epoll_.fd(), EPOLL_CTL_MOD, fd, &event), 0);
  }
}

PeerMessage PeerNet::HelloTo(int rank) const {
  return {.type = MessageType::kHello,
          .rank = rank_,
          .by = size_,
          .number = AddressOf(rank).nonce,
          .sender_nonce = AddressOf(rank_).nonce};
}

bool PeerNet::IsHelloFrom(const PeerMessage& message, int rank) const {
  return message.type == MessageType::kHello && message.rank == rank &&
         message.by == size_ && message.number == AddressOf(rank_).nonce &&
         message.sender_nonce == AddressOf(rank).nonce;
}

void PeerNet::TakeConnections() {
  while (listener_ != nullptr) {
    std::unique_ptr<PeerLink> link = listener_->Accept();
    if (link == nullptr) {
      return;
    }
    if (strangers_.size() >= peers_.size() + kMostStrangers) {
      continue;  // they come faster than they are shown the door
    }
    const int fd = link->fd();
    Watch(fd, Tag(Source::kStranger, fd));
    strangers_[fd] = {std::move(link), Clock::now()};
  }
}

void PeerNet::DropLateStrangers() {
  const SteadyTime now = Clock::now();
  for (auto at = strangers_.begin(); at != strangers_.end();) {
    const bool is_late = now - at->second.came > kStrangerPatience;
    at = is_late ? strangers_.erase(at) : std::next(at);
  }
}

void PeerNet::TakeFromStranger(int fd, std::vector<PeerEvent>* events) {
  const auto at = strangers_.find(fd);
  if (at == strangers_.end()) {
    return;
  }
  const std::vector<PeerMessage> messages = at->second.link->Receive();
  if (messages.empty() && !at->second.link->ended()) {
    return;
  }
  std::unique_ptr<PeerLink> link = std::move(at->second.link);
  strangers_.erase(at);
  const int rank = messages.empty() ? -1 : messages[0].rank;
  // Only ranks above connect to this one, and each of them once.
  if (rank <= rank_ || rank >= size_ || connected(rank) || joined(rank) ||
      !IsHelloFrom(messages[0], rank)) {
    Log(LogLevel::kWarning, "watchdog",
        "refused a connection that does not belong to this run");
    return;
  }
  link->Send(HelloTo(rank));
  Watch(fd, Tag(Source::kPeer, rank));
  At(rank).link = std::move(link);
  TakeFromPeer(rank, messages, events);
}

void PeerNet::TakeFromPeer(int rank, const std::vector<PeerMessage>& messages,
                           std::vector<PeerEvent>* events) {
  Peer& peer = At(rank);
  for (const PeerMessage& message : messages) {
    // The first is the hello, and no other is one.
    if (peer.joined ? message.type == MessageType::kHello
                    : !IsHelloFrom(message, rank)) {
      End(rank, PeerEvent::Kind::kBroken, events);
      return;
    }
    if (peer.joined) {
      events->push_back({rank, PeerEvent::Kind::kMessage, message});
      continue;
    }
    peer.joined = true;
    if (++num_joined_; all_joined()) {
      listener_.reset();
      strangers_.clear();
    }
  }
  if (peer.link->ended()) {
    const int error = peer.link->error_number();
    End(rank,
        error == 0 || error == ECONNRESET || error == EPIPE
            ? PeerEvent::Kind::kClosed
            : PeerEvent::Kind::kBroken,
        events);
  }
}

void PeerNet::End(int rank, PeerEvent::Kind kind,
                  std::vector<PeerEvent>* events) {
  Close(rank);
  events->push_back({rank, kind, {}});
}

}  // namespace rtpurbo::internal
