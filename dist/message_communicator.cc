#include "dist/message_communicator.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "dist/reduce.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo::internal {
namespace {

std::size_t Index(std::int64_t rank) {
  return static_cast<std::size_t>(rank);
}

}  // namespace

std::int64_t MessageCommunicator::MaxMessageWords() const {
  return MaxCallWords(size()) + kMaxInline / 8;
}

MessageCommunicator::Message MessageCommunicator::LastMessage() {
  Message message;
  Encode({.is_last = true}, {}, &message);
  return message;
}

// Tells the others our call, with the parts that are small enough, and checks
// that all call the same. Leaves what the others sent in heard_.
absl::Status MessageCommunicator::Compare(const Call& call,
                                          std::span<const Part> send) {
  RETURN_IF_ERROR(Poll());
  messages_.resize(Index(size()));
  for (Message& message : messages_) {
    Encode(call, {}, &message);
  }
  for (const Part& part : send) {
    if (part.num_bytes <= kMaxInline) {
      Encode(call, {part.bytes, Index(part.num_bytes)},
             &messages_[Index(part.peer)]);
    }
  }
  RETURN_IF_ERROR(Meet(call, &messages_, &received_));
  heard_.assign(Index(size()), DecodedCall{.call = call});
  std::vector<Call> calls(Index(size()), call);
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank()) {
      continue;
    }
    auto decoded = Decode(received_[Index(peer)]);
    if (!decoded.ok()) {
      return Fail(absl::FailedPreconditionError(
          absl::StrCat("rank ", peer, ": ", decoded.status().message())));
    }
    heard_[Index(peer)] = *decoded;
    calls[Index(peer)] = decoded->call;
  }
  const absl::Status agreed = Agree(calls);
  return agreed.ok() ? agreed : Fail(agreed);
}

// Compares the calls and moves all parts, at most one each way for each rank.
absl::Status MessageCommunicator::Transfer(const Call& call,
                                           std::span<const Part> send,
                                           std::span<const Part> receive) {
  RETURN_IF_ERROR(Compare(call, send));
  std::vector<Part> large_send;
  std::vector<Part> large_receive;
  for (const Part& part : receive) {
    if (part.num_bytes > kMaxInline) {
      large_receive.push_back(part);
      continue;
    }
    const auto payload = heard_[Index(part.peer)].payload;
    CHECK_EQ(payload.size(), Index(part.num_bytes));
    CopyHostBytes(payload.data(), part.bytes, part.num_bytes);
    CountBytes(0, part.num_bytes);
  }
  for (const Part& part : send) {
    if (part.num_bytes > kMaxInline) {
      large_send.push_back(part);
    } else {
      CountBytes(part.num_bytes, 0);
    }
  }
  return Follow(call, large_send, large_receive);
}

// Moves parts of a call that all ranks are in.
absl::Status MessageCommunicator::Follow(const Call& call,
                                         std::span<const Part> send,
                                         std::span<const Part> receive) {
  if (!send.empty() || !receive.empty()) {
    RETURN_IF_ERROR(Exchange(call, send, receive));
  }
  for (const Part& part : send) {
    CountBytes(part.num_bytes, 0);
  }
  for (const Part& part : receive) {
    CountBytes(0, part.num_bytes);
  }
  return absl::OkStatus();
}

absl::Status MessageCommunicator::Run(const Call& call) {
  if (call.ctx != nullptr) {
    CheckHasKernel(*call.ctx, "MessageCommunicator");
  }
  switch (call.op) {
    case CommOp::kAllGather:
      return AllGatherParts(call);
    case CommOp::kReduceScatter: {
      std::vector<std::int64_t> begins;
      for (int peer = 0; peer <= size(); ++peer) {
        begins.push_back(peer * call.out->size());
      }
      return ReduceParts(call, begins, call.out->bytes());
    }
    case CommOp::kAllReduce:
      return call.in->num_bytes() <= kMaxInline ? AllReduceWhole(call)
                                                : AllReduceParts(call);
    case CommOp::kAllToAll:
      return AllToAllParts(call);
    case CommOp::kBroadcast:
      return BroadcastParts(call);
    case CommOp::kBarrier:
    case CommOp::kSplit:
      break;
  }
  return Compare(call, {});
}

absl::Status MessageCommunicator::AllGatherParts(const Call& call) {
  const std::int64_t num_bytes = call.in->num_bytes();
  std::vector<Part> send;
  std::vector<Part> receive;
  for (int peer = 0; peer < size(); ++peer) {
    std::byte* const place = call.out->bytes() + peer * num_bytes;
    if (peer != rank()) {
      send.push_back({peer, call.in->bytes(), num_bytes});
      receive.push_back({peer, place, num_bytes});
    }
  }
  RETURN_IF_ERROR(Transfer(call, send, receive));
  CopyHostBytes(call.in->bytes(), call.out->bytes() + rank() * num_bytes,
                num_bytes);
  return absl::OkStatus();
}

absl::Status MessageCommunicator::BroadcastParts(const Call& call) {
  const Part from_root = {call.root, call.out->bytes(), call.out->num_bytes()};
  if (rank() != call.root) {
    return Transfer(call, {}, {&from_root, 1});
  }
  std::vector<Part> send;
  for (int peer = 0; peer < size(); ++peer) {
    if (peer != rank()) {
      send.push_back({peer, from_root.bytes, from_root.num_bytes});
    }
  }
  return Transfer(call, send, {});
}

