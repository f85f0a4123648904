// The ranks that a watchdog has lost, why, and how that is told.

#ifndef RTPURBO_DIST_LOST_RANKS_H_
#define RTPURBO_DIST_LOST_RANKS_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace rtpurbo::internal {

enum class LossReason : std::uint8_t {
  kDied = 1,  // its connections closed
  kBroken,    // a connection broke, or brought bytes that are not ours
  kSilent,    // no beat
  kStuck,     // its main thread makes no progress
  kAllWait,   // all main threads wait for each other
  kAbsent,    // it never came
  kFailed,    // it ended with an error, and said so
};
inline constexpr std::uint8_t kLastLossReason = 7;

struct Loss {
  LossReason reason = LossReason::kDied;
  std::chrono::milliseconds since{0};  // for how long nothing was heard
  int seen_by = 0;                     // rank
};

class LostRanks {
 public:
  // hosts: by rank.
  LostRanks(int self, std::vector<std::string> hosts)
      : self_(self), hosts_(std::move(hosts)) {}

  // False if that rank is lost already: the first reason counts.
  bool Add(int rank, const Loss& loss) {
    return losses_.emplace(rank, loss).second;
  }
  bool contains(int rank) const { return losses_.contains(rank); }
  bool empty() const { return losses_.empty(); }
  std::size_t size() const { return losses_.size(); }

  // "rank 3 on n2: its process died (its connection closed)".
  std::string Describe(int rank) const;
  // Unavailable with all of them and what to do.
  absl::Status ToStatus() const;

 private:
  int self_;
  std::vector<std::string> hosts_;
  std::map<int, Loss> losses_;  // by rank
};

}  // namespace rtpurbo::internal

#endif  // RTPURBO_DIST_LOST_RANKS_H_
