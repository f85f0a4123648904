// The tiled operator against the definition in double precision, and what it
// promises beside numbers: the same bits with any number of threads, outputs
// overwritten, and the memory it takes.

#include <cmath>
#include <limits>

#include "kernels/core/parallel.h"
#include "kernels/cpu/range_attention.h"
#include "kernels/range_attention.h"
#include "tests/device_test.h"
#include "tests/kernels/attention_cases.h"

namespace rtpurbo::testing {
namespace {

using kernels::AttentionInputs;
using kernels::AttentionPattern;
using kernels::AttentionView;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::vector<double> Doubles(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

struct DoubleAttention {
  std::vector<double> o_THC;
  std::vector<double> lse_HT;
  std::vector<double> dq_THC;
  std::vector<double> dk_NGC;
  std::vector<double> dv_NGC;
};

DoubleAttention RunInDouble(const AttentionCase& c, const FloatAttention& a) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const AttentionPattern pattern = c.Pattern(device->ctx());
  const AttentionView view = kernels::ViewOf(
      pattern, FromHost(device->ctx(), a.q_THC, {c.T, c.H, c.C}),
      FromHost(device->ctx(), a.k_NGC, {c.N(), c.G, c.C}), c.query_begin);
  const std::vector<double> q = Doubles(a.q_THC);
  const std::vector<double> k = Doubles(a.k_NGC);
  const std::vector<double> v = Doubles(a.v_NGC);
  const std::vector<double> d_o = Doubles(a.do_THC);
  DoubleAttention out = {q, std::vector<double>(a.lse_HT.size()), q, k, v};
  const kernels::cpu::RangeAttentionArgs<double> args = {view, q.data(),
                                                         k.data(), v.data()};
  kernels::cpu::RangeAttentionForward(args, out.o_THC.data(),
                                      out.lse_HT.data());
  kernels::cpu::RangeAttentionBackward<double>(
      args, {out.o_THC.data(), out.lse_HT.data(), d_o.data()},
      out.dq_THC.data(), out.dk_NGC.data(), out.dv_NGC.data());
  return out;
}

// The same infinities, no NaN, and |a - b| <= tolerance max(1, |b|).
void ExpectClose(const std::vector<float>& actual,
                 const std::vector<double>& expected, double tolerance,
                 const char* what) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (std::isinf(expected[i])) {
      ASSERT_EQ(actual[i], expected[i]) << what << " " << i;
    } else {
      ASSERT_NEAR(actual[i], expected[i],
                  tolerance * std::max(1.0, std::abs(expected[i])))
          << what << " " << i;
    }
  }
}

std::vector<AttentionCase> AllCases() {
  std::vector<AttentionCase> cases = TiledAttentionCases();
  for (AttentionCase& c : cases) {
    c.name += "Tiled";
  }
  for (const AttentionCase& c : SmallAttentionCases()) {
    cases.push_back(c);
  }
  cases.push_back({.name = "T1000",
                   .T = 1000,
                   .H = 5,
                   .G = 2,
                   .C = 7,
                   .sinks = 3,
                   .window_H = {kDense, 100, 100, kDense, 100},
                   .kv_head_H = {0, 1, 1, 0, 0},
                   .documents = {0, 400, 401},
                   .selected_rows = 90,
                   .slot_H = {0, -1, -1, 1, -1},
                   .block = 64});
  return cases;
}

class RangeAttentionFastTest : public ::testing::TestWithParam<AttentionCase> {
};

INSTANTIATE_TEST_SUITE_P(Patterns, RangeAttentionFastTest,
                         ::testing::ValuesIn(AllCases()),
                         [](const auto& p) { return p.param.name; });

TEST_P(RangeAttentionFastTest, IsTheDefinitionUpToRounding) {
  const AttentionCase& c = GetParam();
  FloatAttention a(c);
  RunOperator(c, &a);
  const DoubleAttention b = RunInDouble(c, a);
  // Sums of some 100 products of numbers of size 1, each rounded to 6e-8.
  constexpr double kTolerance = 1e-5;
  ExpectClose(a.o_THC, b.o_THC, kTolerance, "o");
  ExpectClose(a.lse_HT, b.lse_HT, kTolerance, "lse");
  ExpectClose(a.dq_THC, b.dq_THC, kTolerance, "dq");
  ExpectClose(a.dk_NGC, b.dk_NGC, kTolerance, "dk");
  ExpectClose(a.dv_NGC, b.dv_NGC, kTolerance, "dv");
}

