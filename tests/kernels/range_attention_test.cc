// The definition of range attention: its backward against complex steps, its
// forward against a softmax written out, and the checks of the dispatcher.

#include "kernels/range_attention.h"

#include <complex>

#include "kernels/cpu/range_attention.h"
#include "tests/device_test.h"
#include "tests/grad_check.h"
#include "tests/kernels/attention_cases.h"

namespace rtpurbo::kernels {
namespace {

using testing::AttentionCase;
using testing::Complex;
using testing::Dot;
using testing::ExpectGradient;
using testing::RandomVec;
using testing::Vec;

// Complex inputs and outputs of a case, and its pattern.
struct ComplexAttention {
  explicit ComplexAttention(const AttentionCase& c)
      : device(*Device::Open(DeviceType::kCpu)),
        pattern(c.Pattern(device->ctx())),
        q(RandomVec(Size(c.T * c.H * c.C), 1)),
        k(RandomVec(Size(c.N() * c.G * c.C), 2)),
        v(RandomVec(Size(c.N() * c.G * c.C), 3)),
        o(q.size()),
        lse(Size(c.H * c.T)),
        view(ViewOf(
            pattern, Tensor::Empty(device->ctx(), DType::kF32, {c.T, c.H, c.C}),
            Tensor::Empty(device->ctx(), DType::kF32, {c.N(), c.G, c.C}),
            c.query_begin)) {}

  static std::size_t Size(std::int64_t n) {
    return static_cast<std::size_t>(n);
  }
  cpu::RangeAttentionArgs<Complex> args() const {
    return {view, q.data(), k.data(), v.data()};
  }
  void Forward() { cpu::RangeAttentionForward(args(), o.data(), lse.data()); }

  std::unique_ptr<Device> device;
  AttentionPattern pattern;
  Vec q;
  Vec k;
  Vec v;
  Vec o;
  Vec lse;
  AttentionView view;
};

class RangeAttentionTest : public ::testing::TestWithParam<AttentionCase> {};

INSTANTIATE_TEST_SUITE_P(Patterns, RangeAttentionTest,
                         ::testing::ValuesIn(testing::SmallAttentionCases()),
                         [](const auto& p) { return p.param.name; });

TEST_P(RangeAttentionTest, BackwardIsTheDerivativeOfForward) {
  ComplexAttention a(GetParam());
  const Vec d_o = RandomVec(a.o.size(), 4);
  const auto loss = [&] {
    a.Forward();
    return Dot(a.o, d_o);
  };
  loss();
  Vec dq(a.q.size());
  Vec dk(a.k.size());
  Vec dv(a.v.size());
  cpu::RangeAttentionBackward<Complex>(a.args(),
                                       {a.o.data(), a.lse.data(), d_o.data()},
                                       dq.data(), dk.data(), dv.data());
  ExpectGradient(loss, &a.q, dq);
  ExpectGradient(loss, &a.k, dk);
  ExpectGradient(loss, &a.v, dv);
}

// o (C numbers) and, behind it, lse of one row, straight from the formula.
std::vector<double> Softmax(const AttentionCase& c, const ComplexAttention& a,
                            std::int64_t h, std::int64_t t) {
  const std::int64_t g = c.kv_head_H[static_cast<std::size_t>(h)];
  double sum = 0;
  std::vector<double> o(static_cast<std::size_t>(c.C));
  for (std::int64_t j = 0; j < c.N(); ++j) {
    const std::size_t key = a.Size((j * c.G + g) * c.C);
    double s = 0;
    for (std::size_t i = 0; i < o.size(); ++i) {
      s += a.q[a.Size((t * c.H + h) * c.C) + i].real() * a.k[key + i].real();
    }
    const double e = c.Sees(h, t, j) ? std::exp(c.scale * s) : 0;
    sum += e;
    for (std::size_t i = 0; i < o.size(); ++i) {
      o[i] += e * a.v[key + i].real();
    }
  }
  for (double& value : o) {
    value /= sum == 0 ? 1 : sum;
  }
  o.push_back(std::log(sum));
  return o;
}

TEST_P(RangeAttentionTest, ForwardIsASoftmaxOverTheKeysThatTheRuleShows) {
  const AttentionCase& c = GetParam();
  ComplexAttention a(c);
  a.Forward();
  for (std::int64_t row = 0; row < c.H * c.T; ++row) {
    const std::int64_t h = row / c.T;
    const std::int64_t t = row % c.T;
    const std::vector<double> expected = Softmax(c, a, h, t);
    for (std::size_t i = 0; i + 1 < expected.size(); ++i) {
      ASSERT_NEAR(a.o[a.Size((t * c.H + h) * c.C) + i].real(), expected[i],
                  1e-12);
    }
    const double sum = std::exp(expected.back());
    ASSERT_NEAR(std::exp(a.lse[a.Size(row)].real()), sum, 1e-12 * sum);
  }
}

TEST(RangeAttentionDefinitionTest, ARowThatSeesNoKeyIsZero) {
  const AttentionCase c{
      .name = "", .T = 20, .selected_rows = 20, .slot_H = {0, 0, 0}};
  ComplexAttention a(c);
  a.Forward();
  ASSERT_FALSE(c.Sees(0, 3, 0) || c.Sees(0, 3, 3));
  EXPECT_EQ(a.lse[3].real(), -std::numeric_limits<double>::infinity());
  for (std::size_t i = 0; i < 15; ++i) {
    EXPECT_EQ(a.o[std::size_t{3} * 15 + i], 0.0);
  }
}

class RangeAttentionChecksTest : public ::testing::Test {
 protected:
  void SetUp() override {
    // Earlier tests have started threads, which fork() does not copy.
    GTEST_FLAG_SET(death_test_style, "threadsafe");
  }
  void Forward() {
    Tensor o = Tensor::Empty(ctx, in.q_THC.dtype(), in.q_THC.shape());
    Tensor lse = Tensor::Empty(ctx, DType::kF32, {3, 4});
    RangeAttentionForward(ctx, pattern, in, &o, &lse);
  }

