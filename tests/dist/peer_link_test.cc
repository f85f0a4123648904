#include "dist/peer_link.h"

#include <cerrno>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/dist/watchdog_testing.h"
#include "tests/status_matchers.h"

namespace rtpurbo::internal {
namespace {

using ::rtpurbo::testing::Becomes;
using ::rtpurbo::testing::StatusIs;
using std::chrono::milliseconds;
using ::testing::HasSubstr;

// Two ends of a connection.
struct Pair {
  std::unique_ptr<PeerLink> a;
  std::unique_ptr<PeerLink> b;
};
Pair Connected() {
  auto listener = PeerListener::Open("localhost");
  auto a = PeerLink::Connect((*listener)->address(), milliseconds(5000));
  EXPECT_OK(a);
  Pair pair{*std::move(a), nullptr};
  EXPECT_TRUE(Becomes([&] {
    pair.b = (*listener)->Accept();
    return pair.b != nullptr;
  }));
  return pair;
}

TEST(PeerLinkTest, AddressesReadBack) {
  for (const char* host : {"n1.example", "10.0.0.7", "fe80::1"}) {
    const PeerAddress address = {host, 65535, 0x0123456789abcdefU};
    ASSERT_OK_AND_ASSIGN(const PeerAddress read,
                         ParseAddress(AddressText(address)));
    EXPECT_EQ(read.host, address.host);
    EXPECT_EQ(read.port, address.port);
    EXPECT_EQ(read.nonce, address.nonce);
  }
  EXPECT_EQ(AddressText({"::1", 80, 10}), "[::1]:80/000000000000000a");
  for (const char* bad :
       {"", "/", "a:1", "a/1", ":1/1", "a:/1", "a:x/1", "a:65536/1", "[::1:2/3",
        "a:1/", "a:1/g", "a:1/11111111111111111"}) {
    EXPECT_THAT(ParseAddress(bad), StatusIs(absl::StatusCode::kInvalidArgument))
        << bad;
  }
}

TEST(PeerLinkTest, MessagesReadBackAndNothingElseIsOne) {
  const std::string bytes = EncodeMessage({.type = MessageType::kAccuse,
                                           .detail = 3,
                                           .rank = 7,
                                           .by = -2,
                                           .number = 1ULL << 40U,
                                           .sender_nonce = 9});
  const auto message = DecodeMessage(bytes);
  ASSERT_TRUE(message.has_value());
  EXPECT_EQ(message->type, MessageType::kAccuse);
  EXPECT_EQ(message->detail, 3);
  EXPECT_EQ(message->rank, 7);
  EXPECT_EQ(message->by, -2);
  EXPECT_EQ(message->number, 1ULL << 40U);
  EXPECT_EQ(message->sender_nonce, 9U);
  EXPECT_FALSE(DecodeMessage(bytes.substr(1)).has_value());
  // Magic number, type and padding are checked.
  for (const std::size_t at : {0, 3, 4, 6, 7}) {
    std::string other = bytes;
    other[at] = static_cast<char>(other[at] ^ 0x40);
    EXPECT_FALSE(DecodeMessage(other).has_value()) << at;
  }
}

TEST(PeerLinkTest, WhatWasSentBeforeTheEndArrives) {
  Pair pair = Connected();
  for (int i = 0; i < 1000; ++i) {
    pair.a->Send({.type = MessageType::kBeat, .rank = i});
  }
  pair.b->Send({.type = MessageType::kBeat});  // never read by a
  pair.a.reset();
  int num_messages = 0;
  EXPECT_TRUE(Becomes([&] {
    for (const PeerMessage& message : pair.b->Receive()) {
      EXPECT_EQ(message.rank, num_messages++);
    }
    return pair.b->ended();
  }));
  EXPECT_EQ(num_messages, 1000);
}

TEST(PeerLinkTest, AFullConnectionKeepsWhatItCannotSend) {
  Pair pair = Connected();
  int num_sent = 0;
  while (!pair.a->has_unsent()) {
    pair.a->Send({.type = MessageType::kBeat, .rank = num_sent++});
  }
  int num_messages = 0;
  EXPECT_TRUE(Becomes([&] {
    for (int i = 0; i < 1000; ++i) {
      for (const PeerMessage& message : pair.b->Receive()) {
        EXPECT_EQ(message.rank, num_messages++);
      }
      pair.a->Flush();
    }
    return num_messages == num_sent;
  }));
  EXPECT_FALSE(pair.a->has_unsent());
}

TEST(PeerLinkTest, BytesThatAreNoMessageEndIt) {
  Pair pair = Connected();
  PeerMessage bad;
  bad.type = static_cast<MessageType>(kLastMessageType + 1);
  pair.a->Send({.type = MessageType::kLeave});
  pair.a->Send(bad);
  pair.a->Send({.type = MessageType::kLeave});
  int num_messages = 0;
  EXPECT_TRUE(Becomes([&] {
    num_messages += static_cast<int>(pair.b->Receive().size());
    return pair.b->ended();
  }));
  EXPECT_EQ(pair.b->error_number(), EBADMSG);
  EXPECT_EQ(num_messages, 1);
}

TEST(PeerLinkTest, NobodyThereIsUnavailable) {
  auto listener = PeerListener::Open("localhost");
  const PeerAddress address = (*listener)->address();
  listener->reset();
  EXPECT_THAT(PeerLink::Connect(address, milliseconds(1000)),
              StatusIs(absl::StatusCode::kUnavailable,
                       HasSubstr("cannot connect to localhost port")));
  EXPECT_THAT(
      PeerLink::Connect({"no.such.host.invalid", 1, 0}, milliseconds(1000)),
      StatusIs(absl::StatusCode::kUnavailable,
               HasSubstr("cannot find the host")));
}

}  // namespace
}  // namespace rtpurbo::internal
