#include "dist/solo_communicator.h"

#include <algorithm>

namespace rtpurbo {

absl::Status SoloCommunicator::AllGather(const ExecContext& ctx,
                                         const Tensor& shard, Tensor* full) {
  CHECK(shard.dtype() == full->dtype());
  CHECK_EQ(shard.size(), full->size());
  if (shard.bytes() != full->bytes()) {
    CopyBytes(ctx, shard.bytes(), full->bytes(), shard.num_bytes());
  }
  return absl::OkStatus();
}

absl::Status SoloCommunicator::ReduceScatter(const ExecContext& ctx,
                                             const Tensor& full,
                                             Tensor* shard) {
  CHECK_EQ(full.size(), shard->size());
  if (full.dtype() == shard->dtype()) {
    CopyBytes(ctx, full.bytes(), shard->bytes(), full.num_bytes());
    return absl::OkStatus();
  }
  CHECK(ctx.device == DeviceType::kCpu);
  const auto* from = full.data<BFloat16>();
  std::transform(from, from + full.size(), shard->data<float>(),
                 [](BFloat16 x) { return static_cast<float>(x); });
  return absl::OkStatus();
}

}  // namespace rtpurbo
