#include "kernels/reduce.h"

#include "tests/kernels/op_test.h"

namespace rtpurbo::testing {
namespace {

class ReduceTest : public DeviceTest {};

INSTANTIATE_TEST_SUITE_P(Devices, ReduceTest, ::testing::ValuesIn(Devices()),
                         [](const auto& p) { return DeviceName(p.param); });

TEST_P(ReduceTest, SquaresOfManyPiecesAreAddedToTheSum) {
  for (const std::int64_t n : {0, 1, 1000, 200001}) {
    const Tensor x = Random(ctx(), DType::kF32, {n}, 1);
    Tensor sum = Scalar(ctx(), 3);
    kernels::SumSquares(ctx(), x, &sum);
    double expected = 3;
    for (const float value : ToFloats(ctx(), x)) {
      expected += double{value} * value;
    }
    EXPECT_FLOAT_EQ(ToFloat(ctx(), sum), static_cast<float>(expected)) << n;
  }
}

TEST_P(ReduceTest, SmallSquaresBesideALargeOneAreNotLost) {
  std::vector<float> values(100001, 0x1p-13F);  // squares of 2^-26
  values[0] = 1;
  const Tensor x = FromHost(ctx(), values, {100001});
  Tensor sum = Scalar(ctx(), 0);
  kernels::SumSquares(ctx(), x, &sum);
  EXPECT_FLOAT_EQ(ToFloat(ctx(), sum), 1 + 100000 * 0x1p-26F);
}

TEST_P(ReduceTest, EveryRunGivesTheSameBytes) {
  const Tensor x = Random(ctx(), DType::kF32, {1234567}, 1);
  Tensor first = Scalar(ctx(), 0.1F);
  kernels::SumSquares(ctx(), x, &first);
  for (int run = 0; run < 5; ++run) {
    Tensor again = Scalar(ctx(), 0.1F);
    kernels::SumSquares(ctx(), x, &again);
    ExpectSameBytes(ctx(), {again}, {first});
  }
}

TEST(ReduceThreadsTest, ThreadsDoNotChangeAByte) {
  ExpectSameBytesForAnyThreads([](const ExecContext& ctx) {
    Tensor sum = Scalar(ctx, 0.1F);
    kernels::SumSquares(ctx, Random(ctx, DType::kF32, {500000}, 1), &sum);
    return Tensors{sum};
  });
}

}  // namespace
}  // namespace rtpurbo::testing
