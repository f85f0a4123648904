#include "kernels/gate_heads.h"

#include <cmath>

#include "kernels/cpu/gate_heads.h"
#include "tests/grad_check.h"
#include "tests/kernels/op_test.h"

namespace rtpurbo::testing {
namespace {

TEST(GateHeadsTest, BackwardIsTheDerivativeOfForward) {
  constexpr std::size_t kC = 6;
  Vec full = RandomVec(kC, 1);
  Vec local = RandomVec(kC, 2);
  Vec gate = RandomVec(1, 3);
  const Vec dy = RandomVec(kC, 4);
  const auto loss = [&] {
    Vec y(kC);
    kernels::cpu::GateHead(full.data(), local.data(), gate[0], kC, y.data());
    return Dot(y, dy);
  };
  Vec dfull(kC);
  Vec dlocal(kC);
  const Complex dgate = kernels::cpu::GateHeadBackward(
      full.data(), local.data(), gate[0], dy.data(), kC, dfull.data(),
      dlocal.data());
  ExpectGradient(loss, &full, dfull);
  ExpectGradient(loss, &local, dlocal);
  ExpectGradient(loss, &gate, {dgate});
}

struct Problem {
  Tensor full;
  Tensor local;
  Tensor gate;
  Tensor dy;
};

Problem MakeProblem(const ExecContext& ctx, DType dtype, const Shape& shape) {
  return {Random(ctx, dtype, shape, 1), Random(ctx, dtype, shape, 2),
          Random(ctx, DType::kF32, {shape[1]}, 3),
          Random(ctx, dtype, shape, 4)};
}

template <typename T>
void ExpectHeads(const Shape& shape) {
  constexpr DType kType = DTypeOf<T>::value;
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const Problem in = MakeProblem(ctx, kType, shape);
  const std::int64_t H = shape[1];
  const std::int64_t C = shape[2];
  Tensor y = Poisoned(ctx, kType, shape);
  Tensor dfull = Poisoned(ctx, kType, shape);
  Tensor dlocal = Poisoned(ctx, kType, shape);
  Tensor dgate = Random(ctx, DType::kF32, {H}, 5);  // is added to
  std::vector<float> expected_dgate(static_cast<std::size_t>(H));
  const std::vector<float> before = ToFloats(ctx, dgate);
  kernels::GateHeadsForward(ctx, in.full, in.local, in.gate, &y);
  kernels::GateHeadsBackward(ctx, in.full, in.local, in.gate, in.dy, &dfull,
                             &dlocal, &dgate);
  const Tensor expected_y = Poisoned(ctx, kType, shape);
  const Tensor expected_dfull = Poisoned(ctx, kType, shape);
  const Tensor expected_dlocal = Poisoned(ctx, kType, shape);
  for (std::int64_t i = 0; i < shape[0] * H; ++i) {
    const float gate = in.gate.data<float>()[i % H];
    const T* full = in.full.data<T>() + i * C;
    const T* local = in.local.data<T>() + i * C;
    kernels::cpu::GateHead<T>(full, local, gate, C,
                              expected_y.data<T>() + i * C);
    expected_dgate[static_cast<std::size_t>(i % H)] +=
        kernels::cpu::GateHeadBackward<T>(full, local, gate,
                                          in.dy.data<T>() + i * C, C,
                                          expected_dfull.data<T>() + i * C,
                                          expected_dlocal.data<T>() + i * C);
  }
  for (std::size_t h = 0; h < before.size(); ++h) {
    expected_dgate[h] = before[h] + expected_dgate[h];
  }
  EXPECT_EQ(ToFloats(ctx, y), ToFloats(ctx, expected_y));
  EXPECT_EQ(ToFloats(ctx, dfull), ToFloats(ctx, expected_dfull));
  EXPECT_EQ(ToFloats(ctx, dlocal), ToFloats(ctx, expected_dlocal));
  EXPECT_EQ(ToFloats(ctx, dgate), expected_dgate);

  Tensor none;
  Tensor dlocal_alone = Poisoned(ctx, kType, shape);
  kernels::GateHeadsBackward(ctx, in.full, in.local, in.gate, in.dy, &none,
                             &dlocal_alone, &none);
  EXPECT_EQ(ToFloats(ctx, dlocal_alone), ToFloats(ctx, dlocal));
}

TEST(GateHeadsTest, EachHeadOfEachRowIsMixedByItsGate) {
  for (const Shape& shape :
       {Shape{0, 2, 4}, Shape{1, 1, 1}, Shape{70, 3, 5}, Shape{200, 1, 24}}) {
    ExpectHeads<float>(shape);
    ExpectHeads<BFloat16>(shape);
  }
}

TEST(GateHeadsTest, GatesOfOneAndZeroPickASide) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const Problem in = MakeProblem(ctx, DType::kBF16, {9, 1, 8});
  Tensor y = Poisoned(ctx, DType::kBF16, {9, 1, 8});
  kernels::GateHeadsForward(ctx, in.full, in.local, Scalar(ctx, 1), &y);
  EXPECT_EQ(ToFloats(ctx, y), ToFloats(ctx, in.full));
  kernels::GateHeadsForward(ctx, in.full, in.local, Scalar(ctx, 0), &y);
  EXPECT_EQ(ToFloats(ctx, y), ToFloats(ctx, in.local));
}

TEST(GateHeadsTest, ThreadsDoNotChangeAByte) {
  ExpectSameBytesForAnyThreads([](const ExecContext& ctx) {
    const Problem in = MakeProblem(ctx, DType::kF32, {300, 5, 12});
    Tensor y = Poisoned(ctx, DType::kF32, {300, 5, 12});
    Tensor dfull = y.Clone(ctx);
    Tensor dlocal = y.Clone(ctx);
    Tensor dgate = Tensor::Zeros(ctx, DType::kF32, {5});
    kernels::GateHeadsForward(ctx, in.full, in.local, in.gate, &y);
    kernels::GateHeadsBackward(ctx, in.full, in.local, in.gate, in.dy, &dfull,
                               &dlocal, &dgate);
    return Tensors{y, dfull, dlocal, dgate};
  });
}

}  // namespace
}  // namespace rtpurbo::testing
