#include "kernels/rms_norm.h"

#include <cmath>
#include <utility>

#include "kernels/cpu/rms_norm.h"
#include "tests/grad_check.h"
#include "tests/kernels/op_test.h"

namespace rtpurbo::testing {
namespace {

constexpr float kEps = 1e-6F;

// [T, D]: odd, one element, no rows, around a piece of 128 rows and a lane of
// 16, long rows, rows of heads.
constexpr std::int64_t kShapes[][2] = {
    {5, 300}, {1, 1}, {0, 7}, {129, 33}, {128, 16}, {2, 5000}, {700, 24}};

TEST(RmsNormTest, BackwardIsTheDerivativeOfForward) {
  using kernels::cpu::RmsNormBackward;
  using kernels::cpu::RmsNormForward;
  constexpr std::size_t kT = 3;
  constexpr std::size_t kD = 17;
  Vec x = RandomVec(kT * kD, 1);
  Vec w = RandomVec(kD, 2);
  const Vec dy = RandomVec(kT * kD, 3);
  Vec y(kT * kD);
  Vec r(kT);
  const auto loss = [&] {
    RmsNormForward(x.data(), w.data(), kEps, kT, kD, y.data(), r.data());
    return Dot(y, dy);
  };
  loss();
  Vec dx(kT * kD);
  Vec dw(kD);
  RmsNormBackward(x.data(), w.data(), r.data(), dy.data(), kT, kD, dx.data(),
                  dw.data());
  ExpectGradient(loss, &x, dx);
  ExpectGradient(loss, &w, dw);
}

template <typename T>
void ExpectTheDefinition(std::int64_t T_, std::int64_t D) {
  constexpr DType kType = DTypeOf<T>::value;
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const Tensor x = Random(ctx, kType, {T_, D}, 1);
  const Tensor w = Random(ctx, kType, {D}, 2);
  const Tensor dy = Random(ctx, kType, {T_, D}, 3);
  Tensor y = Poisoned(ctx, kType, {T_, D});
  Tensor r = Poisoned(ctx, DType::kF32, {T_});
  kernels::RmsNormForward(ctx, x, w, kEps, &y, &r);
  const Tensor expected_y = Poisoned(ctx, kType, {T_, D});
  const Tensor expected_r = Poisoned(ctx, DType::kF32, {T_});
  kernels::cpu::RmsNormForward(x.data<T>(), w.data<T>(), kEps, T_, D,
                               expected_y.data<T>(), expected_r.data<float>());

  Tensor dx = Poisoned(ctx, kType, {T_, D});
  Tensor dw = Random(ctx, DType::kF32, {D}, 4);  // is added to
  const Tensor expected_dx = Poisoned(ctx, kType, {T_, D});
  const Tensor expected_dw = dw.Clone(ctx);
  kernels::RmsNormBackward(ctx, x, w, expected_r, dy, &dx, &dw);
  kernels::cpu::RmsNormBackward(
      x.data<T>(), w.data<T>(), expected_r.data<float>(), dy.data<T>(), T_, D,
      expected_dx.data<T>(), expected_dw.data<float>());
  // Sums over D or T in another order; a bf16 result may be a neighbour.
  const double store = sizeof(T) == 2 ? kRoundBF16 : 0;
  const auto sum = [](std::int64_t n) {
    return 0.2 * kRoundF32 * std::sqrt(static_cast<double>(n) + 1);
  };
  Tolerance row = {.atol = sum(D), .rtol = sum(D) + store};
  if (D == 1) {  // y is the sign of x and dx is almost 0
    row.max_difference = 1;
  }
  EXPECT_TRUE(Close(ToFloats(ctx, y), ToFloats(ctx, expected_y), row));
  EXPECT_TRUE(
      Close(ToFloats(ctx, r), ToFloats(ctx, expected_r), {.rtol = sum(D)}));
  EXPECT_TRUE(Close(ToFloats(ctx, dx), ToFloats(ctx, expected_dx), row));
  EXPECT_TRUE(Close(ToFloats(ctx, dw), ToFloats(ctx, expected_dw),
                    {.atol = sum(T_), .rtol = sum(T_)}));
}

TEST(RmsNormTest, PiecesAgreeWithTheDefinition) {
  for (const auto& [T, D] : kShapes) {
    SCOPED_TRACE(::testing::Message() << T << " x " << D);
    ExpectTheDefinition<float>(T, D);
    ExpectTheDefinition<BFloat16>(T, D);
  }
}

TEST(RmsNormTest, AFrozenWeightGetsNothingAndChangesNothing) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const Tensor x = Random(ctx, DType::kF32, {200, 9}, 1);
  const Tensor w = Random(ctx, DType::kF32, {9}, 2);
  const Tensor dy = Random(ctx, DType::kF32, {200, 9}, 3);
  Tensor y = x.Clone(ctx);
  Tensor r = Poisoned(ctx, DType::kF32, {200});
  kernels::RmsNormForward(ctx, x, w, kEps, &y, &r);
  Tensor dw = Tensor::Zeros(ctx, DType::kF32, {9});
  Tensor none;
  Tensor trained = Poisoned(ctx, DType::kF32, {200, 9});
  Tensor frozen = Poisoned(ctx, DType::kF32, {200, 9});
  kernels::RmsNormBackward(ctx, x, w, r, dy, &trained, &dw);
  kernels::RmsNormBackward(ctx, x, w, r, dy, &frozen, &none);
  EXPECT_EQ(ToFloats(ctx, trained), ToFloats(ctx, frozen));
}

TEST(RmsNormTest, NaNStaysInItsRow) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const Tensor x = Random(ctx, DType::kF32, {3, 40}, 1);
  x.data<float>()[40 + 17] = kNaN;
  Tensor y = Poisoned(ctx, DType::kF32, {3, 40});
  Tensor r = Poisoned(ctx, DType::kF32, {3});
  kernels::RmsNormForward(ctx, x, Random(ctx, DType::kF32, {40}, 2), kEps, &y,
                          &r);
  for (std::int64_t i = 0; i < y.size(); ++i) {
    EXPECT_EQ(std::isnan(y.data<float>()[i]), i / 40 == 1) << i;
  }
}

