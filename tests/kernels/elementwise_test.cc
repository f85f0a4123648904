#include "kernels/elementwise.h"

#include <cmath>

#include "tests/kernels/op_test.h"

namespace rtpurbo::testing {
namespace {

TEST(ElementwiseTest, CastRoundsToTheNearestEvenNeighbour) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  // 1 + 2^-8 is halfway between 1 and 1 + 2^-7, and 1 + 3 2^-8 between the next
  // two.
  const std::vector<float> values = {1 + 0x1p-8F, 1 + 0x3p-8F, 1 + 0x1.1p-8F,
                                     -kInfinity, 3e38F};
  EXPECT_EQ(ToFloats(ctx, FromFloats(ctx, DType::kBF16, values, {5})),
            (std::vector<float>{1, 1 + 0x1p-6F, 1 + 0x1p-7F, -kInfinity,
                                0x1.c4p127F}));
  EXPECT_TRUE(std::isnan(ToFloat(
      ctx, FromFloats(ctx, DType::kBF16, std::vector<float>{kNaN}, {1}))));
}

TEST(ElementwiseTest, PiecesCoverEveryElementOnce) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  for (const std::int64_t n : {0, 1, 32767, 32768, 100001}) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      Tensor sum = Poisoned(ctx, dtype, {n});
      kernels::Fill(ctx, 2.0F, &sum);
      Tensor one = Poisoned(ctx, DType::kBF16, {n});
      kernels::Fill(ctx, 1.0F, &one);
      kernels::AddInto(ctx, one, &sum);
      EXPECT_EQ(ToFloats(ctx, sum),
                std::vector<float>(static_cast<std::size_t>(n), 3));
    }
  }
}

TEST(ElementwiseTest, SumsAreRoundedOnceFromF32) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const Tensor small = Scalar(ctx, 0x1p-9F + 0x1p-20F);
  Tensor sum = FromFloats(ctx, DType::kBF16, {1}, {1});
  kernels::AddInto(ctx, small, &sum);
  EXPECT_EQ(ToFloat(ctx, sum), 1);  // below half a step of bf16
  Tensor exact = Scalar(ctx, 1);
  kernels::AddInto(ctx, small, &exact);
  EXPECT_EQ(ToFloat(ctx, exact), 1 + 0x1p-9F + 0x1p-20F);
}

TEST(ElementwiseDeathTest, ShapesMustFit) {
  DieInAProcessOfItsOwn();
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const Tensor a = Random(ctx, DType::kF32, {2, 3}, 1);
  Tensor b = Random(ctx, DType::kF32, {3, 2}, 1);
  EXPECT_DEATH(kernels::Cast(ctx, a, &b), "2, 3");
  EXPECT_DEATH(kernels::AddInto(ctx, a, &b), "2, 3");
}

class ElementwiseDeviceTest : public OpTest {};

INSTANTIATE_TEST_SUITE_P(All, ElementwiseDeviceTest, AllDevicesAndTypes(),
                         OpTest::Name);

TEST_P(ElementwiseDeviceTest, CastAddAndFillAreExact) {
  const auto run = [this](const ExecContext& ctx) {
    Tensor sum = Random(ctx, dtype(), {40001}, 1);
    kernels::AddInto(ctx, Random(ctx, DType::kF32, {40001}, 2), &sum);
    kernels::AddInto(ctx, Random(ctx, DType::kBF16, {40001}, 3), &sum);
    Tensor filled = Poisoned(ctx, dtype(), {3});
    kernels::Fill(ctx, 0.1F, &filled);
    return Tensors{sum, filled};
  };
  ExpectTheCpu(run, {});
}

}  // namespace
}  // namespace rtpurbo::testing
