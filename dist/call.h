// What a rank asks of its communicator, and whether the ranks ask the same.
// For implementations: callers use communicator.h.

#ifndef RTPURBO_DIST_CALL_H_
#define RTPURBO_DIST_CALL_H_

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "dist/communicator.h"

namespace rtpurbo {

struct Call {
  CommOp op = CommOp::kBarrier;
  DType dtype = DType::kF32;
  ReduceOp reduce = ReduceOp::kSum;  // AllReduce
  int root = 0;                      // Broadcast
  // Elements of the tensor that this rank gives; of one row in AllToAll.
  std::int64_t size = 0;
  std::span<const std::int64_t> send_rows = {};  // AllToAll: by rank
  std::span<const std::int64_t> receive_rows = {};
  std::span<const std::int64_t> members = {};  // Split
  bool is_last = false;  // the rank is gone: no other call agrees with it

  // What the other ranks need not know. In place: both are the same tensor.
  const ExecContext* ctx = nullptr;
  const Tensor* in = nullptr;
  const Tensor* out = nullptr;
};

// "AllGather of 7 f32"
std::string Describe(const Call& call);

// OK if these calls, one of each rank in rank order, can be done together; else
// InvalidArgument that names two ranks and what they call. Every rank finds the
// same pair.
absl::Status Agree(std::span<const Call> calls);

// AllReduce of n elements: rank r reduces [PartBegin(n, r, P), PartBegin(n,
// r + 1, P)).
constexpr std::int64_t PartBegin(std::int64_t n, int rank, int num_ranks) {
  return n / num_ranks * rank + std::min<std::int64_t>(rank, n % num_ranks);
}

// On the host. Nothing to do for bytes that are in place.
inline void CopyHostBytes(const std::byte* from, std::byte* to,
                          std::int64_t num_bytes) {
  if (from != to && num_bytes > 0) {
    std::memcpy(to, from, static_cast<std::size_t>(num_bytes));
  }
}

// Unavailable: "ranks 1, 2 did not come to AllGather of 7 f32 within 600 s"
absl::Status DidNotCome(const Call& call, std::span<const int> ranks,
                        std::chrono::milliseconds timeout);
// Unavailable: "rank 1 stopped in the middle of AllGather of 7 f32, for 600 s"
absl::Status DidNotEnd(const Call& call, std::span<const int> ranks,
                       std::chrono::milliseconds timeout);
// Unavailable: "rank 2 gave up: <why>"
absl::Status GaveUp(int rank, absl::string_view why);

}  // namespace rtpurbo

#endif  // RTPURBO_DIST_CALL_H_
