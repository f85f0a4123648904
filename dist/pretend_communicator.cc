#include "dist/pretend_communicator.h"

#include "absl/strings/str_cat.h"
#include "dist/call.h"
#include "kernels/core/check.h"

namespace rtpurbo {

PretendCommunicator::PretendCommunicator(int rank, int size)
    : rank_(rank), size_(size) {
  CHECK_LE(0, rank);
  CHECK_LT(rank, size);
}

absl::Status PretendCommunicator::Poll() {
  return absl::UnavailableError(absl::StrCat(
      "rank ", rank_, " of ", size_, " only pretends: no other rank is there"));
}

void PretendCommunicator::Abort(absl::string_view /*why*/) {}

absl::Status PretendCommunicator::Run(const Call& /*call*/) {
  return Poll();
}

absl::StatusOr<std::unique_ptr<Communicator>> PretendCommunicator::RunSplit(
    const Call& /*call*/) {
  return Poll();
}

}  // namespace rtpurbo
