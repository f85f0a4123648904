// Range attention on a CUDA device against the CPU: every pattern, every width
// that a Hopper kernel takes, and widths that only the portable one takes.

#include "kernels/range_attention.h"

#include <algorithm>

#include "tests/kernels/attention_cases.h"
#include "tests/kernels/cuda/device_against_cpu.h"

namespace rtpurbo::testing {
namespace {

class RangeAttentionCudaTest : public CudaTest {
 protected:
  void ExpectTheCpuOn(const AttentionCase& c) const {
    SCOPED_TRACE(c.name);
    ExpectTheCpu([&](const ExecContext& ctx) { return Run(c, ctx); });
  }

 private:
  DeviceResults Run(const AttentionCase& c, const ExecContext& ctx) const {
    const Shape query = {c.T, c.H, c.C};
    const Shape key = {c.N(), c.G, c.C};
    const kernels::AttentionPattern pattern = c.Pattern(ctx);
    const kernels::AttentionInputs in = {
        Random(ctx, dtype(), query, 1), Random(ctx, dtype(), key, 2),
        Random(ctx, dtype(), key, 3), c.query_begin};
    Tensor o = Unwritten(ctx, dtype(), query);
    Tensor lse = Unwritten(ctx, DType::kF32, {c.H, c.T});
    kernels::RangeAttentionForward(ctx, pattern, in, &o, &lse);
    Tensor dq = Unwritten(ctx, dtype(), query);
    Tensor dk = Unwritten(ctx, dtype(), key);
    Tensor dv = Unwritten(ctx, dtype(), key);
    kernels::RangeAttentionBackward(ctx, pattern, in, o, lse,
                                    Random(ctx, dtype(), query, 4), &dq, &dk,
                                    &dv);
    return {o, lse, dq, dk, dv};
  }
};

INSTANTIATE_TEST_SUITE_P(Types, RangeAttentionCudaTest,
                         ::testing::Values(DType::kF32, DType::kBF16),
                         [](const auto& p) { return Name(p.param); });

TEST_P(RangeAttentionCudaTest, SmallPatterns) {
  for (const AttentionCase& c : SmallAttentionCases()) {
    ExpectTheCpuOn(c);
  }
}

TEST_P(RangeAttentionCudaTest, PatternsAcrossTiles) {
  for (const AttentionCase& c : TiledAttentionCases()) {
    ExpectTheCpuOn(c);
  }
}

TEST_P(RangeAttentionCudaTest, PatternsAcrossTilesInTheWidthsOfHopper) {
  for (const std::int64_t width : {32, 64, 128}) {
    for (AttentionCase c : TiledAttentionCases()) {
      c.C = width;
      c.scale = 0.1F;
      ExpectTheCpuOn(c);
    }
  }
}

// NaN in keys that no row of a tile sees reaches nothing, and gets gradient 0.
TEST_P(RangeAttentionCudaTest, UnseenKeysMayHoldAnything) {
  const AttentionCase c = {.name = "Unseen",
                           .T = 60,
                           .C = 64,
                           .query_begin = 320,
                           .keys_after = 70,
                           .sinks = 4,
                           .window_H = {50, 20, 0}};
  const auto unseen = [](std::int64_t j) {
    return (j >= 4 && j < 270) || j >= 380;
  };
  ExpectTheCpu([&](const ExecContext& ctx) {
    const Shape query = {c.T, c.H, c.C};
    const Shape key = {c.N(), c.G, c.C};
    std::vector<float> k = Normal(NumElements(key), 2);
    std::vector<float> v = Normal(NumElements(key), 3);
    for (std::int64_t i = 0; i < NumElements(key); ++i) {
      if (unseen(i / c.C)) {
        k[static_cast<std::size_t>(i)] = std::nanf("");
        v[static_cast<std::size_t>(i)] = std::nanf("");
      }
    }
    const kernels::AttentionPattern pattern = c.Pattern(ctx);
    const kernels::AttentionInputs in = {
        Random(ctx, dtype(), query, 1), FromFloats(ctx, dtype(), k, key),
        FromFloats(ctx, dtype(), v, key), c.query_begin};
    Tensor o = Unwritten(ctx, dtype(), query);
    Tensor lse = Unwritten(ctx, DType::kF32, {c.H, c.T});
    kernels::RangeAttentionForward(ctx, pattern, in, &o, &lse);
    Tensor dq = Unwritten(ctx, dtype(), query);
    Tensor dk = Unwritten(ctx, dtype(), key);
    Tensor dv = Unwritten(ctx, dtype(), key);
    kernels::RangeAttentionBackward(ctx, pattern, in, o, lse,
                                    Random(ctx, dtype(), query, 4), &dq, &dk,
                                    &dv);
    return DeviceResults{o, lse, dq, dk, dv};
  });
}

TEST_P(RangeAttentionCudaTest, GradientsThatNobodyWantsAreNotComputed) {
  const AttentionCase c = {.name = "Some", .T = 70, .C = 64};
  for (int wanted = 0; wanted < 3; ++wanted) {
    ExpectTheCpu([&](const ExecContext& ctx) {
      const Shape query = {c.T, c.H, c.C};
      const Shape key = {c.N(), c.G, c.C};
      const kernels::AttentionPattern pattern = c.Pattern(ctx);
      const kernels::AttentionInputs in = {Random(ctx, dtype(), query, 1),
                                           Random(ctx, dtype(), key, 2),
                                           Random(ctx, dtype(), key, 3), 0};
      Tensor o = Unwritten(ctx, dtype(), query);
      Tensor lse = Unwritten(ctx, DType::kF32, {c.H, c.T});
      kernels::RangeAttentionForward(ctx, pattern, in, &o, &lse);
      Tensor gradients[3];
      gradients[wanted] = Unwritten(ctx, dtype(), wanted == 0 ? query : key);
      kernels::RangeAttentionBackward(
          ctx, pattern, in, o, lse, Random(ctx, dtype(), query, 4),
          &gradients[0], &gradients[1], &gradients[2]);
      return DeviceResults{gradients[wanted]};
    });
  }
}

}  // namespace
}  // namespace rtpurbo::testing
