#include "kernels/top_k_kl.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/cpu/top_k_kl.h"
#include "tests/grad_check.h"
#include "tests/kernels/op_test.h"

namespace rtpurbo::testing {
namespace {

using Ints = std::vector<std::int32_t>;

TEST(TopKKlTest, BackwardIsTheDerivativeOfTheLoss) {
  constexpr std::int64_t kV = 9;
  constexpr std::int64_t kD = 5;
  constexpr std::int64_t kK = 4;
  const std::int32_t id[kK] = {7, 0, 3, 8};
  Vec x = RandomVec(kD, 1);
  Vec w = RandomVec(kV * kD, 2);
  const Vec teacher = RandomVec(kK, 3);
  const Complex dloss = 0.3;
  Vec dz(kK);
  const auto loss = [&] {
    Vec ignored(kK);
    return dloss * kernels::cpu::TopKKlRow(x.data(), w.data(), id,
                                           teacher.data(), kK, kD,
                                           ignored.data());
  };
  kernels::cpu::TopKKlRow(x.data(), w.data(), id, teacher.data(), kK, kD,
                          dz.data());
  Vec dx(kD);
  Vec dw(kV * kD);
  kernels::cpu::TopKKlRowInput(w.data(), id, dz.data(), dloss, kK, kD,
                               dx.data());
  kernels::cpu::TopKKlRowWeight(x.data(), id, dz.data(), dloss, kK, kD, 0, kD,
                                dw.data());
  ExpectGradient(loss, &x, dx);
  ExpectGradient(loss, &w, dw);
}

struct Problem {
  Tensor x;
  Tensor w;
  Tensor id;
  Tensor teacher;
};

constexpr std::int64_t kV = 60;
constexpr std::int64_t kD = 130;  // three pieces of columns
constexpr std::int64_t kK = 10;

Problem MakeProblem(const ExecContext& ctx, DType dtype, std::int64_t L) {
  Ints ids;
  for (std::int64_t l = 0; l < L; ++l) {
    for (std::int64_t k = 0; k < kK; ++k) {  // different within a row
      ids.push_back(static_cast<std::int32_t>((l * 13 + k * 7) % kV));
    }
  }
  return {Random(ctx, dtype, {L, kD}, 1), Random(ctx, dtype, {kV, kD}, 2),
          FromHost(ctx, ids, {L, kK}), Random(ctx, DType::kF32, {L, kK}, 3)};
}

template <typename T>
void ExpectRows(std::int64_t L) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const Problem in = MakeProblem(ctx, DTypeOf<T>::value, L);
  const float dloss = 0.7F;
  Tensor dz = Poisoned(ctx, DType::kF32, {L, kK});
  Tensor loss = Poisoned(ctx, DType::kF32, {1});
  Tensor dx = Poisoned(ctx, DTypeOf<T>::value, {L, kD});
  Tensor dw = Random(ctx, DType::kF32, {kV, kD}, 4);  // is added to
  const Tensor expected_dw = dw.Clone(ctx);
  kernels::TopKKlForward(ctx, in.x, in.w, in.id, in.teacher, &dz, &loss);
  kernels::TopKKlBackward(ctx, in.x, in.w, in.id, dz, Scalar(ctx, dloss), &dx,
                          &dw);
  const Tensor expected_dz = Poisoned(ctx, DType::kF32, {L, kK});
  const Tensor expected_dx = Poisoned(ctx, DTypeOf<T>::value, {L, kD});
  double sum = 0;
  for (std::int64_t l = 0; l < L; ++l) {
    const T* x = in.x.data<T>() + l * kD;
    const auto* id = in.id.data<std::int32_t>() + l * kK;
    float* row_dz = expected_dz.data<float>() + l * kK;
    const double one = kernels::cpu::TopKKlRow<T>(
        x, in.w.data<T>(), id, in.teacher.data<float>() + l * kK, kK, kD,
        row_dz);
    EXPECT_GE(one, -1e-5) << "a KL is not negative";
    sum += one;
    kernels::cpu::TopKKlRowInput<T>(in.w.data<T>(), id, row_dz, dloss, kK, kD,
                                    expected_dx.data<T>() + l * kD);
    kernels::cpu::TopKKlRowWeight<T>(x, id, row_dz, dloss, kK, kD, 0, kD,
                                     expected_dw.data<float>());
  }
  EXPECT_NEAR(ToFloat(ctx, loss), sum, 1e-6 * (1 + sum));
  EXPECT_EQ(ToFloats(ctx, dz), ToFloats(ctx, expected_dz));
  EXPECT_EQ(ToFloats(ctx, dx), ToFloats(ctx, expected_dx));
  EXPECT_EQ(ToFloats(ctx, dw), ToFloats(ctx, expected_dw));