TEST(RmsNormDeathTest, ShapesMustFit) {
  DieInAProcessOfItsOwn();
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const Tensor x = Random(ctx, DType::kF32, {3, 4}, 1);
  Tensor y = x.Clone(ctx);
  Tensor r = Poisoned(ctx, DType::kF32, {3});
  EXPECT_DEATH(kernels::RmsNormForward(ctx, x, Random(ctx, DType::kF32, {5}, 2),
                                       kEps, &y, &r),
               "w_D");
}

class RmsNormDeviceTest : public OpTest {};

INSTANTIATE_TEST_SUITE_P(All, RmsNormDeviceTest, AllDevicesAndTypes(),
                         OpTest::Name);

TEST_P(RmsNormDeviceTest, ForwardAndBackward) {
  for (const auto& [T, D] : kShapes) {
    const auto run = [this, T = T, D = D](const ExecContext& ctx) {
      const Tensor x = Random(ctx, dtype(), {T, D}, 1);
      const Tensor w = Random(ctx, dtype(), {D}, 2);
      Tensor y = Poisoned(ctx, dtype(), {T, D});
      Tensor r = Poisoned(ctx, DType::kF32, {T});
      kernels::RmsNormForward(ctx, x, w, kEps, &y, &r);
      Tensor dx = Poisoned(ctx, dtype(), {T, D});
      Tensor dw = Random(ctx, DType::kF32, {D}, 4);  // is added to
      kernels::RmsNormBackward(ctx, x, w, r, Random(ctx, dtype(), {T, D}, 3),
                               &dx, &dw);
      return Tensors{y, r, dx, dw};
    };
    Tolerance tolerance = Rounding();
    if (D == 1) {  // dx is what cancelling leaves of two equal numbers
      tolerance.max_difference = 1e-3;
    }
    ExpectTheCpu(run, tolerance);
  }
}

}  // namespace
}  // namespace rtpurbo::testing
