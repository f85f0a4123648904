#include "kernels/matmul.h"

#include <cmath>

#include "kernels/cpu/matmul.h"
#include "tests/grad_check.h"
#include "tests/kernels/op_test.h"

namespace rtpurbo::testing {
namespace {

using kernels::MatmulShape;

// Empty, tiny, odd, and around the sides of a tile (128 x 512).
constexpr std::int64_t kSizes[][3] = {
    {0, 5, 3},     {5, 0, 3},    {5, 3, 0},      {1, 1, 1},
    {1, 700, 9},   {13, 10, 37}, {127, 3, 65},   {128, 512, 2},
    {129, 513, 3}, {257, 1, 5},  {300, 33, 200}, {3, 2, 4000}};

struct Operands {
  Tensor a;
  Tensor b;
};

Operands MakeOperands(const ExecContext& ctx, DType dtype,
                      const MatmulShape& s) {
  return {Random(ctx, dtype, s.trans_a ? Shape{s.K, s.M} : Shape{s.M, s.K}, 1),
          Random(ctx, dtype, s.trans_b ? Shape{s.N, s.K} : Shape{s.K, s.N}, 2)};
}

TEST(MatmulTest, DefinitionIsLinearInBothOperands) {
  using kernels::cpu::Matmul;
  Vec a = RandomVec(6, 1);
  Vec b = RandomVec(12, 2);
  const Vec dc = RandomVec(8, 3);
  const auto loss = [&] {
    Vec c(8);
    Matmul({2, 4, 3, false, true}, a.data(), b.data(), 0, c.data());
    return Dot(c, dc);
  };
  Vec da(6);
  Vec db(12);
  Matmul({2, 3, 4, false, false}, dc.data(), b.data(), 0, da.data());
  Matmul({4, 3, 2, true, false}, dc.data(), a.data(), 0, db.data());
  ExpectGradient(loss, &a, da);
  ExpectGradient(loss, &b, db);
}

template <typename T, typename C>
void ExpectTheDefinition(const MatmulShape& shape, float beta) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const Operands in = MakeOperands(ctx, DTypeOf<T>::value, shape);
  const Shape c_shape = {shape.M, shape.N};
  Tensor actual = beta == 0 ? Poisoned(ctx, DTypeOf<C>::value, c_shape)
                            : Random(ctx, DTypeOf<C>::value, c_shape, 3);
  const Tensor expected = actual.Clone(ctx);
  kernels::Matmul(ctx, in.a, shape.trans_a, in.b, shape.trans_b, beta, &actual);
  kernels::cpu::Matmul(shape, in.a.data<T>(), in.b.data<T>(), beta,
                       expected.data<C>());
  // Sums of K terms in another order, then one rounding.
  const double round = kRoundF32 * std::sqrt(static_cast<double>(shape.K) + 1);
  const double store = sizeof(C) == 2 ? kRoundBF16 : 0;
  EXPECT_TRUE(Close(ToFloats(ctx, actual), ToFloats(ctx, expected),
                    {.atol = round, .rtol = round + store}));
}

void ExpectTheDefinitionOfAnyTypes(const MatmulShape& shape) {
  for (const float beta : {0.0F, 1.0F, 0.5F}) {
    SCOPED_TRACE(::testing::Message()
                 << shape.M << " " << shape.N << " " << shape.K << " "
                 << shape.trans_a << shape.trans_b << " " << beta);
    ExpectTheDefinition<float, float>(shape, beta);
    ExpectTheDefinition<BFloat16, BFloat16>(shape, beta);
    ExpectTheDefinition<BFloat16, float>(shape, beta);
    ExpectTheDefinition<float, BFloat16>(shape, beta);
  }
}

TEST(MatmulTest, TilesAgreeWithTheDefinition) {
  for (const auto& [M, N, K] : kSizes) {
    for (const bool trans_a : {false, true}) {
      for (const bool trans_b : {false, true}) {
        ExpectTheDefinitionOfAnyTypes({M, N, K, trans_a, trans_b});
      }
    }
  }
}

TEST(MatmulTest, NaNAndInfinityReachTheirOwnRowAndColumnOnly) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  constexpr std::int64_t kM = 133;
  constexpr std::int64_t kN = 517;
  constexpr std::int64_t kK = 19;
  const Tensor a = Random(ctx, DType::kF32, {kM, kK}, 1);
  const Tensor b = Random(ctx, DType::kF32, {kK, kN}, 2);
  a.data<float>()[130 * kK + 7] = kNaN;
  b.data<float>()[3 * kN + 515] = kInfinity;
  Tensor c = Poisoned(ctx, DType::kF32, {kM, kN});
  kernels::Matmul(ctx, a, false, b, false, 0, &c);
  for (std::int64_t m = 0; m < kM; ++m) {
    for (std::int64_t n = 0; n < kN; ++n) {
      const float value = c.data<float>()[m * kN + n];
      ASSERT_EQ(std::isnan(value), m == 130) << m << ", " << n;
      ASSERT_EQ(std::isinf(value), m != 130 && n == 515) << m << ", " << n;
    }
  }
}