TEST_P(RangeAttentionFastTest, HasTheSameBitsInEveryRunWithAnyThreads) {
  const AttentionCase& c = GetParam();
  const int threads = NumThreads();
  FloatAttention first(c);
  RunOperator(c, &first);
  for (const int n : {1, 2, 3}) {
    SetNumThreads(n);
    FloatAttention again(c);
    RunOperator(c, &again);
    EXPECT_EQ(first.o_THC, again.o_THC) << n << " threads";
    EXPECT_EQ(first.lse_HT, again.lse_HT) << n << " threads";
    EXPECT_EQ(first.dq_THC, again.dq_THC) << n << " threads";
    EXPECT_EQ(first.dk_NGC, again.dk_NGC) << n << " threads";
    EXPECT_EQ(first.dv_NGC, again.dv_NGC) << n << " threads";
  }
  SetNumThreads(threads);
}

// Tensors of one case, for calls that are not like all others.
struct Tensors {
  Tensors(const AttentionCase& c, DType dtype)
      : device(*Device::Open(DeviceType::kCpu)),
        ctx(device->ctx()),
        pattern(c.Pattern(ctx)),
        in{Random(ctx, dtype, {c.T, c.H, c.C}, 1),
           Random(ctx, dtype, {c.N(), c.G, c.C}, 2),
           Random(ctx, dtype, {c.N(), c.G, c.C}, 3), c.query_begin},
        d_o(Random(ctx, dtype, {c.T, c.H, c.C}, 4)),
        o(Poisoned(dtype, in.q_THC.shape())),
        lse(Poisoned(DType::kF32, {c.H, c.T})),
        dq(Poisoned(dtype, in.q_THC.shape())),
        dk(Poisoned(dtype, in.k_NGC.shape())),
        dv(Poisoned(dtype, in.k_NGC.shape())) {}

  Tensor Poisoned(DType dtype, const Shape& shape) const {
    Tensor tensor = Tensor::Empty(ctx, dtype, shape);
    kernels::Fill(ctx, kNaN, &tensor);
    return tensor;
  }
  void Forward() { RangeAttentionForward(ctx, pattern, in, &o, &lse); }
  void Backward() {
    RangeAttentionBackward(ctx, pattern, in, o, lse, d_o, &dq, &dk, &dv);
  }

  std::unique_ptr<Device> device;
  ExecContext ctx;
  AttentionPattern pattern;
  AttentionInputs in;
  Tensor d_o;
  Tensor o;
  Tensor lse;
  Tensor dq;
  Tensor dk;
  Tensor dv;
};

TEST(RangeAttentionFastCallTest, Bf16IsTheDefinitionOfRoundedInputs) {
  const AttentionCase c = {.name = "",
                           .T = 150,
                           .sinks = 2,
                           .window_H = {kDense, 20, 70},
                           .scale = 0.3F};
  Tensors a(c, DType::kBF16);
  a.Forward();
  a.Backward();
  FloatAttention rounded(c);
  rounded.q_THC = ToFloats(a.ctx, a.in.q_THC);
  rounded.k_NGC = ToFloats(a.ctx, a.in.k_NGC);
  rounded.v_NGC = ToFloats(a.ctx, a.in.v_NGC);
  rounded.do_THC = ToFloats(a.ctx, a.d_o);
  const DoubleAttention b = RunInDouble(c, rounded);
  // One rounding to 8 bits; gradients also see the rounding of o in do.o.
  ExpectClose(ToFloats(a.ctx, a.o), b.o_THC, 0x1p-8, "o");
  ExpectClose(ToFloats(a.ctx, a.lse), b.lse_HT, 1e-5, "lse");
  ExpectClose(ToFloats(a.ctx, a.dq), b.dq_THC, 0x1p-7, "dq");
  ExpectClose(ToFloats(a.ctx, a.dk), b.dk_NGC, 0x1p-6, "dk");
  ExpectClose(ToFloats(a.ctx, a.dv), b.dv_NGC, 0x1p-8, "dv");
}