absl::Status MessageCommunicator::AllToAllParts(const Call& call) {
  const std::int64_t row = call.size * SizeOf(call.dtype);
  std::vector<Part> send;
  std::vector<Part> receive;
  std::byte* from = call.in->bytes();
  std::byte* to = call.out->bytes();
  const std::byte* mine = nullptr;
  std::byte* my_place = nullptr;
  for (int peer = 0; peer < size(); ++peer) {
    const std::int64_t sent = call.send_rows[Index(peer)] * row;
    const std::int64_t received = call.receive_rows[Index(peer)] * row;
    if (peer == rank()) {
      mine = from;
      my_place = to;
    } else {
      send.push_back({peer, from, sent});
      receive.push_back({peer, to, received});
    }
    from += sent;
    to += received;
  }
  RETURN_IF_ERROR(Transfer(call, send, receive));
  // Only now is it sure that we receive as many rows as we send.
  CopyHostBytes(mine, my_place, call.send_rows[Index(rank())] * row);
  return absl::OkStatus();
}

absl::Status MessageCommunicator::AllReduceWhole(const Call& call) {
  const std::int64_t num_bytes = call.in->num_bytes();
  pieces_.resize(Index(size() * num_bytes));
  std::vector<Part> send;
  std::vector<Part> receive;
  std::vector<const std::byte*> parts;
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank()) {
      parts.push_back(call.in->bytes());
      continue;
    }
    receive.push_back({peer, pieces_.data() + peer * num_bytes, num_bytes});
    send.push_back({peer, call.in->bytes(), num_bytes});
    parts.push_back(receive.back().bytes);
  }
  RETURN_IF_ERROR(Transfer(call, send, receive));
  ReduceInOrder(call.reduce, call.dtype, parts, call.size, call.dtype,
                call.out->bytes());
  return absl::OkStatus();
}

absl::Status MessageCommunicator::AllReduceParts(const Call& call) {
  std::vector<std::int64_t> begins;
  for (int peer = 0; peer <= size(); ++peer) {
    begins.push_back(PartBegin(call.size, peer, size()));
  }
  const auto part_of = [&](int peer) {
    const std::int64_t element = SizeOf(call.dtype);
    return Part{peer, call.out->bytes() + begins[Index(peer)] * element,
                (begins[Index(peer) + 1] - begins[Index(peer)]) * element};
  };
  const Part mine = part_of(rank());
  RETURN_IF_ERROR(ReduceParts(call, begins, mine.bytes));
  std::vector<Part> send;
  std::vector<Part> receive;
  for (int peer = 0; peer < size(); ++peer) {
    if (peer != rank()) {
      send.push_back({peer, mine.bytes, mine.num_bytes});
      receive.push_back(part_of(peer));
    }
  }
  return Follow(call, send, receive);
}

// out = elements [begins[rank], begins[rank + 1]) of all ranks' tensors,
// reduced, while every other rank gets its own. The first piece goes with the
// comparison of the calls.
absl::Status MessageCommunicator::ReduceParts(
    const Call& call, std::span<const std::int64_t> begins, std::byte* out) {
  const std::int64_t element = SizeOf(call.dtype);
  const std::int64_t piece =
      std::min(kPieceBytes, max_message_bytes_) / element;
  const std::int64_t longest = (call.size + size() - 1) / size();
  pieces_.resize(Index(size() * std::min(piece, longest) * element));
  for (std::int64_t done = 0; done == 0 || done < longest; done += piece) {
    const auto piece_of = [&](int peer) {
      const std::int64_t begin = begins[Index(peer)] + done;
      const std::int64_t n = begins[Index(peer) + 1] - begin;
      return Part{peer, call.in->bytes() + begin * element,
                  std::clamp<std::int64_t>(n, 0, piece) * element};
    };
    const Part mine = piece_of(rank());
    std::vector<Part> send;
    std::vector<Part> receive;
    std::vector<const std::byte*> parts;
    for (int peer = 0; peer < size(); ++peer) {
      if (peer == rank()) {
        parts.push_back(mine.bytes);
        continue;
      }
      send.push_back(piece_of(peer));
      receive.push_back(
          {peer, pieces_.data() + peer * mine.num_bytes, mine.num_bytes});
      parts.push_back(receive.back().bytes);
    }
    RETURN_IF_ERROR(done == 0 ? Transfer(call, send, receive)
                              : Follow(call, send, receive));
    ReduceInOrder(call.reduce, call.dtype, parts, mine.num_bytes / element,
                  call.out->dtype(), out + done * SizeOf(call.out->dtype()));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Communicator>> MessageCommunicator::RunSplit(
    const Call& call) {
  std::int64_t number = NextGroup();
  std::vector<Part> send;
  for (int peer = 0; peer < size(); ++peer) {
    if (peer != rank()) {
      send.push_back({peer, reinterpret_cast<std::byte*>(&number),
                      static_cast<std::int64_t>(sizeof(number))});
    }
  }
  RETURN_IF_ERROR(Compare(call, send));
  for (const DecodedCall& heard : heard_) {
    std::int64_t theirs = number;  // our own has no payload
    CopyHostBytes(heard.payload.data(), reinterpret_cast<std::byte*>(&theirs),
                  static_cast<std::int64_t>(heard.payload.size()));
    number = std::max(number, theirs);
  }
  return MakeGroup(number, call.members);
}

}  // namespace rtpurbo::internal
