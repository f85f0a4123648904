// A group of one rank: every collective is a copy, and nothing can fail.

#ifndef RTPURBO_DIST_SOLO_COMMUNICATOR_H_
#define RTPURBO_DIST_SOLO_COMMUNICATOR_H_

#include "dist/communicator.h"

namespace rtpurbo {

class SoloCommunicator : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  absl::Status AllGather(const ExecContext& ctx, const Tensor& shard,
                         Tensor* full) override;
  absl::Status ReduceScatter(const ExecContext& ctx, const Tensor& full,
                             Tensor* shard) override;
  absl::Status Barrier() override { return absl::OkStatus(); }
  absl::Status Poll() override { return absl::OkStatus(); }
};

}  // namespace rtpurbo

#endif  // RTPURBO_DIST_SOLO_COMMUNICATOR_H_
