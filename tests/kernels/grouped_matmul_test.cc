#include "kernels/grouped_matmul.h"

#include <cmath>

#include "kernels/cpu/grouped_matmul.h"
#include "tests/grad_check.h"
#include "tests/kernels/op_test.h"

namespace rtpurbo::testing {
namespace {

using Offsets = std::vector<std::int32_t>;

// Experts without rows at the start, in the middle and at the end; one of many
// rows; no rows at all; a single expert.
const std::vector<Offsets>& Layouts() {
  static const auto& layouts = *new std::vector<Offsets>{
      {0, 0, 5, 5, 18, 18}, {0, 300, 301, 429}, {0, 0, 0}, {0, 40}, {0, 1}};
  return layouts;
}

TEST(GroupedMatmulTest, DefinitionsAreDerivativesOfEachOther) {
  constexpr std::size_t kN = 5;
  constexpr std::size_t kK = 3;
  constexpr std::size_t kM = 2;
  constexpr std::size_t kE = 3;
  const std::int32_t offset[kE + 1] = {0, 2, 2, 5};
  for (const bool trans_w : {false, true}) {
    Vec a = RandomVec(kN * kK, 1);
    Vec w = RandomVec(kE * kK * kM, 2);
    const Vec dc = RandomVec(kN * kM, 3);
    const auto loss = [&] {
      Vec c(kN * kM);
      kernels::cpu::GroupedMatmul(a.data(), offset, w.data(), kE, kK, kM,
                                  trans_w, c.data());
      return Dot(c, dc);
    };
    Vec da(kN * kK);
    Vec dw(kE * kK * kM);
    kernels::cpu::GroupedMatmul(dc.data(), offset, w.data(), kE, kM, kK,
                                !trans_w, da.data());
    const Vec& left = trans_w ? dc : a;
    const Vec& right = trans_w ? a : dc;
    kernels::cpu::GroupedMatmulWeightGrad(left.data(), right.data(), offset, kE,
                                          trans_w ? kM : kK, trans_w ? kK : kM,
                                          dw.data());
    ExpectGradient(loss, &a, da);
    ExpectGradient(loss, &w, dw);
  }
}

template <typename T>
void ExpectTheDefinition(const Offsets& offsets, bool trans_w) {
  constexpr std::int64_t kK = 33;
  constexpr std::int64_t kM = 20;
  constexpr DType kType = DTypeOf<T>::value;
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const auto E = static_cast<std::int64_t>(offsets.size()) - 1;
  const std::int64_t N = offsets.back();
  const Tensor offset = FromHost(ctx, offsets, {E + 1});
  const Tensor a = Random(ctx, kType, {N, kK}, 1);
  const Tensor b = Random(ctx, kType, {N, kM}, 2);
  const Tensor w =
      Random(ctx, kType, trans_w ? Shape{E, kM, kK} : Shape{E, kK, kM}, 3);

  Tensor c = Poisoned(ctx, kType, {N, kM});
  const Tensor expected_c = c.Clone(ctx);
  kernels::GroupedMatmul(ctx, a, offset, w, trans_w, &c);
  kernels::cpu::GroupedMatmul(a.data<T>(), offsets.data(), w.data<T>(), E, kK,
                              kM, trans_w, expected_c.data<T>());
  const double round = kRoundF32 * std::sqrt(static_cast<double>(kK));
  EXPECT_TRUE(Close(
      ToFloats(ctx, c), ToFloats(ctx, expected_c),
      {.atol = round, .rtol = round + (sizeof(T) == 2 ? kRoundBF16 : 0)}));

  Tensor dw = Random(ctx, DType::kF32, {E, kK, kM}, 4);  // is added to
  const Tensor expected_dw = dw.Clone(ctx);
  kernels::GroupedMatmulWeightGrad(ctx, a, b, offset, &dw);
  kernels::cpu::GroupedMatmulWeightGrad(a.data<T>(), b.data<T>(),
                                        offsets.data(), E, kK, kM,
                                        expected_dw.data<float>());
  const double sum = kRoundF32 * std::sqrt(static_cast<double>(N) + 1);
  EXPECT_TRUE(Close(ToFloats(ctx, dw), ToFloats(ctx, expected_dw),
                    {.atol = sum, .rtol = sum}));
}

TEST(GroupedMatmulTest, TilesAgreeWithTheDefinition) {
  for (const Offsets& offsets : Layouts()) {
    for (const bool trans_w : {false, true}) {
      SCOPED_TRACE(::testing::PrintToString(offsets));
      ExpectTheDefinition<float>(offsets, trans_w);
      ExpectTheDefinition<BFloat16>(offsets, trans_w);
    }
  }
}

TEST(GroupedMatmulTest, AnExpertWithoutRowsKeepsItsGradient) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const Tensor offset = FromHost(ctx, Offsets{0, 0, 3}, {3});
  const Tensor rows = Random(ctx, DType::kF32, {3, 2}, 1);
  Tensor dw = FromHost(ctx, std::vector<float>(8, 7), {2, 2, 2});
  kernels::GroupedMatmulWeightGrad(ctx, rows, rows, offset, &dw);
  EXPECT_EQ(ToFloats(ctx, dw.Slice(0, 1)), std::vector<float>(4, 7));
  EXPECT_NE(ToFloats(ctx, dw.Slice(1, 2)), std::vector<float>(4, 7));
}

TEST(GroupedMatmulTest, TilesOfManyThreadsHaveTheSameBytes) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    ExpectSameBytesForAnyThreads([dtype](const ExecContext& ctx) {
      const Tensor offset = FromHost(ctx, Offsets{0, 7, 7, 300, 411}, {5});
      const Tensor a = Random(ctx, dtype, {411, 65}, 1);
      const Tensor w = Random(ctx, dtype, {4, 600, 65}, 2);
      Tensor c = Poisoned(ctx, dtype, {411, 600});
      kernels::GroupedMatmul(ctx, a, offset, w, true, &c);
      Tensor dw = Random(ctx, DType::kF32, {4, 600, 65}, 3);
      kernels::GroupedMatmulWeightGrad(ctx, c, a, offset, &dw);
      return Tensors{c, dw};
    });
  }
}

TEST(GroupedMatmulDeathTest, OffsetsMustCoverTheRows) {
  DieInAProcessOfItsOwn();
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const Tensor a = Random(ctx, DType::kF32, {5, 2}, 1);
  const Tensor w = Random(ctx, DType::kF32, {2, 2, 2}, 2);
  Tensor c = Poisoned(ctx, DType::kF32, {5, 2});
  const auto run = [&](const Offsets& offsets) {
    const Tensor offset =
        FromHost(ctx, offsets, {static_cast<std::int64_t>(offsets.size())});
    kernels::GroupedMatmul(ctx, a, offset, w, false, &c);
  };
  run({0, 2, 5});
  EXPECT_DEATH(run({0, 2, 4}), "of the last expert");
  EXPECT_DEATH(run({0, 6, 5}), "of expert 1");
  EXPECT_DEATH(run({1, 2, 5}), "offset\\[0\\]");
  EXPECT_DEATH(run({0, 5}), "check failed");
}

}  // namespace
}  // namespace rtpurbo::testing
