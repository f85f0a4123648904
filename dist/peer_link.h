// What the watchdog speaks: messages of 32 bytes over TCP connections that
// never block.
//
// A rank's address is "host:port/nonce", an IPv6 number in brackets. The nonce
// is drawn when the rank opens its listener, and only who was given the
// addresses of this run knows it: kHello carries the nonces of both ends, so
// that neither a stranger nor a process of an earlier run can join.
//
// Threads: one at a time.

#ifndef RTPURBO_DIST_PEER_LINK_H_
#define RTPURBO_DIST_PEER_LINK_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace rtpurbo::internal {

struct PeerAddress {
  std::string host;
  std::uint16_t port = 0;
  std::uint64_t nonce = 0;
};
std::string AddressText(const PeerAddress& address);
// InvalidArgument if `text` is none.
absl::StatusOr<PeerAddress> ParseAddress(absl::string_view text);

enum class MessageType : std::uint8_t {
  kHello = 1,  // rank: the sender; by: ranks of the run; the two nonces
  kBeat,       // detail: sum of BeatDetail
  kAccuse,     // rank is lost; by: who noticed; detail: why; number: how long
  kReported,   // the sender has told its caller and will end
  kLeave,      // the sender ends in order
};
inline constexpr std::uint8_t kLastMessageType = 5;

enum BeatDetail : std::uint8_t {
  kWaits = 1,  // its main thread, for other ranks, for too long
  kAskedToStop = 2,
};

struct PeerMessage {
  MessageType type = MessageType::kBeat;
  std::uint8_t detail = 0;
  std::int32_t rank = 0;
  std::int32_t by = 0;
  std::uint64_t number = 0;        // kHello: the receiver's nonce; kAccuse: ms
  std::uint64_t sender_nonce = 0;  // kHello
};
inline constexpr std::size_t kMessageBytes = 32;
std::string EncodeMessage(const PeerMessage& message);
// Nothing if the bytes are not what EncodeMessage() gives.
std::optional<PeerMessage> DecodeMessage(absl::string_view bytes);

// A descriptor, closed when destroyed.
class Socket {
 public:
  explicit Socket(int fd = -1) : fd_(fd) {}
  ~Socket();
  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&& other) noexcept;
  int fd() const { return fd_; }

 private:
  int fd_;
};

// One connection. Destroyed, it is closed.
class PeerLink {
 public:
  explicit PeerLink(Socket socket) : socket_(std::move(socket)) {}
  // Waits at most `timeout` for the connection. Unavailable if there is none.
  static absl::StatusOr<std::unique_ptr<PeerLink>> Connect(
      const PeerAddress& address, std::chrono::milliseconds timeout);

  int fd() const { return socket_.fd(); }
  // Sends what the connection takes now and keeps the rest for Flush(). A
  // connection that is broken shows it in Receive().
  void Send(const PeerMessage& message);
  void Flush();
  bool has_unsent() const { return !unsent_.empty(); }
  // No Send() may follow.
  void CloseForSending();

  // The messages that have come. The last call before the end of a connection
  // also returns what came before it.
  std::vector<PeerMessage> Receive();
  // Whether the other side has ended the connection, or it broke.
  bool ended() const { return ended_; }
  // The error number that broke it; 0 if it was closed, EBADMSG if what came
  // is no message.
  int error_number() const { return error_number_; }

 private:
  void End(int error_number);
  std::vector<PeerMessage> TakeMessages();

  Socket socket_;
  std::string unsent_;
  std::string received_;
  bool ended_ = false;
  int error_number_ = 0;
};

// Where the other ranks connect.
class PeerListener {
 public:
  // Listens on every interface of this host, at a port that the system
  // chooses. `host` is the name or number by which the other ranks reach it.
  static absl::StatusOr<std::unique_ptr<PeerListener>> Open(
      const std::string& host);

  int fd() const { return socket_.fd(); }
  const PeerAddress& address() const { return address_; }
  // The next that has connected; null if there is none.
  std::unique_ptr<PeerLink> Accept();

 private:
  PeerListener(Socket socket, PeerAddress address)
      : socket_(std::move(socket)), address_(std::move(address)) {}

  Socket socket_;
  PeerAddress address_;
};

}  // namespace rtpurbo::internal

#endif  // RTPURBO_DIST_PEER_LINK_H_
