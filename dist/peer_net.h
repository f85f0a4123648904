// All connections of one rank to the others: makes them, shows strangers the
// door, and brings what comes as a list of events. Judges nothing.
//
// Every rank connects to those below it and is connected to by those above. A
// rank has joined when both have said hello with the right nonces; when all
// have, the listener is closed.
//
// Threads: Listen() and Connect() first; then one thread calls the rest, but
// Wake(), which is for any.

#ifndef RTPURBO_DIST_PEER_NET_H_
#define RTPURBO_DIST_PEER_NET_H_

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dist/peer_link.h"

namespace rtpurbo::internal {

using SteadyTime = std::chrono::steady_clock::time_point;

inline std::chrono::milliseconds Between(SteadyTime begin, SteadyTime end) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(end - begin);
}

struct PeerEvent {
  enum class Kind : std::uint8_t {
    kMessage,
    kClosed,  // by the other side, or because it died
    kBroken,  // by the network, or it brought what is no message
  };
  int rank = 0;
  Kind kind = Kind::kMessage;
  PeerMessage message;
};

class PeerNet {
 public:
  // host: as in WatchdogOptions. ResourceExhausted if the limit of open files
  // is too low for the ranks.
  static absl::StatusOr<std::unique_ptr<PeerNet>> Listen(
      int rank, int size, const std::string& host);

  // The word for this rank, which the others need.
  const std::string& address() const { return address_; }
  // Connects to the ranks below. InvalidArgument if `addresses` (of all ranks)
  // holds a bad one or not this rank's; Unavailable if one cannot be reached.
  absl::Status Connect(const std::vector<std::string>& addresses,
                       SteadyTime deadline);
  // By rank; after Connect().
  std::vector<std::string> Hosts() const;

  // Waits for something to happen, at most `timeout`, and returns what did, of
  // ranks that have joined or were about to. After kClosed or kBroken of a rank
  // nothing more comes from it.
  std::vector<PeerEvent> Wait(std::chrono::milliseconds timeout);
  // Makes the present or next Wait() return.
  void Wake();

  bool joined(int rank) const { return At(rank).joined; }
  bool all_joined() const { return num_joined_ + 1 == size_; }
  bool connected(int rank) const { return At(rank).link != nullptr; }
  bool any_connected() const;
  // To every connected rank that has joined. Without `must_arrive`, ranks whose
  // connection is full are left out.
  void Broadcast(const PeerMessage& message, bool must_arrive);
  // Sends what was kept back. With `then_close`, closes what has nothing more
  // to send for sending.
  void Flush(bool then_close);
  void Close(int rank) { At(rank).link.reset(); }

 private:
  struct Peer {
    std::unique_ptr<PeerLink> link;  // null before it came and after it went
    bool joined = false;             // ever
  };
  struct Stranger {
    std::unique_ptr<PeerLink> link;
    SteadyTime came;
  };

  PeerNet(int rank, int size, std::unique_ptr<PeerListener> listener);
  Peer& At(int rank) { return peers_[static_cast<std::size_t>(rank)]; }
  const Peer& At(int rank) const {
    return peers_[static_cast<std::size_t>(rank)];
  }
  const PeerAddress& AddressOf(int rank) const {
    return addresses_[static_cast<std::size_t>(rank)];
  }
  void Watch(int fd, std::uint64_t tag);
  PeerMessage HelloTo(int rank) const;
  bool IsHelloFrom(const PeerMessage& message, int rank) const;
  void TakeConnections();
  void DropLateStrangers();
  void TakeFromStranger(int fd, std::vector<PeerEvent>* events);
  void TakeFromPeer(int rank, const std::vector<PeerMessage>& messages,
                    std::vector<PeerEvent>* events);
  void End(int rank, PeerEvent::Kind kind, std::vector<PeerEvent>* events);

  const int rank_;
  const int size_;
  std::unique_ptr<PeerListener> listener_;  // null when all have joined
  const std::string address_;
  Socket epoll_;
  Socket wake_;
  std::vector<PeerAddress> addresses_;  // by rank
  std::vector<Peer> peers_;             // by rank; this one's is not used
  std::map<int, Stranger> strangers_;   // by descriptor
  int num_joined_ = 0;
};

}  // namespace rtpurbo::internal

#endif  // RTPURBO_DIST_PEER_NET_H_