  const std::unique_ptr<Device> device = *Device::Open(DeviceType::kCpu);
  ExecContext ctx = device->ctx();
  AttentionPattern pattern = AttentionCase{.name = "", .T = 4}.Pattern(ctx);
  AttentionInputs in = {testing::Random(ctx, DType::kF32, {4, 3, 5}, 1),
                        testing::Random(ctx, DType::kF32, {4, 1, 5}, 2),
                        testing::Random(ctx, DType::kF32, {4, 1, 5}, 3), 0};
};

using RangeAttentionChecksDeathTest = RangeAttentionChecksTest;

TEST_F(RangeAttentionChecksDeathTest, WhatDoesNotFitIsFatal) {
  Forward();
  in.query_begin = 1;
  EXPECT_DEATH(Forward(), "query rows after the last key");
  in.query_begin = 0;
  pattern.kv_head_H = {0, 1, 0};
  EXPECT_DEATH(Forward(), "kv head of head 1");
  pattern.kv_head_H = {0, 0};
  EXPECT_DEATH(Forward(), "one kv head per query head");
  pattern.kv_head_H = {0, 0, 0};
  pattern.window_H = {1, 1, -1};
  EXPECT_DEATH(Forward(), "window of head 2");
  pattern.window_H = {1, 1, 1};
  pattern.document_N =
      FromHost(ctx, std::vector<std::int32_t>{0, 0, 3, 3}, {4});
  EXPECT_DEATH(Forward(), "position 2 in a document that starts at 3");
  pattern.document_N = Tensor();
  pattern.slot_H = {0, 0, 2};
  pattern.selected_SMB =
      FromHost(ctx, std::vector<std::int32_t>{1, 1, 1, 1}, {2, 2, 1});
  EXPECT_DEATH(Forward(), "slot 2 of 2");
  pattern.slot_H = {0, 0, 1};
  Forward();
  in.v_NGC = testing::Random(ctx, DType::kBF16, {4, 1, 5}, 3);
  EXPECT_DEATH(Forward(), "q is f32, k f32, v bf16");
}

}  // namespace
}  // namespace rtpurbo::kernels
