#include "kernels/permute.h"

#include <algorithm>
#include <numeric>

#include "kernels/cpu/permute.h"
#include "tests/grad_check.h"
#include "tests/kernels/op_test.h"

namespace rtpurbo::testing {
namespace {

using Ints = std::vector<std::int32_t>;

struct Layout {
  Tensor place;
  Tensor source;
  Tensor offset;
};

Layout MakeLayout(const ExecContext& ctx, const Ints& experts, std::int64_t K,
                  std::int64_t E) {
  const auto N = static_cast<std::int64_t>(experts.size());
  const Shape shape = {N / K, K};
  Layout layout{Poisoned(ctx, DType::kI32, shape),
                Poisoned(ctx, DType::kI32, {N}),
                Poisoned(ctx, DType::kI32, {E + 1})};
  kernels::PermuteLayout(ctx, FromHost(ctx, experts, shape), &layout.place,
                         &layout.source, &layout.offset);
  return layout;
}

// K different experts a token, some experts never.
Ints Experts(std::int64_t T, std::int64_t K, std::int64_t E) {
  Ints experts;
  for (std::int64_t t = 0; t < T; ++t) {
    for (std::int64_t k = 0; k < K; ++k) {
      experts.push_back(static_cast<std::int32_t>((t * t + k) % (E - 1)));
    }
  }
  return experts;
}

TEST(PermuteTest, LayoutIsAStableSortByExpert) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  for (const auto& [T, K, E] :
       {std::array{50, 3, 8}, {1, 1, 2}, {0, 2, 4}, {7, 4, 5}}) {
    const Ints experts = Experts(T, K, E);
    const Layout layout = MakeLayout(ctx, experts, K, E);
    Ints order(experts.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) {
      return experts[static_cast<std::size_t>(a)] <
             experts[static_cast<std::size_t>(b)];
    });
    EXPECT_EQ(ToHost<std::int32_t>(ctx, layout.source), order);
    const Ints place = ToHost<std::int32_t>(ctx, layout.place);
    for (std::size_t n = 0; n < order.size(); ++n) {
      EXPECT_EQ(place[static_cast<std::size_t>(order[n])],
                static_cast<std::int32_t>(n));
    }
    const Ints offset = ToHost<std::int32_t>(ctx, layout.offset);
    for (std::int32_t e = 0; e <= E; ++e) {
      EXPECT_EQ(offset[static_cast<std::size_t>(e)],
                std::count_if(experts.begin(), experts.end(),
                              [e](auto expert) { return expert < e; }));
    }
  }
}

// Of one token, by the layout of a token with three choices.
TEST(PermuteTest, CombineBackwardIsTheDerivativeOfCombine) {
  constexpr std::int64_t kN = 5;
  constexpr std::int64_t kK = 3;
  constexpr std::int64_t kD = 4;
  const std::int32_t place[kK] = {4, 0, 2};
  Vec x = RandomVec(kN * kD, 1);
  Vec weight = RandomVec(kK, 2);
  const Vec dy = RandomVec(kD, 3);
  const auto loss = [&] {
    Vec y(kD);
    kernels::cpu::CombineRow(x.data(), weight.data(), place, kK, kD, y.data());
    return Dot(y, dy);
  };
  Vec dx(kN * kD);
  Vec dweight(kK);
  kernels::cpu::CombineRowBackward(x.data(), weight.data(), place, dy.data(),
                                   kK, kD, dx.data(), dweight.data());
  ExpectGradient(loss, &x, dx);
  ExpectGradient(loss, &weight, dweight);
}

constexpr std::int64_t kT = 150;
constexpr std::int64_t kK = 3;
constexpr std::int64_t kE = 9;
constexpr std::int64_t kN = kT * kK;
constexpr std::int64_t kD = 21;

TEST(PermuteTest, RowsGoToTheirPlacesAndBack) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const Ints experts = Experts(kT, kK, kE);
  const Layout layout = MakeLayout(ctx, experts, kK, kE);
  const Ints place = ToHost<std::int32_t>(ctx, layout.place);
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const Tensor x = Random(ctx, dtype, {kT, kD}, 1);
    Tensor y = Poisoned(ctx, dtype, {kN, kD});
    kernels::PermuteForward(ctx, x, layout.source, kK, &y);
    for (std::int64_t n = 0; n < kN; ++n) {
      const std::int64_t at = place[static_cast<std::size_t>(n)];
      ASSERT_EQ(ToFloats(ctx, y.Slice(at, at + 1)),
                ToFloats(ctx, x.Slice(n / kK, n / kK + 1)));
    }
    Tensor sum = Poisoned(ctx, dtype, {kT, kD});
    kernels::PermuteBackward(ctx, y, layout.place, &sum);
    std::vector<float> thrice = ToFloats(ctx, x);
    for (float& value : thrice) {
      value = value + value + value;
    }
    EXPECT_EQ(ToFloats(ctx, sum),
              ToFloats(ctx, FromFloats(ctx, dtype, thrice, {kT, kD})));
  }
}

