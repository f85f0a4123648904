// One rank of a group whose other ranks are not there: to see what that rank
// would hold and read, without starting them. Every collective fails.

#ifndef RTPURBO_DIST_PRETEND_COMMUNICATOR_H_
#define RTPURBO_DIST_PRETEND_COMMUNICATOR_H_

#include <memory>

#include "dist/communicator.h"

namespace rtpurbo {

class PretendCommunicator : public Communicator {
 public:
  // REQUIRES: 0 <= rank < size.
  PretendCommunicator(int rank, int size);

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  absl::Status Poll() override;
  void Abort(absl::string_view why) override;

 private:
  absl::Status Run(const Call& call) override;
  absl::StatusOr<std::unique_ptr<Communicator>> RunSplit(
      const Call& call) override;

  const int rank_;
  const int size_;
};

}  // namespace rtpurbo

#endif  // RTPURBO_DIST_PRETEND_COMMUNICATOR_H_