TEST(MatmulTest, TilesOfManyThreadsHaveTheSameBytes) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    ExpectSameBytesForAnyThreads([dtype](const ExecContext& ctx) {
      Tensors results;
      for (const bool trans : {false, true}) {
        const auto [a, b] =
            MakeOperands(ctx, dtype, {300, 1100, 40, trans, !trans});
        results.push_back(Poisoned(ctx, dtype, {300, 1100}));
        kernels::Matmul(ctx, a, trans, b, !trans, 0, &results.back());
      }
      return results;
    });
  }
}

TEST(MatmulDeathTest, SidesAndTypesMustFit) {
  DieInAProcessOfItsOwn();
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const Tensor a = Random(ctx, DType::kF32, {4, 6}, 1);
  const Tensor b = Random(ctx, DType::kF32, {5, 7}, 2);
  const Tensor h = Random(ctx, DType::kBF16, {6, 7}, 2);
  Tensor c = Poisoned(ctx, DType::kF32, {4, 7});
  EXPECT_DEATH(kernels::Matmul(ctx, a, false, b, false, 0, &c), "4, 6");
  EXPECT_DEATH(kernels::Matmul(ctx, a, false, h, false, 0, &c), "f32 x bf16");
  EXPECT_DEATH(kernels::Matmul(ctx, b, true, b, false, 0, &c), "check failed");
}

class MatmulDeviceTest : public OpTest {};

INSTANTIATE_TEST_SUITE_P(All, MatmulDeviceTest, AllDevicesAndTypes(),
                         OpTest::Name);

TEST_P(MatmulDeviceTest, ProductsOfAllTranspositions) {
  constexpr std::int64_t kM = 13;
  constexpr std::int64_t kN = 10;
  constexpr std::int64_t kK = 37;
  const auto run = [this](const ExecContext& ctx) {
    Tensors results;
    for (const bool ta : {false, true}) {
      for (const bool tb : {false, true}) {
        const Shape a_shape = ta ? Shape{kK, kM} : Shape{kM, kK};
        const Shape b_shape = tb ? Shape{kN, kK} : Shape{kK, kN};
        const Tensor taller =
            Random(ctx, dtype(), {a_shape[0] + 1, a_shape[1]}, 1);
        const Tensor a = taller.Slice(1, taller.dim(0));  // hardly aligned
        const Tensor b = Random(ctx, dtype(), b_shape, 2);
        results.push_back(Poisoned(ctx, dtype(), {kM, kN}));
        kernels::Matmul(ctx, a, ta, b, tb, 0, &results.back());
        results.push_back(Random(ctx, DType::kF32, {kM, kN}, 3));
        kernels::Matmul(ctx, a, ta, b, tb, 1, &results.back());
      }
    }
    return results;
  };
  ExpectTheCpu(run, Rounding());
}

}  // namespace
}  // namespace rtpurbo::testing
