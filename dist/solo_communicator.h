// A group of one rank: every collective is a copy, no byte is sent, and nothing
// fails but what this rank itself does wrong. On the CPU and on CUDA, where it
// cannot turn bf16 into sums in f32.

#ifndef RTPURBO_DIST_SOLO_COMMUNICATOR_H_
#define RTPURBO_DIST_SOLO_COMMUNICATOR_H_

#include <memory>
#include <mutex>

#include "dist/communicator.h"

namespace rtpurbo {

class SoloCommunicator : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  absl::Status Poll() override;
  void Abort(absl::string_view why) override;

 private:
  absl::Status Run(const Call& call) override;
  absl::StatusOr<std::unique_ptr<Communicator>> RunSplit(
      const Call& call) override;
  absl::Status Fail(const absl::Status& status);

  std::mutex mutex_;
  absl::Status status_;
};

}  // namespace rtpurbo

#endif  // RTPURBO_DIST_SOLO_COMMUNICATOR_H_
