#include "dist/call.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

const char* Name(ReduceOp op) {
  switch (op) {
    case ReduceOp::kSum:
      return "sum";
    case ReduceOp::kMax:
      return "max";
    case ReduceOp::kMin:
      return "min";
  }
  return "?";
}

const Call& At(std::span<const Call> calls, std::int64_t rank) {
  return calls[static_cast<std::size_t>(rank)];
}

absl::Status AgreeOnRows(std::span<const Call> calls) {
  for (std::size_t from = 0; from < calls.size(); ++from) {
    for (std::size_t to = 0; to < calls.size(); ++to) {
      const std::int64_t sent = calls[from].send_rows[to];
      const std::int64_t expected = calls[to].receive_rows[from];
      if (sent != expected) {
        return absl::InvalidArgumentError(
            absl::StrCat("rank ", from, " calls ", Describe(calls[from]),
                         " and sends ", sent, " of them to rank ", to,
                         ", but rank ", to, " expects ", expected));
      }
    }
  }
  return absl::OkStatus();
}

// Every list names ranks that gave the same list, so the lists are disjoint.
absl::Status AgreeOnGroups(std::span<const Call> calls) {
  for (std::size_t rank = 0; rank < calls.size(); ++rank) {
    for (const std::int64_t peer : calls[rank].members) {
      if (!std::ranges::equal(calls[rank].members, At(calls, peer).members)) {
        return absl::InvalidArgumentError(absl::StrCat(
            "rank ", rank, " calls ", Describe(calls[rank]), ", but rank ",
            peer, " calls ", Describe(At(calls, peer))));
      }
    }
  }
  return absl::OkStatus();
}

std::string Ranks(std::span<const int> ranks) {
  return absl::StrCat(ranks.size() == 1 ? "rank " : "ranks ",
                      absl::StrJoin(ranks, ", "));
}

double Seconds(std::chrono::milliseconds timeout) {
  return std::chrono::duration<double>(timeout).count();
}

}  // namespace

const char* Name(CommOp op) {
  switch (op) {
    case CommOp::kAllGather:
      return "AllGather";
    case CommOp::kReduceScatter:
      return "ReduceScatter";
    case CommOp::kAllReduce:
      return "AllReduce";
    case CommOp::kAllToAll:
      return "AllToAll";
    case CommOp::kBroadcast:
      return "Broadcast";
    case CommOp::kBarrier:
      return "Barrier";
    case CommOp::kSplit:
      return "Split";
  }
  return "?";
}

std::string Describe(const Call& call) {
  if (call.is_last) {
    return "nothing more";
  }
  const std::string tensor = absl::StrCat(call.size, " ", Name(call.dtype));
  switch (call.op) {
    case CommOp::kAllReduce:
      return absl::StrCat("AllReduce(", Name(call.reduce), ") of ", tensor);
    case CommOp::kAllToAll:
      return absl::StrCat("AllToAll of rows of ", tensor);
    case CommOp::kBroadcast:
      return absl::StrCat("Broadcast of ", tensor, " from rank ", call.root);
    case CommOp::kBarrier:
      return "Barrier";
    case CommOp::kSplit:
      return absl::StrCat("Split into a group of ranks ",
                          absl::StrJoin(call.members, ", "));
    default:
      return absl::StrCat(Name(call.op), " of ", tensor);
  }
}

absl::Status Agree(std::span<const Call> calls) {
  const auto same = [&first = calls.front()](const Call& call) {
    return call.is_last == first.is_last && call.op == first.op &&
           call.dtype == first.dtype && call.reduce == first.reduce &&
           call.root == first.root && call.size == first.size;
  };
  const auto other = std::ranges::find_if_not(calls, same);
  if (other != calls.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("rank 0 calls ", Describe(calls.front()), ", but rank ",
                     other - calls.begin(), " calls ", Describe(*other)));
  }
  switch (calls.front().op) {
    case CommOp::kAllToAll:
      return AgreeOnRows(calls);
    case CommOp::kSplit:
      return AgreeOnGroups(calls);
    default:
      return absl::OkStatus();
  }
}

absl::Status DidNotCome(const Call& call, std::span<const int> ranks,
                        std::chrono::milliseconds timeout) {
  return absl::UnavailableError(absl::StrCat(Ranks(ranks), " did not come to ",
                                             Describe(call), " within ",
                                             Seconds(timeout), " s"));
}

absl::Status DidNotEnd(const Call& call, std::span<const int> ranks,
                       std::chrono::milliseconds timeout) {
  return absl::UnavailableError(
      absl::StrCat(Ranks(ranks), " stopped in the middle of ", Describe(call),
                   ", for ", Seconds(timeout), " s"));
}

absl::Status GaveUp(int rank, absl::string_view why) {
  return absl::UnavailableError(absl::StrCat("rank ", rank, " gave up: ", why));
}

}  // namespace rtpurbo
