#include "kernels/head_projection.h"

#include "kernels/cpu/head_projection.h"
#include "tests/grad_check.h"
#include "tests/kernels/op_test.h"

namespace rtpurbo::testing {
namespace {

using Heads = std::vector<std::int32_t>;

TEST(HeadProjectionTest, BackwardIsTheDerivativeOfForward) {
  constexpr std::int64_t kR = 3;
  constexpr std::int64_t kC = 5;
  const Vec x = RandomVec(kC, 1);
  Vec w = RandomVec(kR * kC, 2);
  const Vec dy = RandomVec(kR, 3);
  const auto loss = [&] {
    Vec y(kR);
    kernels::cpu::ProjectHead(x.data(), w.data(), kR, kC, y.data());
    return Dot(y, dy);
  };
  Vec dw(kR * kC);
  kernels::cpu::ProjectHeadWeightGrad(x.data(), dy.data(), kR, kC, dw.data());
  ExpectGradient(loss, &w, dw);
}

constexpr std::int64_t kH = 4;
constexpr std::int64_t kR = 8;
constexpr std::int64_t kC = 24;

template <typename T>
void ExpectSlots(std::int64_t T_, const Heads& heads) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const auto S = static_cast<std::int64_t>(heads.size());
  const Tensor x = Random(ctx, DTypeOf<T>::value, {T_, kH, kC}, 1);
  const Tensor w = Random(ctx, DType::kF32, {S, kR, kC}, 2);
  const Tensor dy = Random(ctx, DType::kF32, {T_, S, kR}, 3);
  Tensor y = Poisoned(ctx, DType::kF32, {T_, S, kR});
  Tensor dw = Random(ctx, DType::kF32, {S, kR, kC}, 4);  // is added to
  const Tensor expected_y = Poisoned(ctx, DType::kF32, {T_, S, kR});
  const Tensor expected_dw = dw.Clone(ctx);
  kernels::HeadProjectionForward(ctx, x, w, heads, &y);
  kernels::HeadProjectionBackward(ctx, x, dy, heads, &dw);
  for (std::int64_t t = 0; t < T_; ++t) {
    for (std::int64_t s = 0; s < S; ++s) {
      const T* head =
          x.data<T>() + (t * kH + heads[static_cast<std::size_t>(s)]) * kC;
      const std::int64_t row = (t * S + s) * kR;
      kernels::cpu::ProjectHead(head, w.data<float>() + s * kR * kC, kR, kC,
                                expected_y.data<float>() + row);
      kernels::cpu::ProjectHeadWeightGrad(
          head, dy.data<float>() + row, kR, kC,
          expected_dw.data<float>() + s * kR * kC);
    }
  }
  EXPECT_EQ(ToFloats(ctx, y), ToFloats(ctx, expected_y));
  EXPECT_EQ(ToFloats(ctx, dw), ToFloats(ctx, expected_dw));
}

TEST(HeadProjectionTest, EachSlotProjectsItsHead) {
  for (const std::int64_t T : {0, 1, 130}) {
    for (const Heads& heads : {Heads{3, 0, 3}, Heads{2}, Heads{}}) {
      ExpectSlots<float>(T, heads);
      ExpectSlots<BFloat16>(T, heads);
    }
  }
}

TEST(HeadProjectionTest, ThreadsDoNotChangeAByte) {
  ExpectSameBytesForAnyThreads([](const ExecContext& ctx) {
    const Heads heads = {3, 0, 1};
    const Tensor x = Random(ctx, DType::kBF16, {300, kH, kC}, 1);
    Tensor y = Poisoned(ctx, DType::kF32, {300, 3, kR});
    kernels::HeadProjectionForward(
        ctx, x, Random(ctx, DType::kF32, {3, kR, kC}, 2), heads, &y);
    Tensor dw = Tensor::Zeros(ctx, DType::kF32, {3, kR, kC});
    kernels::HeadProjectionBackward(ctx, x, y, heads, &dw);
    return Tensors{y, dw};
  });
}

TEST(HeadProjectionDeathTest, AHeadThatDoesNotExistIsNamed) {
  DieInAProcessOfItsOwn();
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const Tensor x = Random(ctx, DType::kF32, {2, kH, kC}, 1);
  const Tensor w = Random(ctx, DType::kF32, {1, kR, kC}, 2);
  Tensor y = Poisoned(ctx, DType::kF32, {2, 1, kR});
  EXPECT_DEATH(kernels::HeadProjectionForward(ctx, x, w, {4}, &y),
               "head 4 of 4");
  EXPECT_DEATH(kernels::HeadProjectionForward(ctx, x, w, {0, 1}, &y), "2 vs 1");
}

}  // namespace
}  // namespace rtpurbo::testing
