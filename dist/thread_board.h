// Where the threads of one group meet. Belongs to thread_communicator.cc.
//
// A call is one Meet, where ranks wait for each other and may fail, and then
// any number of Steps, where they can't: between the two all ranks are inside
// the same call, and none waits for anything else. So a rank never returns, and
// frees its tensors, while another one reads them.

#ifndef RTPURBO_DIST_THREAD_BOARD_H_
#define RTPURBO_DIST_THREAD_BOARD_H_

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <random>
#include <vector>

#include "absl/status/status.h"
#include "dist/call.h"

namespace rtpurbo::internal {

class Board {
 public:
  // With a seed, ranks enter each meeting in an order drawn from it.
  Board(int size, std::optional<unsigned> seed);

  int size() const { return static_cast<int>(calls_.size()); }
  std::optional<unsigned> seed() const { return seed_; }

  // Shows `call` to the other ranks and waits until all have come. Returns the
  // first error of the group: ranks that disagree (InvalidArgument), did not
  // come in time or gave up (Unavailable).
  absl::Status Meet(int rank, const Call& call,
                    std::chrono::milliseconds timeout);
  // Inside a call: shows `scratch`, if it is not null, and waits until all
  // ranks have done so. Null leaves what was shown: a slow rank may read it
  // still.
  void Step(int rank, const void* scratch = nullptr);
  // What `rank` has shown, for use until the caller's next Step.
  Call call_of(int rank);
  const void* scratch_of(int rank);

  // This rank will not come again: fails those that wait for it, now or later.
  void Leave(int rank);
  // Keeps the first error, and wakes everybody.
  void Fail(const absl::Status& status);
  absl::Status status();

 private:
  static std::size_t Index(int rank) { return static_cast<std::size_t>(rank); }
  bool MayEnter(int rank) const;
  void EndMeeting();
  void DrawOrder();
  // Fails if a rank waits and another one, as its last call says, has left.
  void FailIfOneHasLeft();
  std::vector<int> Missing() const;

  const std::optional<unsigned> seed_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Call> calls_;             // by rank
  std::vector<const void*> scratches_;  // by rank
  std::vector<bool> has_come_;          // to the next meeting; by rank
  std::vector<int> order_;
  std::optional<std::mt19937> generator_;
  std::size_t num_met_ = 0;
  std::size_t num_stepped_ = 0;
  std::int64_t meeting_ = 0;
  std::int64_t step_ = 0;
  absl::Status status_;
};

}  // namespace rtpurbo::internal

#endif  // RTPURBO_DIST_THREAD_BOARD_H_
