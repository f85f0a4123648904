#include "dist/thread_board.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo::internal {

Board::Board(int size, std::optional<unsigned> seed)
    : seed_(seed),
      calls_(Index(size)),
      scratches_(Index(size)),
      has_come_(Index(size)),
      order_(Index(size)) {
  if (seed.has_value()) {
    generator_.emplace(*seed);
  }
  std::iota(order_.begin(), order_.end(), 0);
  DrawOrder();
}

absl::Status Board::Meet(int rank, const Call& call,
                         std::chrono::milliseconds timeout) {
  std::unique_lock<std::mutex> lock(mutex_);
  RETURN_IF_ERROR(status_);
  calls_[Index(rank)] = call;
  has_come_[Index(rank)] = true;
  FailIfOneHasLeft();
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  // A meeting that has taken place is a success, whatever came after it.
  const std::int64_t meeting = meeting_;
  const auto wait_until = [&](auto ready) {
    const bool in_time = changed_.wait_until(
        lock, deadline, [&] { return ready() || !status_.ok(); });
    if (!in_time) {
      status_ = DidNotCome(call, Missing(), timeout);
      changed_.notify_all();
    }
    return ready() ? absl::OkStatus() : status_;
  };
  RETURN_IF_ERROR(wait_until([&] { return MayEnter(rank); }));
  RETURN_IF_ERROR(status_);
  if (++num_met_ == calls_.size()) {
    EndMeeting();
  }
  changed_.notify_all();
  return wait_until([&] { return meeting_ != meeting; });
}

void Board::Step(int rank, const void* scratch) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (scratch != nullptr) {
    scratches_[Index(rank)] = scratch;
  }
  const std::int64_t step = step_;
  if (++num_stepped_ == calls_.size()) {
    num_stepped_ = 0;
    ++step_;
    changed_.notify_all();
  }
  changed_.wait(lock, [&] { return step_ != step; });
}

Call Board::call_of(int rank) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return calls_[Index(rank)];
}

const void* Board::scratch_of(int rank) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return scratches_[Index(rank)];
}

void Board::Leave(int rank) {
  const std::lock_guard<std::mutex> lock(mutex_);
  calls_[Index(rank)] = {.is_last = true};
  FailIfOneHasLeft();
  changed_.notify_all();
}

void Board::Fail(const absl::Status& status) {
  const std::lock_guard<std::mutex> lock(mutex_);
  status_.Update(status);
  changed_.notify_all();
}

absl::Status Board::status() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return status_;
}

bool Board::MayEnter(int rank) const {
  return !generator_.has_value() || order_[num_met_] == rank;
}

void Board::EndMeeting() {
  status_ = Agree(calls_);
  if (!status_.ok()) {
    return;
  }
  std::fill(has_come_.begin(), has_come_.end(), false);
  num_met_ = 0;
  ++meeting_;
  DrawOrder();
}

void Board::DrawOrder() {
  if (generator_.has_value()) {
    std::shuffle(order_.begin(), order_.end(), *generator_);
  }
}

void Board::FailIfOneHasLeft() {
  if (!status_.ok()) {
    return;  // what the calls point to may be gone
  }
  const auto left = std::ranges::find_if(calls_, &Call::is_last);
  const auto waits = std::ranges::find(has_come_, true);
  if (left != calls_.end() && waits != has_come_.end()) {
    const auto rank = waits - has_come_.begin();
    status_.Update(absl::InvalidArgumentError(absl::StrCat(
        "rank ", rank, " calls ",
        Describe(calls_[static_cast<std::size_t>(rank)]), ", but rank ",
        left - calls_.begin(), " calls ", Describe(*left))));
  }
}

std::vector<int> Board::Missing() const {
  std::vector<int> ranks;
  for (int rank = 0; rank < size(); ++rank) {
    if (!has_come_[Index(rank)]) {
      ranks.push_back(rank);
    }
  }
  return ranks;
}

}  // namespace rtpurbo::internal
