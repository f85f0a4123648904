#include "kernels/reduce.h"

#include "tests/kernels/op_test.h"

namespace rtpurbo::testing {
namespace {

TEST(ReduceTest, SquaresOfManyPiecesAreAddedToTheSum) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  for (const std::int64_t n : {0, 1, 1000, 200001}) {
    const Tensor x = Random(ctx, DType::kF32, {n}, 1);
    Tensor sum = Scalar(ctx, 3);
    kernels::SumSquares(ctx, x, &sum);
    double expected = 3;
    for (const float value : ToFloats(ctx, x)) {
      expected += double{value} * value;
    }
    EXPECT_FLOAT_EQ(ToFloat(ctx, sum), static_cast<float>(expected)) << n;
  }
}

TEST(ReduceTest, SmallSquaresBesideALargeOneAreNotLost) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  std::vector<float> values(100001, 0x1p-13F);  // squares of 2^-26
  values[0] = 1;
  const Tensor x = FromHost(ctx, values, {100001});
  Tensor sum = Scalar(ctx, 0);
  kernels::SumSquares(ctx, x, &sum);
  EXPECT_FLOAT_EQ(ToFloat(ctx, sum), 1 + 100000 * 0x1p-26F);
}

TEST(ReduceTest, ThreadsDoNotChangeAByte) {
  ExpectSameBytesForAnyThreads([](const ExecContext& ctx) {
    Tensor sum = Scalar(ctx, 0.1F);
    kernels::SumSquares(ctx, Random(ctx, DType::kF32, {500000}, 1), &sum);
    return Tensors{sum};
  });
}

}  // namespace
}  // namespace rtpurbo::testing
