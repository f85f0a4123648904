#include "kernels/embedding.h"

#include "kernels/cpu/embedding.h"
#include "tests/grad_check.h"
#include "tests/kernels/op_test.h"

namespace rtpurbo::testing {
namespace {

using Ids = std::vector<std::int32_t>;

// Repeats, and ids that no row has.
Ids SomeIds(std::int64_t n, std::int32_t V) {
  Ids ids;
  for (std::int64_t i = 0; i < n; ++i) {
    ids.push_back(static_cast<std::int32_t>((i * i * 5 + 2) % V));
  }
  return ids;
}

TEST(EmbeddingTest, BackwardIsTheDerivativeOfForward) {
  constexpr std::int64_t kV = 5;
  constexpr std::int64_t kD = 3;
  const Ids ids = {4, 1, 4, 4, 0};
  Vec w = RandomVec(kV * kD, 1);
  const Vec dy = RandomVec(ids.size() * kD, 2);
  const auto loss = [&] {
    Vec y(ids.size() * kD);
    kernels::cpu::EmbeddingForward(w.data(), ids.data(), kV, kD, 0, 5,
                                   y.data());
    return Dot(y, dy);
  };
  Vec dw(kV * kD);
  kernels::cpu::EmbeddingBackward(ids.data(), dy.data(), 5, kV, kD, 0, kD,
                                  dw.data());
  ExpectGradient(loss, &w, dw);
}

TEST(EmbeddingTest, RowsOfManyPiecesAreThoseOfTheTable) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const std::int64_t T : {0, 1, 257, 1000}) {
      const Ids ids = SomeIds(T, 50);
      const Tensor w = Random(ctx, dtype, {50, 70}, 1);
      Tensor y = Poisoned(ctx, dtype, {T, 70});
      kernels::EmbeddingForward(ctx, w, FromHost(ctx, ids, {T}), &y);
      for (std::int64_t t = 0; t < T; ++t) {
        const std::int64_t id = ids[static_cast<std::size_t>(t)];
        ASSERT_EQ(ToFloats(ctx, y.Slice(t, t + 1)),
                  ToFloats(ctx, w.Slice(id, id + 1)));
      }
    }
  }
}

TEST(EmbeddingTest, GradientsOfEqualIdsAddUpInOrder) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  constexpr std::int64_t kT = 400;
  constexpr std::int64_t kD = 130;  // three pieces of columns
  const Ids ids = SomeIds(kT, 7);
  const Tensor dy = Random(ctx, DType::kBF16, {kT, kD}, 1);
  Tensor dw = Random(ctx, DType::kF32, {7, kD}, 2);
  std::vector<float> expected = ToFloats(ctx, dw);
  const std::vector<float> grads = ToFloats(ctx, dy);
  for (std::size_t t = 0; t < kT; ++t) {
    for (std::size_t d = 0; d < kD; ++d) {
      expected[static_cast<std::size_t>(ids[t]) * kD + d] += grads[t * kD + d];
    }
  }
  kernels::EmbeddingBackward(ctx, FromHost(ctx, ids, {kT}), dy, &dw);
  EXPECT_EQ(ToFloats(ctx, dw), expected);
}

TEST(EmbeddingTest, ThreadsDoNotChangeAByte) {
  ExpectSameBytesForAnyThreads([](const ExecContext& ctx) {
    const Tensor id = FromHost(ctx, SomeIds(900, 40), {900});
    Tensor y = Poisoned(ctx, DType::kBF16, {900, 200});
    kernels::EmbeddingForward(ctx, Random(ctx, DType::kBF16, {40, 200}, 1), id,
                              &y);
    Tensor dw = Random(ctx, DType::kF32, {40, 200}, 2);
    kernels::EmbeddingBackward(ctx, id, y, &dw);
    return Tensors{y, dw};
  });
}

TEST(EmbeddingDeathTest, AnIdOutsideTheTableIsNamed) {
  DieInAProcessOfItsOwn();
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const Tensor w = Random(ctx, DType::kF32, {5, 2}, 1);
  const Tensor dy = Random(ctx, DType::kF32, {2, 2}, 1);
  Tensor y = Poisoned(ctx, DType::kF32, {2, 2});
  Tensor dw = Tensor::Zeros(ctx, DType::kF32, {5, 2});
  for (const std::int32_t bad : {5, -1}) {
    const Tensor id = FromHost(ctx, Ids{0, bad}, {2});
    const std::string message =
        "id " + std::to_string(bad) + " of row 1, but there are 5";
    EXPECT_DEATH(kernels::EmbeddingForward(ctx, w, id, &y), message);
    EXPECT_DEATH(kernels::EmbeddingBackward(ctx, id, dy, &dw), message);
  }
}

}  // namespace
}  // namespace rtpurbo::testing
