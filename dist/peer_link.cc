#include "dist/peer_link.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <random>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace rtpurbo::internal {
namespace {

constexpr std::uint32_t kMagic = 0x44575452;  // "RTWD"
// Far more than a peer has to say between two calls of Receive().
constexpr std::size_t kReadBytes = 4096;
constexpr int kBacklog = 4096;

std::string ErrorText(int error_number) {
  return std::generic_category().message(error_number);
}

struct FreeAddresses {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

absl::StatusOr<Addresses> Resolve(const PeerAddress& address) {
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const std::string port = absl::StrCat(address.port);
  const int error =
      getaddrinfo(address.host.c_str(), port.c_str(), &hints, &list);
  if (error != 0) {
    return absl::UnavailableError(absl::StrCat(
        "cannot find the host ", address.host, ": ", gai_strerror(error),
        "; name each host so that all others can resolve it"));
  }
  return Addresses(list);
}

// 0, or the error number of a connection that was not made in time.
int FinishConnect(int fd, std::chrono::milliseconds timeout) {
  pollfd waiting = {fd, POLLOUT, 0};
  const int ready = poll(&waiting, 1, static_cast<int>(timeout.count()));
  if (ready < 0) {
    return errno;
  }
  if (ready == 0) {
    return ETIMEDOUT;
  }
  int error = 0;
  socklen_t size = sizeof(error);
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

// A message is sent when it is made, not when more would fill a packet.
void SendAtOnce(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

absl::Status ListenError(absl::string_view what) {
  return absl::UnavailableError(absl::StrCat(
      "the watchdog cannot ", what, ": ", ErrorText(errno),
      "; check the network of this host and its limit of open files"));
}

absl::StatusOr<Socket> ListenOn(int family) {
  Socket socket(
      ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (socket.fd() < 0) {
    return ListenError("open a socket");
  }
  sockaddr_storage any = {};
  any.ss_family = static_cast<sa_family_t>(family);
  if (family == AF_INET6) {  // takes IPv4 as well
    const int off = 0;
    setsockopt(socket.fd(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
  }
  const socklen_t size =
      family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  if (bind(socket.fd(), reinterpret_cast<const sockaddr*>(&any), size) != 0 ||
      listen(socket.fd(), kBacklog) != 0) {
    return ListenError("listen");
  }
  return socket;
}

}  // namespace

std::string AddressText(const PeerAddress& address) {
  const bool is_number = absl::StrContains(address.host, ':');
  return absl::StrCat(is_number ? "[" : "", address.host, is_number ? "]" : "",
                      ":", address.port, "/",
                      absl::Hex(address.nonce, absl::kZeroPad16));
}

absl::StatusOr<PeerAddress> ParseAddress(absl::string_view text) {
  PeerAddress address;
  const std::size_t slash = text.rfind('/');
  const std::size_t colon = text.substr(0, slash).rfind(':');
  if (slash != absl::string_view::npos && colon != absl::string_view::npos) {
    absl::string_view host = text.substr(0, colon);
    if (absl::ConsumePrefix(&host, "[") && !absl::ConsumeSuffix(&host, "]")) {
      host = "";
    }
    std::uint32_t port = 0;
    const bool has_port =
        absl::SimpleAtoi(text.substr(colon + 1, slash - colon - 1), &port);
    const char* const end = text.data() + text.size();
    const auto nonce =
        std::from_chars(text.data() + slash + 1, end, address.nonce, 16);
    if (!host.empty() && has_port && port > 0 && port <= 0xffff &&
        nonce.ec == std::errc() && nonce.ptr == end) {
      address.host = std::string(host);
      address.port = static_cast<std::uint16_t>(port);
      return address;
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'", text, "' is no address of a watchdog"));
}

std::string EncodeMessage(const PeerMessage& message) {
  std::string bytes(kMessageBytes, '\0');
  char* to = bytes.data();
  const auto put = [&to](const auto& value) {
    std::memcpy(to, &value, sizeof(value));
    to += sizeof(value);
  };
  put(kMagic);
  put(message.type);
  put(message.detail);
  put(std::uint16_t{0});
  put(message.rank);
  put(message.by);
  put(message.number);
  put(message.sender_nonce);
  return bytes;
}

std::optional<PeerMessage> DecodeMessage(absl::string_view bytes) {
  PeerMessage message;
  std::uint8_t type = 0;
  if (bytes.size() != kMessageBytes) {
    return std::nullopt;
  }
  std::memcpy(&type, bytes.data() + 4, 1);
  std::memcpy(&message.detail, bytes.data() + 5, 1);
  std::memcpy(&message.rank, bytes.data() + 8, 4);
  std::memcpy(&message.by, bytes.data() + 12, 4);
  std::memcpy(&message.number, bytes.data() + 16, 8);
  std::memcpy(&message.sender_nonce, bytes.data() + 24, 8);
  if (type < 1 || type > kLastMessageType) {
    return std::nullopt;
  }
  message.type = static_cast<MessageType>(type);
  return EncodeMessage(message) == bytes ? std::optional(message)
                                         : std::nullopt;
}

Socket::~Socket() {
  if (fd_ >= 0) {
    close(fd_);
  }
}

Socket::Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

Socket& Socket::operator=(Socket&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

absl::StatusOr<std::unique_ptr<PeerLink>> PeerLink::Connect(
    const PeerAddress& address, std::chrono::milliseconds timeout) {
  absl::StatusOr<Addresses> list = Resolve(address);
  if (!list.ok()) {
    return list.status();
  }
  int error = EADDRNOTAVAIL;
  for (const addrinfo* at = list->get(); at != nullptr; at = at->ai_next) {
    Socket socket(
        ::socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (socket.fd() < 0) {
      error = errno;
      continue;
    }
    error = connect(socket.fd(), at->ai_addr, at->ai_addrlen) == 0 ? 0 : errno;
    if (error == EINPROGRESS) {
      error = FinishConnect(socket.fd(), timeout);
    }
    if (error == 0) {
      SendAtOnce(socket.fd());
      return std::make_unique<PeerLink>(std::move(socket));
    }
  }
  return absl::UnavailableError(absl::StrCat("cannot connect to ", address.host,
                                             " port ", address.port, ": ",
                                             ErrorText(error)));
}

void PeerLink::Send(const PeerMessage& message) {
  unsent_ += EncodeMessage(message);
  Flush();
}

void PeerLink::Flush() {
  while (!unsent_.empty() && !ended_) {
    const ssize_t sent =
        send(fd(), unsent_.data(), unsent_.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) {
      continue;
    }
    if (sent < 0) {  // full, or broken: then Receive() says why
      return;
    }
    unsent_.erase(0, static_cast<std::size_t>(sent));
  }
}

void PeerLink::CloseForSending() {
  shutdown(fd(), SHUT_WR);
}

void PeerLink::End(int error_number) {
  if (!ended_) {
    ended_ = true;
    error_number_ = error_number;
  }
}

std::vector<PeerMessage> PeerLink::Receive() {
  std::array<char, kReadBytes> chunk;
  const ssize_t got = ended_ ? 0 : recv(fd(), chunk.data(), chunk.size(), 0);
  if (got > 0) {
    received_.append(chunk.data(), static_cast<std::size_t>(got));
  } else if (got == 0) {
    End(0);
  } else if (errno != EAGAIN && errno != EINTR) {
    End(errno);
  }
  return TakeMessages();
}

std::vector<PeerMessage> PeerLink::TakeMessages() {
  std::vector<PeerMessage> messages;
  std::size_t begin = 0;
  for (; received_.size() - begin >= kMessageBytes; begin += kMessageBytes) {
    const auto message = DecodeMessage(
        absl::string_view(received_).substr(begin, kMessageBytes));
    if (!message.has_value()) {
      End(EBADMSG);
      break;
    }
    messages.push_back(*message);
  }
  received_.erase(0, begin);
  return messages;
}

absl::StatusOr<std::unique_ptr<PeerListener>> PeerListener::Open(
    const std::string& host) {
  absl::StatusOr<Socket> socket = ListenOn(AF_INET6);
  if (!socket.ok()) {  // a kernel without IPv6
    socket = ListenOn(AF_INET);
  }
  if (!socket.ok()) {
    return socket.status();
  }
  sockaddr_storage bound = {};
  socklen_t size = sizeof(bound);
  if (getsockname(socket->fd(), reinterpret_cast<sockaddr*>(&bound), &size) !=
      0) {
    return ListenError("learn its port");
  }
  // The port is at one place in both kinds of address.
  in_port_t port = 0;
  std::memcpy(
      &port,
      reinterpret_cast<const char*>(&bound) + offsetof(sockaddr_in, sin_port),
      sizeof(port));
  std::random_device random;
  const std::uint64_t nonce =
      (std::uint64_t{random()} << 32U) | std::uint64_t{random()};
  return std::unique_ptr<PeerListener>(
      new PeerListener(*std::move(socket), {host, ntohs(port), nonce}));
}

std::unique_ptr<PeerLink> PeerListener::Accept() {
  Socket socket(accept4(fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (socket.fd() < 0) {
    return nullptr;
  }
  SendAtOnce(socket.fd());
  return std::make_unique<PeerLink>(std::move(socket));
}

}  // namespace rtpurbo::internal
