#include "kernels/router.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/cpu/router.h"
#include "tests/grad_check.h"
#include "tests/kernels/op_test.h"

namespace rtpurbo::testing {
namespace {

TEST(RouterTest, BackwardIsTheDerivativeWithTheChoiceHeldFixed) {
  constexpr std::int64_t kE = 7;
  constexpr std::int64_t kK = 3;
  const std::int32_t expert[kK] = {5, 0, 3};
  const Vec dweight = RandomVec(kK, 2);
  for (const bool normalize : {false, true}) {
    Vec z = RandomVec(kE, 1);
    const auto probabilities = [&] {
      Vec prob(kE);
      kernels::cpu::RouterSoftmax(z.data(), kE, prob.data());
      return prob;
    };
    const auto loss = [&] {
      const Vec prob = probabilities();
      Vec weight(kK);
      kernels::cpu::RouterWeights(prob.data(), expert, kK, normalize,
                                  weight.data());
      return Dot(weight, dweight);
    };
    Vec dz(kE);
    kernels::cpu::RouterBackward(probabilities().data(), expert, kE, kK,
                                 normalize, dweight.data(), dz.data());
    ExpectGradient(loss, &z, dz);
  }
}

struct Routed {
  Tensor prob;
  Tensor expert;
};

Routed Select(const ExecContext& ctx, const Tensor& z, std::int64_t K) {
  Routed routed{Poisoned(ctx, DType::kF32, z.shape()),
                Poisoned(ctx, DType::kI32, {z.dim(0), K})};
  kernels::RouterSelect(ctx, z, &routed.prob, &routed.expert);
  return routed;
}

// The K first of all experts sorted by falling score, then by index.
std::vector<std::int32_t> SortAll(const std::vector<float>& z_E,
                                  std::int64_t K) {
  std::vector<std::int32_t> order(z_E.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) {
    return z_E[static_cast<std::size_t>(a)] > z_E[static_cast<std::size_t>(b)];
  });
  order.resize(static_cast<std::size_t>(K));
  return order;
}

// A diverged model must not break the order that the choice sorts by.
TEST(RouterTest, RowsOfNaNStillChooseDifferentExperts) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const std::vector<float> scores(20, std::nanf(""));
  const Routed routed = Select(ctx, FromHost(ctx, scores, {1, 20}), 3);
  EXPECT_EQ(ToHost<std::int32_t>(ctx, routed.expert),
            (std::vector<std::int32_t>{0, 1, 2}));
}

TEST(RouterTest, TakesTheHighestAndOfEqualOnesTheLower) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  constexpr std::int64_t kT = 300;
  constexpr std::int64_t kE = 12;
  for (const std::int64_t K : {1, 5, 12}) {
    std::vector<float> scores = Normal(kT * kE, 1);
    for (float& score : scores) {
      score = std::round(score);  // many ties
    }
    const Tensor z = FromHost(ctx, scores, {kT, kE});
    const Routed routed = Select(ctx, z, K);
    for (std::int64_t t = 0; t < kT; ++t) {
      const std::vector<float> row = ToFloats(ctx, z.Slice(t, t + 1));
      ASSERT_EQ(ToHost<std::int32_t>(ctx, routed.expert.Slice(t, t + 1)),
                SortAll(row, K))
          << t;
      double sum = 0;
      for (const float score : row) {
        sum += std::exp(double{score});
      }
      for (std::int64_t e = 0; e < kE; ++e) {
        const double expected =
            std::exp(double{row[static_cast<std::size_t>(e)]}) / sum;
        ASSERT_NEAR(routed.prob.data<float>()[t * kE + e], expected,
                    1e-6 * expected);
      }
    }
  }
}

TEST(RouterTest, HugeScoresStillSumToOne) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const Tensor z =
      FromHost(ctx, std::vector<float>{-1e30F, 3e38F, 3e38F, 0}, {1, 4});
  const Routed routed = Select(ctx, z, 2);
  EXPECT_EQ(ToFloats(ctx, routed.prob), (std::vector<float>{0, 0.5F, 0.5F, 0}));
  EXPECT_EQ(ToHost<std::int32_t>(ctx, routed.expert),
            (std::vector<std::int32_t>{1, 2}));
}

TEST(RouterTest, WeightsAreSharesOfTheTakenIfNormalized) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const Tensor prob =
      FromHost(ctx, std::vector<float>{0.5F, 0.125F, 0.25F, 0.125F}, {1, 4});
  const Tensor expert = FromHost(ctx, std::vector<std::int32_t>{2, 0}, {1, 2});
  Tensor weight = Poisoned(ctx, DType::kF32, {1, 2});
  kernels::RouterWeights(ctx, prob, expert, false, &weight);
  EXPECT_EQ(ToFloats(ctx, weight), (std::vector<float>{0.25F, 0.5F}));
  kernels::RouterWeights(ctx, prob, expert, true, &weight);
  EXPECT_TRUE(
      Close(ToFloats(ctx, weight), {1 / 3.0F, 2 / 3.0F}, {.rtol = 1e-6}));
}

template <typename T>
void ExpectBackwardOfRows(std::int64_t T_, bool normalize) {
  constexpr std::int64_t kE = 9;
  constexpr std::int64_t kK = 4;
  constexpr DType kType = DTypeOf<T>::value;
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const Routed routed = Select(ctx, Random(ctx, kType, {T_, kE}, 1), kK);
  const Tensor dweight = Random(ctx, DType::kF32, {T_, kK}, 2);
  Tensor dz = Poisoned(ctx, kType, {T_, kE});
  kernels::RouterBackward(ctx, routed.prob, routed.expert, normalize, dweight,
                          &dz);
  const Tensor expected = Poisoned(ctx, kType, {T_, kE});
  for (std::int64_t t = 0; t < T_; ++t) {
    kernels::cpu::RouterBackward(
        routed.prob.data<float>() + t * kE,
        routed.expert.data<std::int32_t>() + t * kK, kE, kK, normalize,
        dweight.data<float>() + t * kK, expected.data<T>() + t * kE);
  }
  EXPECT_EQ(ToFloats(ctx, dz), ToFloats(ctx, expected));
}

TEST(RouterTest, BackwardOfManyRowsIsThatOfEach) {
  for (const std::int64_t T : {0, 1, 129, 300}) {
    for (const bool normalize : {false, true}) {
      ExpectBackwardOfRows<float>(T, normalize);
      ExpectBackwardOfRows<BFloat16>(T, normalize);
    }
  }
}

TEST(RouterTest, ThreadsDoNotChangeAByte) {
  ExpectSameBytesForAnyThreads([](const ExecContext& ctx) {
    const Routed routed =
        Select(ctx, Random(ctx, DType::kBF16, {500, 16}, 1), 4);
    Tensor weight = Poisoned(ctx, DType::kF32, {500, 4});
    kernels::RouterWeights(ctx, routed.prob, routed.expert, true, &weight);
    Tensor dz = Poisoned(ctx, DType::kBF16, {500, 16});
    kernels::RouterBackward(ctx, routed.prob, routed.expert, true, weight, &dz);
    return Tensors{routed.prob, routed.expert, weight, dz};
  });
}

TEST(RouterDeathTest, MoreChoicesThanExpertsAreRefused) {
  DieInAProcessOfItsOwn();
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const Tensor z = Random(ctx, DType::kF32, {2, 3}, 1);
  EXPECT_DEATH(Select(ctx, z, 4), "4 vs 3");
}

}  // namespace
}  // namespace rtpurbo::testing
