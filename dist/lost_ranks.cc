#include "dist/lost_ranks.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "kernels/core/check.h"

namespace rtpurbo::internal {
namespace {

// A message for people: what more are lost is told as a number.
constexpr std::size_t kMostNamed = 64;

std::string Why(const Loss& loss) {
  const std::string seconds = absl::StrFormat(
      "%.1f s", std::chrono::duration<double>(loss.since).count());
  switch (loss.reason) {
    case LossReason::kDied:
      return "its process died (its connection closed)";
    case LossReason::kBroken:
      return "its connection broke: the network or its host failed";
    case LossReason::kSilent:
      return absl::StrCat(
          "no beat for ", seconds,
          ": its process is stopped, its host hangs or its link is down");
    case LossReason::kStuck:
      return absl::StrCat(
          "alive, but its main thread is stuck: no progress "
          "for ",
          seconds);
    case LossReason::kAllWait:
      return absl::StrCat("waits for other ranks since ", seconds,
                          ", as all of them do");
    case LossReason::kAbsent:
      return absl::StrCat("did not come within ", seconds);
    case LossReason::kFailed:
      return "it ended with an error, which its own output names";
  }
  CHECK(false) << static_cast<int>(loss.reason);
  return "";
}

}  // namespace

std::string LostRanks::Describe(int rank) const {
  const Loss& loss = losses_.at(rank);
  const bool by_another = loss.seen_by != self_ && loss.seen_by != rank;
  return absl::StrCat(
      "rank ", rank, rank == self_ ? " (this one)" : "", " on ",
      hosts_[static_cast<std::size_t>(rank)], ": ", Why(loss),
      by_another ? absl::StrCat(", seen by rank ", loss.seen_by) : "");
}

absl::Status LostRanks::ToStatus() const {
  std::vector<std::string> named;
  for (const auto& [rank, loss] : losses_) {
    if (named.size() == kMostNamed) {
      named.push_back(
          absl::StrCat("and ", losses_.size() - kMostNamed, " more"));
      break;
    }
    named.push_back(Describe(rank));
  }
  return absl::UnavailableError(absl::StrCat(
      "lost ", losses_.size(), " of ", hosts_.size(),
      " ranks: ", absl::StrJoin(named, "; "),
      "; start the run again: it goes on from its newest checkpoint"));
}

}  // namespace rtpurbo::internal
