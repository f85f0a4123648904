#include "dist/communicator.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <utility>
#include <vector>

#include "dist/call.h"
#include "dist/watchdog.h"
#include "kernels/core/status_macros.h"
#include "kernels/core/trace.h"

namespace rtpurbo {
namespace {

std::int64_t Sum(std::span<const std::int64_t> values) {
  return std::accumulate(values.begin(), values.end(), std::int64_t{0});
}

void CheckRows(const Tensor& tensor, std::span<const std::int64_t> rows,
               int num_ranks) {
  CHECK_EQ(rows.size(), static_cast<std::size_t>(num_ranks)) << "AllToAll";
  for (const std::int64_t count : rows) {
    CHECK_LE(0, count) << "AllToAll";
  }
  CHECK_EQ(tensor.shape().size(), 2U) << "AllToAll";
  CHECK_EQ(tensor.dim(0), Sum(rows)) << "AllToAll";
}

}  // namespace

CommStats::Entry CommStats::total() const {
  Entry total;
  for (const Entry& entry : by_op) {
    total.num_calls += entry.num_calls;
    total.bytes_sent += entry.bytes_sent;
    total.bytes_received += entry.bytes_received;
    total.seconds += entry.seconds;
  }
  return total;
}

// Runs fn, and books what it costs under `op`.
template <typename Fn>
auto Communicator::Measure(CommOp op, Fn&& fn) {
  running_ = &stats_.by_op[static_cast<std::size_t>(op)];
  if (watchdog_ != nullptr) {
    watchdog_->BeginWait();
  }
  const TraceSpan span(Name(op), "communication");
  const auto start = std::chrono::steady_clock::now();
  auto result = std::forward<Fn>(fn)();
  if (watchdog_ != nullptr) {
    watchdog_->Beat();
  }
  const std::chrono::duration<double> took =
      std::chrono::steady_clock::now() - start;
  running_->seconds += took.count();
  ++running_->num_calls;
  return result;
}

void Communicator::CountBytes(std::int64_t sent, std::int64_t received) {
  running_->bytes_sent += sent;
  running_->bytes_received += received;
}

absl::Status Communicator::RunMeasured(const Call& call) {
  return Measure(call.op, [&] { return Run(call); });
}

absl::Status Communicator::AllGather(const ExecContext& ctx,
                                     const Tensor& shard, Tensor* full) {
  CHECK(shard.dtype() == full->dtype()) << "AllGather";
  CHECK_EQ(shard.size() * size(), full->size()) << "AllGather";
  return RunMeasured({.op = CommOp::kAllGather,
                      .dtype = shard.dtype(),
                      .size = shard.size(),
                      .ctx = &ctx,
                      .in = &shard,
                      .out = full});
}

absl::Status Communicator::ReduceScatter(const ExecContext& ctx,
                                         const Tensor& full, Tensor* shard) {
  CHECK_EQ(shard->size() * size(), full.size()) << "ReduceScatter";
  CHECK(shard->dtype() ==
        (full.dtype() == DType::kI32 ? DType::kI32 : DType::kF32))
      << "ReduceScatter of " << Name(full.dtype());
  return RunMeasured({.op = CommOp::kReduceScatter,
                      .dtype = full.dtype(),
                      .size = full.size(),
                      .ctx = &ctx,
                      .in = &full,
                      .out = shard});
}

absl::Status Communicator::AllReduce(const ExecContext& ctx, ReduceOp op,
                                     Tensor* inout) {
  return RunMeasured({.op = CommOp::kAllReduce,
                      .dtype = inout->dtype(),
                      .reduce = op,
                      .size = inout->size(),
                      .ctx = &ctx,
                      .in = inout,
                      .out = inout});
}

absl::Status Communicator::AllToAll(const ExecContext& ctx, const Tensor& send,
                                    std::span<const std::int64_t> send_rows,
                                    std::span<const std::int64_t> receive_rows,
                                    Tensor* receive) {
  CheckRows(send, send_rows, size());
  CheckRows(*receive, receive_rows, size());
  CHECK(send.dtype() == receive->dtype()) << "AllToAll";
  CHECK_EQ(send.dim(1), receive->dim(1)) << "AllToAll";
  return RunMeasured({.op = CommOp::kAllToAll,
                      .dtype = send.dtype(),
                      .size = send.dim(1),
                      .send_rows = send_rows,
                      .receive_rows = receive_rows,
                      .ctx = &ctx,
                      .in = &send,
                      .out = receive});
}

absl::Status Communicator::Broadcast(const ExecContext& ctx, int root,
                                     Tensor* inout) {
  CHECK(0 <= root && root < size()) << "Broadcast from rank " << root;
  return RunMeasured({.op = CommOp::kBroadcast,
                      .dtype = inout->dtype(),
                      .root = root,
                      .size = inout->size(),
                      .ctx = &ctx,
                      .in = inout,
                      .out = inout});
}

absl::Status Communicator::Barrier() {
  return RunMeasured({.op = CommOp::kBarrier});
}

absl::StatusOr<std::unique_ptr<Communicator>> Communicator::Split(
    std::span<const int> ranks) {
  const std::vector<std::int64_t> members(ranks.begin(), ranks.end());
  for (const std::int64_t member : members) {
    CHECK(0 <= member && member < size()) << "Split with rank " << member;
    CHECK_EQ(std::ranges::count(members, member), 1) << "Split";
  }
  CHECK_EQ(std::ranges::count(ranks, rank()), 1) << "Split without this rank";
  ASSIGN_OR_RETURN(
      std::unique_ptr<Communicator> group, Measure(CommOp::kSplit, [&] {
        return RunSplit({.op = CommOp::kSplit, .members = members});
      }));
  group->set_timeout(timeout_);
  group->set_watchdog(watchdog_);
  return group;
}

}  // namespace rtpurbo