  Tensor none;
  Tensor dx_alone = Poisoned(ctx, DTypeOf<T>::value, {L, kD});
  kernels::TopKKlBackward(ctx, in.x, in.w, in.id, dz, Scalar(ctx, dloss),
                          &dx_alone, &none);
  EXPECT_EQ(ToFloats(ctx, dx_alone), ToFloats(ctx, dx));
  kernels::TopKKlBackward(ctx, in.x, in.w, in.id, dz, Scalar(ctx, 0), &none,
                          &dw);
  EXPECT_EQ(ToFloats(ctx, dw), ToFloats(ctx, expected_dw));
}

TEST(TopKKlTest, ManyRowsAreTheSumOfEach) {
  for (const std::int64_t L : {0, 1, 9, 50}) {
    SCOPED_TRACE(L);
    ExpectRows<float>(L);
    ExpectRows<BFloat16>(L);
  }
}

TEST(TopKKlTest, AStudentThatAgreesUpToAConstantHasNoLoss) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const Tensor x = FromHost(ctx, std::vector<float>{1}, {1, 1});
  const Tensor w = FromHost(ctx, std::vector<float>{1, 5, -2, 90}, {4, 1});
  const Tensor id = FromHost(ctx, Ints{1, 0, 2}, {1, 3});
  const Tensor teacher = FromHost(ctx, std::vector<float>{9, 5, 2}, {1, 3});
  Tensor dz = Poisoned(ctx, DType::kF32, {1, 3});
  Tensor loss = Poisoned(ctx, DType::kF32, {1});
  kernels::TopKKlForward(ctx, x, w, id, teacher, &dz, &loss);
  EXPECT_NEAR(ToFloat(ctx, loss), 0, 1e-6);
  EXPECT_TRUE(
      Close(ToFloats(ctx, dz), {0, 0, 0}, {.atol = 1e-6, .max_difference = 1}));
}

// By sorting everything.
void ExpectTheHighest(const ExecContext& ctx, const Tensor& z, std::int64_t K) {
  const std::int64_t L = z.dim(0);
  Tensor value = Poisoned(ctx, DType::kF32, {L, K});
  Tensor id = Poisoned(ctx, DType::kI32, {L, K});
  Tensor lse = Poisoned(ctx, DType::kF32, {L});
  kernels::TopK(ctx, z, &value, &id, &lse);
  for (std::int64_t l = 0; l < L; ++l) {
    const std::vector<float> row = ToFloats(ctx, z.Slice(l, l + 1));
    Ints order(row.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) {
      return row[static_cast<std::size_t>(a)] >
             row[static_cast<std::size_t>(b)];
    });
    double sum = 0;
    for (const float logit : row) {
      sum += std::exp(double{logit});
    }
    EXPECT_NEAR(lse.data<float>()[l], std::log(sum), 1e-5);
    for (std::int64_t k = 0; k < K; ++k) {
      const std::int32_t expected = order[static_cast<std::size_t>(k)];
      ASSERT_EQ(id.data<std::int32_t>()[l * K + k], expected);
      ASSERT_EQ(value.data<float>()[l * K + k],
                row[static_cast<std::size_t>(expected)]);
    }
  }
}

TEST(TopKTest, TakesTheHighestAndOfEqualOnesTheLower) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  for (const auto& [L, V, K] :
       {std::array{20, 300, 10}, {1, 1, 1}, {0, 5, 2}, {9, 10, 10}}) {
    std::vector<float> logits = Normal(std::int64_t{L} * V, 1);
    ExpectTheHighest(ctx, FromHost(ctx, logits, {L, V}), K);
    for (float& logit : logits) {
      logit = std::round(logit);  // many ties
    }
    ExpectTheHighest(ctx, FromFloats(ctx, DType::kBF16, logits, {L, V}), K);
  }
}

TEST(TopKTest, NaNIsTheLowestAndSpoilsTheLogSum) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const Tensor z = FromHost(
      ctx, std::vector<float>{kNaN, 1, kNaN, -kInfinity, 2, kNaN}, {1, 6});
  Tensor value = Poisoned(ctx, DType::kF32, {1, 5});
  Tensor id = Poisoned(ctx, DType::kI32, {1, 5});
  Tensor lse = Poisoned(ctx, DType::kF32, {1});
  kernels::TopK(ctx, z, &value, &id, &lse);
  EXPECT_EQ(ToHost<std::int32_t>(ctx, id), (Ints{4, 1, 3, 0, 2}));
  EXPECT_TRUE(std::isnan(ToFloat(ctx, lse)));
}

TEST(TopKKlTest, ThreadsDoNotChangeAByte) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    ExpectSameBytesForAnyThreads([dtype](const ExecContext& ctx) {
      const Problem in = MakeProblem(ctx, dtype, 70);
      Tensor dz = Poisoned(ctx, DType::kF32, {70, kK});
      Tensor loss = Poisoned(ctx, DType::kF32, {1});
      Tensor dx = Poisoned(ctx, dtype, {70, kD});
      Tensor dw = Random(ctx, DType::kF32, {kV, kD}, 4);
      kernels::TopKKlForward(ctx, in.x, in.w, in.id, in.teacher, &dz, &loss);
      kernels::TopKKlBackward(ctx, in.x, in.w, in.id, dz, loss, &dx, &dw);
      Tensor value = Poisoned(ctx, DType::kF32, {70, 4});
      Tensor id = Poisoned(ctx, DType::kI32, {70, 4});
      Tensor lse = Poisoned(ctx, DType::kF32, {70});
      kernels::TopK(ctx, in.x, &value, &id, &lse);
      return Tensors{dz, loss, dx, dw, value, id, lse};
    });
  }
}

TEST(TopKKlDeathTest, ALabelOutsideTheVocabularyIsNamed) {
  DieInAProcessOfItsOwn();
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const Tensor x = Random(ctx, DType::kF32, {1, 2}, 1);
  const Tensor w = Random(ctx, DType::kF32, {5, 2}, 1);
  Tensor dz = Poisoned(ctx, DType::kF32, {1, 1});
  Tensor loss = Poisoned(ctx, DType::kF32, {1});
  const Tensor id = FromHost(ctx, Ints{5}, {1, 1});
  EXPECT_DEATH(kernels::TopKKlForward(
                   ctx, x, w, id, Scalar(ctx, 0).Reshape({1, 1}), &dz, &loss),
               "label 5");
}

}  // namespace
}  // namespace rtpurbo::testing
