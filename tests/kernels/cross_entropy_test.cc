#include "kernels/cross_entropy.h"

#include <cmath>

#include "kernels/cpu/cross_entropy.h"
#include "kernels/cpu/softmax_fast.h"
#include "tests/grad_check.h"
#include "tests/kernels/op_test.h"

namespace rtpurbo::testing {
namespace {

std::vector<std::int32_t> Labels(std::int64_t T, std::int64_t V) {
  std::vector<std::int32_t> labels;
  for (std::int64_t t = 0; t < T; ++t) {
    labels.push_back(static_cast<std::int32_t>((t * 7 + V - 1) % V));
  }
  return labels;
}

TEST(CrossEntropyTest, BackwardIsTheDerivativeOfTheSum) {
  using kernels::cpu::CrossEntropyBackward;
  using kernels::cpu::CrossEntropyForward;
  constexpr std::size_t kT = 2;
  constexpr std::size_t kV = 11;
  Vec z = RandomVec(kT * kV, 1);
  const std::int32_t label[kT] = {4, 10};
  const Complex dloss = 0.3;
  Vec lse(kT);
  const auto loss = [&] {
    Complex value;
    CrossEntropyForward(z.data(), label, kT, kV, lse.data(), &value);
    return dloss * value;
  };
  loss();
  Vec dz(kT * kV);
  CrossEntropyBackward(z.data(), label, lse.data(), &dloss, kT, kV, dz.data());
  ExpectGradient(loss, &z, dz);
}

template <typename T>
void ExpectTheDefinition(std::int64_t T_, std::int64_t V, float scale) {
  constexpr DType kType = DTypeOf<T>::value;
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  std::vector<float> logits = Normal(T_ * V, 1);
  for (float& logit : logits) {
    logit *= scale;
  }
  const Tensor z = FromFloats(ctx, kType, logits, {T_, V});
  const std::vector<std::int32_t> labels = Labels(T_, V);
  const Tensor label = FromHost(ctx, labels, {T_});
  const float dloss = 0.3F;

  Tensor lse = Poisoned(ctx, DType::kF32, {T_});
  Tensor loss = Poisoned(ctx, DType::kF32, {1});
  Tensor dz = Poisoned(ctx, kType, {T_, V});
  kernels::CrossEntropyForward(ctx, z, label, &lse, &loss);
  kernels::CrossEntropyBackward(ctx, z, label, lse, Scalar(ctx, dloss), &dz);

  const Tensor expected_lse = Poisoned(ctx, DType::kF32, {T_});
  const Tensor expected_dz = Poisoned(ctx, kType, {T_, V});
  float expected_loss = kNaN;
  kernels::cpu::CrossEntropyForward(z.data<T>(), labels.data(), T_, V,
                                    expected_lse.data<float>(), &expected_loss);
  kernels::cpu::CrossEntropyBackward(z.data<T>(), labels.data(),
                                     expected_lse.data<float>(), &dloss, T_, V,
                                     expected_dz.data<T>());
  EXPECT_TRUE(Close(ToFloats(ctx, lse), ToFloats(ctx, expected_lse),
                    {.atol = kRoundF32, .rtol = kRoundF32}));
  EXPECT_TRUE(Close(ToFloats(ctx, loss), {expected_loss},
                    {.atol = kRoundF32, .rtol = 2 * kRoundF32}));
  // A probability inherits the absolute error of z - lse.
  const double rtol =
      kRoundF32 * (1 + scale) + (sizeof(T) == 2 ? kRoundBF16 : 0);
  EXPECT_TRUE(Close(ToFloats(ctx, dz), ToFloats(ctx, expected_dz),
                    {.atol = 1e-6, .rtol = rtol}));
}

TEST(CrossEntropyTest, PiecesAgreeWithTheDefinition) {
  for (const auto& [T, V] :
       {std::pair{0, 5}, {1, 1}, {9, 17}, {3, 4099}, {100, 33}}) {
    for (const float scale : {1.0F, 30.0F, 1e4F}) {
      SCOPED_TRACE(::testing::Message() << T << " x " << V << " x " << scale);
      ExpectTheDefinition<float>(T, V, scale);
      ExpectTheDefinition<BFloat16>(T, V, scale);
    }
  }
}

TEST(CrossEntropyTest, LogSumExpOfInfinitiesAndNaN) {
  using kernels::cpu::FastLogSumExp;
  std::vector<float> z(40, -kInfinity);
  EXPECT_EQ(FastLogSumExp(z.data(), 40), -kInfinity);
  EXPECT_EQ(FastLogSumExp(z.data(), 0), -kInfinity);
  z[33] = 7;
  EXPECT_EQ(FastLogSumExp(z.data(), 40), 7);
  z[3] = kNaN;
  EXPECT_TRUE(std::isnan(FastLogSumExp(z.data(), 40)));
}

TEST(CrossEntropyDeathTest, ALabelOutsideTheVocabularyIsNamed) {
  DieInAProcessOfItsOwn();
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const Tensor z = Random(ctx, DType::kF32, {2, 5}, 1);
  Tensor lse = Poisoned(ctx, DType::kF32, {2});
  Tensor loss = Poisoned(ctx, DType::kF32, {1});
  const auto run = [&](std::int32_t bad) {
    const Tensor label = FromHost(ctx, std::vector<std::int32_t>{4, bad}, {2});
    kernels::CrossEntropyForward(ctx, z, label, &lse, &loss);
  };
  run(0);
  EXPECT_DEATH(run(5), "label 5 of row 1, but there are 5");
  EXPECT_DEATH(run(-1), "label -1 of row 1");
}

class CrossEntropyDeviceTest : public OpTest {};

INSTANTIATE_TEST_SUITE_P(All, CrossEntropyDeviceTest, AllDevicesAndTypes(),
                         OpTest::Name);

TEST_P(CrossEntropyDeviceTest, ForwardAndBackwardAlsoOfNoRows) {
  for (const std::int64_t T : {0, 1, 300}) {
    const auto run = [this, T](const ExecContext& ctx) {
      constexpr std::int64_t kV = 517;
      const Tensor z = Random(ctx, dtype(), {T, kV}, 1);
      const Tensor label = FromHost(ctx, Labels(T, kV), {T});
      Tensor lse = Poisoned(ctx, DType::kF32, {T});
      Tensor loss = Poisoned(ctx, DType::kF32, {1});
      kernels::CrossEntropyForward(ctx, z, label, &lse, &loss);
      Tensor dz = Poisoned(ctx, dtype(), {T, kV});
      kernels::CrossEntropyBackward(ctx, z, label, lse, Scalar(ctx, 0.3F), &dz);
      return Tensors{lse, loss, dz};
    };
    ExpectTheCpu(run, Rounding());
  }
}

}  // namespace
}  // namespace rtpurbo::testing
