// What a rank sends to the others of its group besides tensors: a call, as
// 64-bit words, and an error.

#ifndef RTPURBO_DIST_CALL_MESSAGE_H_
#define RTPURBO_DIST_CALL_MESSAGE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "dist/call.h"

namespace rtpurbo::internal {

// The most words that a call of a group of `num_ranks` takes, without payload.
std::int64_t MaxCallWords(int num_ranks);

// message = `call`, then `payload`, padded with zeros to whole words.
void Encode(const Call& call, std::span<const std::byte> payload,
            std::vector<std::int64_t>* message);

struct DecodedCall {
  Call call;  // without ctx and tensors
  std::span<const std::byte> payload = {};
};
// Both point into `message`. Returns FailedPrecondition if another version of
// this program wrote it.
absl::StatusOr<DecodedCall> Decode(std::span<const std::int64_t> message);

// An error as one byte, its code, and its message, cut to fit.
inline constexpr int kMaxErrorBytes = 1024;
std::vector<std::byte> EncodeError(const absl::Status& error);
absl::Status DecodeError(std::span<const std::byte> bytes);

}  // namespace rtpurbo::internal

#endif  // RTPURBO_DIST_CALL_MESSAGE_H_
