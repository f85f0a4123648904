#include "dist/solo_communicator.h"

#include "tests/dist/communicator_conformance.h"
#include "tests/dist/communicator_groups.h"

namespace rtpurbo::testing {
namespace {

void RunSolo(int size, const std::function<void(Communicator&)>& fn) {
  ASSERT_EQ(size, 1);
  SoloCommunicator comm;
  fn(comm);
}

INSTANTIATE_TEST_SUITE_P(Solo, CommunicatorTest,
                         ::testing::Values(Ranks{{1}, RunSolo}));

TEST(SoloCommunicatorTest, AbortFailsLaterCalls) {
  SoloCommunicator comm;
  comm.Abort("enough");
  EXPECT_THAT(comm.Barrier(), StatusIs(absl::StatusCode::kUnavailable,
                                       "rank 0 gave up: enough"));
  EXPECT_EQ(comm.Barrier(), comm.Poll());
}

TEST(SoloCommunicatorTest, RowsToItselfMustMatch) {
  const auto device = *Device::Open(DeviceType::kCpu);
  SoloCommunicator comm;
  Tensor one = Tensor::Zeros(device->ctx(), DType::kF32, {1, 3});
  const Tensor two = Tensor::Zeros(device->ctx(), DType::kF32, {2, 3});
  EXPECT_THAT(comm.AllToAll(device->ctx(), two, std::vector<std::int64_t>{2},
                            std::vector<std::int64_t>{1}, &one),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       ::testing::HasSubstr("rank 0 expects 1")));
}

using SoloCommunicatorDeathTest = ::testing::Test;

TEST(SoloCommunicatorDeathTest, TensorsThatDoNotFitEachOtherAreCaught) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  SoloCommunicator comm;
  const Tensor half = Tensor::Zeros(ctx, DType::kBF16, {4});
  Tensor full = Tensor::Zeros(ctx, DType::kF32, {4});
  Tensor longer = Tensor::Zeros(ctx, DType::kBF16, {5});
  EXPECT_DEATH(comm.AllGather(ctx, half, &full).IgnoreError(), "AllGather");
  EXPECT_DEATH(comm.AllGather(ctx, half, &longer).IgnoreError(), "4 vs 5");
  EXPECT_DEATH(comm.ReduceScatter(ctx, full, &longer).IgnoreError(),
               "ReduceScatter");
  EXPECT_DEATH(comm.Broadcast(ctx, 1, &full).IgnoreError(), "from rank 1");
}

}  // namespace
}  // namespace rtpurbo::testing
