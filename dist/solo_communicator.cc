#include "dist/solo_communicator.h"

#include <array>

#include "dist/call.h"
#include "dist/reduce.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

void Copy(const ExecContext& ctx, const Tensor& from, const Tensor& to) {
  if (from.bytes() != to.bytes()) {
    CopyBytes(ctx, from.bytes(), to.bytes(), from.num_bytes());
  }
}

}  // namespace

absl::Status SoloCommunicator::Run(const Call& call) {
  RETURN_IF_ERROR(Poll());
  RETURN_IF_ERROR(Fail(Agree({&call, 1})));
  if (call.in == nullptr) {
    return absl::OkStatus();  // Barrier
  }
  if (call.in->dtype() == call.out->dtype()) {
    Copy(*call.ctx, *call.in, *call.out);
    return absl::OkStatus();
  }
  CheckHasKernel(*call.ctx, "SoloCommunicator::ReduceScatter");
  const std::array<const std::byte*, 1> parts = {call.in->bytes()};
  ReduceInOrder(ReduceOp::kSum, call.dtype, parts, call.size, call.out->dtype(),
                call.out->bytes());
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Communicator>> SoloCommunicator::RunSplit(
    const Call& /*call*/) {
  RETURN_IF_ERROR(Poll());
  return std::make_unique<SoloCommunicator>();
}

absl::Status SoloCommunicator::Poll() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return status_;
}

void SoloCommunicator::Abort(absl::string_view why) {
  Fail(GaveUp(0, why)).IgnoreError();
}

// Keeps the first error, and returns it.
absl::Status SoloCommunicator::Fail(const absl::Status& status) {
  const std::lock_guard<std::mutex> lock(mutex_);
  status_.Update(status);
  return status_;
}

}  // namespace rtpurbo
