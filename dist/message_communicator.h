// Collectives made of messages between pairs of ranks. A derived class says how
// messages travel; this one says which.
//
// Each call begins with a message of every rank to every other one: its call
// (88 bytes and, for AllToAll, 16 a rank) and, if at most kMaxInline bytes go
// from this rank to that one, those bytes too. So a small call is one round of
// messages, and its latency is that of comparing the calls. Larger parts follow
// in a second round, which begins when all ranks are known to agree: until then
// nothing is written to a tensor.
//
// AllReduce of at most kMaxInline bytes sends the whole tensor to everyone, N
// (P-1) bytes in 1 step. ReduceScatter and the larger AllReduce sum in pieces
// of kPieceBytes, and hold P-1 of them.

#ifndef RTPURBO_DIST_MESSAGE_COMMUNICATOR_H_
#define RTPURBO_DIST_MESSAGE_COMMUNICATOR_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dist/call_message.h"

namespace rtpurbo::internal {

class MessageCommunicator : public Communicator {
 public:
  static constexpr std::int64_t kMaxInline = 1024;
  static constexpr std::int64_t kPieceBytes = std::int64_t{4} << 20;

  // Larger parts go as several messages of so many bytes, as MPI counts in 32
  // bits; pieces are no larger either. For tests; the same on all ranks.
  void set_max_message_bytes(std::int64_t num_bytes) {
    max_message_bytes_ = num_bytes;
  }

 protected:
  // Bytes for or from another rank.
  struct Part {
    int peer;
    std::byte* bytes;
    std::int64_t num_bytes;
  };
  using Message = std::vector<std::int64_t>;

  // The longest message that Meet sends or receives, in words.
  std::int64_t MaxMessageWords() const;
  std::int64_t max_message_bytes() const { return max_message_bytes_; }
  // What to send when this rank makes no more calls.
  static Message LastMessage();

 private:
  // Sends (*messages)[p] to each other rank p, and puts what they send into
  // (*received)[p], which is resized to fit. Waits for all of them, no longer
  // than timeout(). Errors poison the communicator, here and in Exchange.
  virtual absl::Status Meet(const Call& call, std::vector<Message>* messages,
                            std::vector<Message>* received) = 0;
  // Sends and receives parts, at most one each way for each other rank.
  virtual absl::Status Exchange(const Call& call, std::span<const Part> send,
                                std::span<const Part> receive) = 0;
  // Poisons the communicator on this rank alone; returns its first error.
  virtual absl::Status Fail(absl::Status status) = 0;
  // A number above those of all groups that this rank is in.
  virtual std::int64_t NextGroup() = 0;
  // The group of these ranks, numbered alike on all of them.
  virtual absl::StatusOr<std::unique_ptr<Communicator>> MakeGroup(
      std::int64_t number, std::span<const std::int64_t> members) = 0;

  absl::Status Run(const Call& call) override;
  absl::StatusOr<std::unique_ptr<Communicator>> RunSplit(
      const Call& call) override;

  absl::Status Compare(const Call& call, std::span<const Part> send);
  absl::Status Transfer(const Call& call, std::span<const Part> send,
                        std::span<const Part> receive);
  absl::Status Follow(const Call& call, std::span<const Part> send,
                      std::span<const Part> receive);
  absl::Status AllGatherParts(const Call& call);
  absl::Status BroadcastParts(const Call& call);
  absl::Status AllToAllParts(const Call& call);
  absl::Status AllReduceParts(const Call& call);
  absl::Status AllReduceWhole(const Call& call);
  absl::Status ReduceParts(const Call& call,
                           std::span<const std::int64_t> begins,
                           std::byte* out);

  std::int64_t max_message_bytes_ = std::int64_t{16} << 20;
  std::vector<Message> messages_;  // by rank; here to keep their memory
  std::vector<Message> received_;
  std::vector<DecodedCall> heard_;
  std::vector<std::byte> pieces_;
};

}  // namespace rtpurbo::internal

#endif  // RTPURBO_DIST_MESSAGE_COMMUNICATOR_H_
