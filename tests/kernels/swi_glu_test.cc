#include "kernels/swi_glu.h"

#include <cmath>

#include "kernels/cpu/swi_glu.h"
#include "tests/grad_check.h"
#include "tests/kernels/op_test.h"

namespace rtpurbo::testing {
namespace {

TEST(SwiGluTest, BackwardIsTheDerivativeOfForward) {
  using kernels::cpu::SwiGluBackward;
  using kernels::cpu::SwiGluForward;
  constexpr std::size_t kN = 33;
  Vec gate = RandomVec(kN, 1);
  Vec up = RandomVec(kN, 2);
  const Vec dy = RandomVec(kN, 3);
  const auto loss = [&] {
    Vec y(kN);
    SwiGluForward(gate.data(), up.data(), kN, y.data());
    return Dot(y, dy);
  };
  Vec dgate(kN);
  Vec dup(kN);
  SwiGluBackward(gate.data(), up.data(), dy.data(), kN, dgate.data(),
                 dup.data());
  ExpectGradient(loss, &gate, dgate);
  ExpectGradient(loss, &up, dup);
}

// Gates from saturated to saturated, and what no gate should be.
std::vector<float> Gates(std::int64_t n) {
  std::vector<float> gates = Normal(n, 1);
  const std::vector<float> extremes = {
      0, -0.0F, 90, -90, 1e30F, -1e30F, 20, -20, kNaN, 1e-30F, kInfinity};
  for (std::size_t i = 0; i < extremes.size() && i < gates.size(); ++i) {
    gates[gates.size() - 1 - i] = extremes[i];
  }
  return gates;
}

template <typename T>
void ExpectTheDefinition(std::int64_t n) {
  constexpr DType kType = DTypeOf<T>::value;
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const Tensor gate = FromFloats(ctx, kType, Gates(n), {n});
  const Tensor up = Random(ctx, kType, {n}, 2);
  const Tensor dy = Random(ctx, kType, {n}, 3);
  Tensors actual;
  Tensors expected;
  for (int i = 0; i < 3; ++i) {
    actual.push_back(Poisoned(ctx, kType, {n}));
    expected.push_back(Poisoned(ctx, kType, {n}));
  }
  kernels::SwiGluForward(ctx, gate, up, &actual[0]);
  kernels::SwiGluBackward(ctx, gate, up, dy, &actual[1], &actual[2]);
  kernels::cpu::SwiGluForward(gate.data<T>(), up.data<T>(), n,
                              expected[0].data<T>());
  kernels::cpu::SwiGluBackward(gate.data<T>(), up.data<T>(), dy.data<T>(), n,
                               expected[1].data<T>(), expected[2].data<T>());
  // exp is good to 2e-7 in a few factors. Below 1e-30 what is saturated may be
  // a number of that size or 0. The derivative of the gate has a zero, where it
  // is a difference of large terms.
  const double rtol = sizeof(T) == 2 ? kRoundBF16 : 2e-6;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    SCOPED_TRACE(i);
    EXPECT_TRUE(Close(ToFloats(ctx, actual[i]), ToFloats(ctx, expected[i]),
                      {.atol = i == 1 ? 2e-6 : 1e-30, .rtol = rtol}));
  }
}

TEST(SwiGluTest, PiecesAgreeWithTheDefinition) {
  for (const std::int64_t n : {0, 1, 7, 999, 20000}) {
    SCOPED_TRACE(n);
    ExpectTheDefinition<float>(n);
    ExpectTheDefinition<BFloat16>(n);
  }
}

TEST(SwiGluDeathTest, ShapesMustFit) {
  DieInAProcessOfItsOwn();
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const Tensor gate = Random(ctx, DType::kF32, {3, 4}, 1);
  const Tensor up = Random(ctx, DType::kF32, {4, 3}, 1);
  Tensor y = gate.Clone(ctx);
  EXPECT_DEATH(kernels::SwiGluForward(ctx, gate, up, &y), "3, 4");
}

class SwiGluDeviceTest : public OpTest {};

INSTANTIATE_TEST_SUITE_P(All, SwiGluDeviceTest, AllDevicesAndTypes(),
                         OpTest::Name);

TEST_P(SwiGluDeviceTest, ForwardAndBackward) {
  for (const Shape& shape : {Shape{9, 111}, Shape{3, 10000}, Shape{0, 4}}) {
    const auto run = [this, shape](const ExecContext& ctx) {
      const Tensor gate = Random(ctx, dtype(), shape, 1);
      const Tensor up = Random(ctx, dtype(), shape, 2);
      Tensor y = Poisoned(ctx, dtype(), shape);
      Tensor dgate = Poisoned(ctx, dtype(), shape);
      Tensor dup = Poisoned(ctx, dtype(), shape);
      kernels::SwiGluForward(ctx, gate, up, &y);
      kernels::SwiGluBackward(ctx, gate, up, Random(ctx, dtype(), shape, 3),
                              &dgate, &dup);
      return Tensors{y, dgate, dup};
    };
    ExpectTheCpu(run, Rounding());
  }
}

}  // namespace
}  // namespace rtpurbo::testing
