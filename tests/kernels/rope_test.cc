#include "kernels/rope.h"

#include <cmath>
#include <numeric>

#include "kernels/cpu/rope.h"
#include "tests/grad_check.h"
#include "tests/kernels/op_test.h"

namespace rtpurbo::testing {
namespace {

struct Tables {
  Tensor cosine;
  Tensor sine;
};

Tables MakeTables(const ExecContext& ctx, double base, std::int64_t n,
                  std::int64_t C) {
  Tables tables{Poisoned(ctx, DType::kF32, {n, C / 2}),
                Poisoned(ctx, DType::kF32, {n, C / 2})};
  kernels::RopeTables(ctx, base, n, C, &tables.cosine, &tables.sine);
  return tables;
}

TEST(RopeTest, TurningBackIsTheDerivativeOfTurning) {
  constexpr std::int64_t kH = 2;
  constexpr std::int64_t kC = 6;
  const float cosine[] = {0.6F, 0.8F, -1};
  const float sine[] = {0.8F, -0.6F, 0};
  Vec x = RandomVec(kH * kC, 1);
  const Vec dy = RandomVec(kH * kC, 2);
  const auto loss = [&] {
    Vec y(kH * kC);
    kernels::cpu::RopeRow(x.data(), cosine, sine, kH, kC, 1, y.data());
    return Dot(y, dy);
  };
  Vec dx(kH * kC);
  kernels::cpu::RopeRow(dy.data(), cosine, sine, kH, kC, -1, dx.data());
  ExpectGradient(loss, &x, dx);
}

TEST(RopeTest, TablesHaveTheFrequenciesOfThePaper) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  constexpr std::int64_t kN = 5000;
  constexpr std::int64_t kC = 24;
  constexpr double kBase = 1e6;
  const auto [cosine, sine] = MakeTables(ctx, kBase, kN, kC);
  for (const std::int64_t t : {0, 1, 17, 4999}) {
    for (std::int64_t c = 0; c < kC / 2; ++c) {
      const double angle = static_cast<double>(t) *
                           std::pow(kBase, -2.0 * static_cast<double>(c) / kC);
      // The angle is rounded to f32: the error grows with the position.
      const double tolerance = 1e-6 + 3e-7 * angle;
      const std::int64_t i = t * (kC / 2) + c;
      EXPECT_NEAR(cosine.data<float>()[i], std::cos(angle), tolerance);
      EXPECT_NEAR(sine.data<float>()[i], std::sin(angle), tolerance);
    }
  }
}

// As published implementations do: frequencies and angles are rounded to f32,
// which far positions show.
TEST(RopeTest, AnglesAreRoundedToF32) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const auto [cosine, sine] = MakeTables(ctx, 10000, 100004, 8);
  for (std::int64_t c = 0; c < 4; ++c) {
    const float frequency =
        1.0F / std::pow(10000.0F, static_cast<float>(2 * c) / 8.0F);
    const float angle = 100003.0F * frequency;
    const std::int64_t i = std::int64_t{100003} * 4 + c;
    EXPECT_NEAR(cosine.data<float>()[i], std::cos(double{angle}), 1e-7);
    EXPECT_NEAR(sine.data<float>()[i], std::sin(double{angle}), 1e-7);
  }
  // In f64 this angle is 10000.3, in f32 10000.2998046875: visibly different.
  EXPECT_GT(std::abs(cosine.data<float>()[100003 * 4 + 1] - std::cos(10000.3)),
            5e-5);
}

TEST(RopeTest, EachRowTurnsByItsOwnPosition) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  constexpr std::int64_t kT = 131;
  constexpr std::int64_t kH = 3;
  constexpr std::int64_t kC = 10;
  const auto [cosine, sine] = MakeTables(ctx, 1e4, 64, kC);
  std::vector<std::int32_t> positions(kT);
  for (std::size_t t = 0; t < positions.size(); ++t) {
    positions[t] = static_cast<std::int32_t>(t * 29 % 64);
  }
  const Tensor x = Random(ctx, DType::kF32, {kT, kH, kC}, 1);
  const Tensor position = FromHost(ctx, positions, {kT});
  Tensor y = Poisoned(ctx, DType::kF32, {kT, kH, kC});
  kernels::Rope(ctx, x, position, cosine, sine, false, &y);
  for (std::int64_t i = 0; i < x.size(); ++i) {
    const std::int64_t c = i % kC;
    const std::int64_t pair = i - c + (c + kC / 2) % kC;
    const auto at =
        positions[static_cast<std::size_t>(i / (kH * kC))] * (kC / 2) +
        c % (kC / 2);
    const double sign = c < kC / 2 ? -1 : 1;
    const double expected =
        double{x.data<float>()[i]} * cosine.data<float>()[at] +
        sign * x.data<float>()[pair] * sine.data<float>()[at];
    ASSERT_NEAR(y.data<float>()[i], expected, 1e-6) << i;
  }
}

TEST(RopeTest, TurningBackInPlaceRestoresTheInput) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const auto [cosine, sine] = MakeTables(ctx, 1e4, 100, 32);
  const Tensor x = Random(ctx, DType::kF32, {100, 2, 32}, 1);
  std::vector<std::int32_t> positions(100);
  std::iota(positions.begin(), positions.end(), 0);
  const Tensor position = FromHost(ctx, positions, {100});
  Tensor y = x.Clone(ctx);
  kernels::Rope(ctx, y, position, cosine, sine, false, &y);
  EXPECT_NE(ToFloats(ctx, y), ToFloats(ctx, x));
  kernels::Rope(ctx, y, position, cosine, sine, true, &y);
  EXPECT_TRUE(Close(ToFloats(ctx, y), ToFloats(ctx, x), {.atol = 1e-6}));
}

TEST(RopeTest, ThreadsDoNotChangeAByte) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const std::int64_t T : {0, 1, 300}) {
      ExpectSameBytesForAnyThreads([dtype, T](const ExecContext& ctx) {
        const auto [cosine, sine] = MakeTables(ctx, 1e4, 9, 16);
        const Tensor position = FromHost(
            ctx, std::vector<std::int32_t>(static_cast<std::size_t>(T), 8),
            {T});
        Tensor y = Poisoned(ctx, dtype, {T, 2, 16});
        kernels::Rope(ctx, Random(ctx, dtype, {T, 2, 16}, 1), position, cosine,
                      sine, false, &y);
        return Tensors{y};
      });
    }
  }
}

TEST(RopeDeathTest, APositionBeyondTheTablesIsNamed) {
  DieInAProcessOfItsOwn();
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const Tables tables = MakeTables(ctx, 1e4, 9, 4);
  const Tensor x = Random(ctx, DType::kF32, {1, 2, 4}, 1);
  Tensor y = x.Clone(ctx);
  const Tensor position = FromHost(ctx, std::vector<std::int32_t>{9}, {1});
  EXPECT_DEATH(
      kernels::Rope(ctx, x, position, tables.cosine, tables.sine, false, &y),
      "position 9 of row 0 is beyond the rotation tables of 9");
}

}  // namespace
}  // namespace rtpurbo::testing