TEST(PermuteTest, PermuteBackwardIsItsTranspose) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const Layout layout = MakeLayout(ctx, Experts(kT, kK, kE), kK, kE);
  const Tensor x = Random(ctx, DType::kF32, {kT, kD}, 1);
  const Tensor dy = Random(ctx, DType::kF32, {kN, kD}, 2);
  Tensor y = Poisoned(ctx, DType::kF32, {kN, kD});
  Tensor dx = Poisoned(ctx, DType::kF32, {kT, kD});
  kernels::PermuteForward(ctx, x, layout.source, kK, &y);
  kernels::PermuteBackward(ctx, dy, layout.place, &dx);
  const auto dot = [&](const Tensor& a, const Tensor& b) {
    double sum = 0;
    for (std::int64_t i = 0; i < a.size(); ++i) {
      sum += double{a.data<float>()[i]} * b.data<float>()[i];
    }
    return sum;
  };
  EXPECT_NEAR(dot(y, dy), dot(x, dx), 1e-3);
}

template <typename T>
void ExpectCombineOfRows() {
  constexpr DType kType = DTypeOf<T>::value;
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const Layout layout = MakeLayout(ctx, Experts(kT, kK, kE), kK, kE);
  const Tensor x = Random(ctx, kType, {kN, kD}, 1);
  const Tensor weight = Random(ctx, DType::kF32, {kT, kK}, 2);
  const Tensor dy = Random(ctx, kType, {kT, kD}, 3);
  Tensor y = Poisoned(ctx, kType, {kT, kD});
  Tensor dx = Poisoned(ctx, kType, {kN, kD});
  Tensor dweight = Poisoned(ctx, DType::kF32, {kT, kK});
  kernels::CombineForward(ctx, x, weight, layout.place, &y);
  kernels::CombineBackward(ctx, x, weight, layout.place, dy, &dx, &dweight);

  const Tensor expected_y = Poisoned(ctx, kType, {kT, kD});
  const Tensor expected_dx = Poisoned(ctx, kType, {kN, kD});
  const Tensor expected_dweight = Poisoned(ctx, DType::kF32, {kT, kK});
  for (std::int64_t t = 0; t < kT; ++t) {
    const auto* place = layout.place.data<std::int32_t>() + t * kK;
    const float* w = weight.data<float>() + t * kK;
    kernels::cpu::CombineRow<T>(x.data<T>(), w, place, kK, kD,
                                expected_y.data<T>() + t * kD);
    kernels::cpu::CombineRowBackward<T>(
        x.data<T>(), w, place, dy.data<T>() + t * kD, kK, kD,
        expected_dx.data<T>(), expected_dweight.data<float>() + t * kK);
  }
  EXPECT_EQ(ToFloats(ctx, y), ToFloats(ctx, expected_y));
  EXPECT_EQ(ToFloats(ctx, dx), ToFloats(ctx, expected_dx));
  EXPECT_EQ(ToFloats(ctx, dweight), ToFloats(ctx, expected_dweight));

  // What nobody wants is not computed, and changes nothing else.
  Tensor none;
  Tensor dx_alone = Poisoned(ctx, kType, {kN, kD});
  Tensor dweight_alone = Poisoned(ctx, DType::kF32, {kT, kK});
  kernels::CombineBackward(ctx, x, weight, layout.place, dy, &dx_alone, &none);
  kernels::CombineBackward(ctx, x, weight, layout.place, dy, &none,
                           &dweight_alone);
  EXPECT_EQ(ToFloats(ctx, dx_alone), ToFloats(ctx, dx));
  EXPECT_EQ(ToFloats(ctx, dweight_alone), ToFloats(ctx, dweight));
}

TEST(PermuteTest, CombineOfManyRowsIsThatOfEach) {
  ExpectCombineOfRows<float>();
  ExpectCombineOfRows<BFloat16>();
}

TEST(PermuteTest, ThreadsDoNotChangeAByte) {
  ExpectSameBytesForAnyThreads([](const ExecContext& ctx) {
    const Layout layout = MakeLayout(ctx, Experts(kT, kK, kE), kK, kE);
    Tensor y = Poisoned(ctx, DType::kBF16, {kN, kD});
    kernels::PermuteForward(ctx, Random(ctx, DType::kBF16, {kT, kD}, 1),
                            layout.source, kK, &y);
    Tensor back = Poisoned(ctx, DType::kBF16, {kT, kD});
    kernels::CombineForward(ctx, y, Random(ctx, DType::kF32, {kT, kK}, 2),
                            layout.place, &back);
    return Tensors{layout.place, layout.source, layout.offset, y, back};
  });
}

TEST(PermuteDeathTest, AnExpertThatDoesNotExistIsNamed) {
  DieInAProcessOfItsOwn();
  const auto device = *Device::Open(DeviceType::kCpu);
  EXPECT_DEATH(MakeLayout(device->ctx(), {0, 1, 4, 2}, 2, 4),
               "expert 4 of choice 2");
  EXPECT_DEATH(MakeLayout(device->ctx(), {0, -1, 3, 2}, 2, 4),
               "expert -1 of choice 1");
}

}  // namespace
}  // namespace rtpurbo::testing