TEST(RangeAttentionFastCallTest, AnUndefinedGradientChangesNoOther) {
  const AttentionCase c = {.name = "", .T = 100, .window_H = {9, kDense, 9}};
  Tensors all(c, DType::kF32);
  all.Forward();
  all.Backward();
  for (const unsigned wanted : {0U, 1U, 2U, 3U, 4U, 5U, 6U}) {
    Tensors a(c, DType::kF32);
    a.Forward();
    a.dq = (wanted & 1U) != 0 ? a.dq : Tensor();
    a.dk = (wanted & 2U) != 0 ? a.dk : Tensor();
    a.dv = (wanted & 4U) != 0 ? a.dv : Tensor();
    a.Backward();
    for (const auto& [some, full] :
         {std::pair(a.dq, all.dq), std::pair(a.dk, all.dk),
          std::pair(a.dv, all.dv)}) {
      if (some.defined()) {
        EXPECT_EQ(ToFloats(a.ctx, some), ToFloats(all.ctx, full)) << wanted;
      }
    }
  }
}

// Scores of exactly +-10^4: the softmax is uniform over the even keys.
TEST(RangeAttentionFastCallTest, ExtremeScoresStayExact) {
  const AttentionCase c = {.name = "", .T = 130, .C = 4, .scale = 1};
  FloatAttention a(c);
  std::fill(a.q_THC.begin(), a.q_THC.end(), 50.0F);
  for (std::size_t i = 0; i < a.k_NGC.size(); ++i) {
    a.k_NGC[i] = i / 4 % 2 == 0 ? 50.0F : -50.0F;
  }
  RunOperator(c, &a);
  const DoubleAttention b = RunInDouble(c, a);
  ExpectClose(a.o_THC, b.o_THC, 1e-5, "o");
  ExpectClose(a.lse_HT, b.lse_HT, 2e-7, "lse");
  // 2^(z - lse) has the rounding of lse: 10^4 / 2^24, here in both.
  ExpectClose(a.dv_NGC, b.dv_NGC, 2e-3, "dv");
  for (std::size_t i = 0; i < a.q_THC.size(); ++i) {
    a.q_THC[i] = -a.q_THC[i];
  }
  RunOperator(c, &a);
  ExpectClose(a.lse_HT, RunInDouble(c, a).lse_HT, 2e-7, "lse");
}

TEST(RangeAttentionFastCallTest, NaNBehindTheRowsOfAPanelDoesNotReachThem) {
  const AttentionCase c = {.name = "", .T = 200, .window_H = {kDense, 30, 99}};
  FloatAttention before(c);
  RunOperator(c, &before);
  for (const std::int64_t first : {1, 64, 100, 128, 199}) {
    FloatAttention a(c);
    for (std::size_t i = static_cast<std::size_t>(first * c.C);
         i < a.k_NGC.size(); ++i) {
      a.k_NGC[i] = kNaN;
      a.v_NGC[i] = kNaN;
    }
    RunOperator(c, &a);
    // Rows that see NaN, and at most 23 positions before them.
    const auto clean = static_cast<std::size_t>(
        std::max<std::int64_t>(0, first - 23) * c.H * c.C);
    for (std::size_t i = 0; i < clean; ++i) {
      ASSERT_EQ(a.o_THC[i], before.o_THC[i]) << first;
      ASSERT_EQ(a.dq_THC[i], before.dq_THC[i]) << first;
    }
    for (std::size_t i = static_cast<std::size_t>(first * c.H * c.C);
         i < a.o_THC.size(); ++i) {
      ASSERT_TRUE(std::isnan(a.o_THC[i])) << "NaN is not hidden";
    }
  }
}

TEST(RangeAttentionFastCallTest, TakesTheKeysAndValuesInF32AsWorkspace) {
  // Bytes of k or of v in f32; T is a multiple of the tile.
  constexpr std::int64_t kPacked = std::int64_t{640} * 2 * 32 * 4;
  const AttentionCase c = {.name = "", .T = 640, .G = 2, .C = 32};
  Tensors a(c, DType::kF32);
  a.Forward();
  EXPECT_EQ(a.ctx.allocator.usage("workspace").peak, 2 * kPacked);
  a.Backward();
  // Besides k twice and v: sums of dk and dv for at most 16 + G pieces.
  const std::int64_t peak = a.ctx.allocator.usage("workspace").peak;
  EXPECT_LT(3 * kPacked, peak);
  EXPECT_LE(peak, (3 + 18) * kPacked);
  EXPECT_EQ(a.ctx.allocator.usage("workspace").in_use, 0);
}

}  // namespace
}  // namespace rtpurbo::testing
