// The mass from late rows to early keys, against sums written out.

#include "kernels/attention_mass.h"

#include <cmath>
#include <limits>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "kernels/core/parallel.h"
#include "kernels/cpu/attention_mass.h"
#include "tests/device_test.h"
#include "tests/kernels/last_queries.h"

namespace rtpurbo::kernels {
namespace {

using testing::Normal;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct MassCase {
  std::string name;
  std::int64_t T;
  std::int64_t H;
  std::int64_t G;
  std::int64_t C;
  RowRange post;
  RowRange pre;
  std::int64_t query_begin = 0;  // the operator gets no queries before it
};

std::ostream& operator<<(std::ostream& os, const MassCase& c) {
  return os << c.name;
}

std::vector<MassCase> Cases() {
  return {
      {"OneRowOneKey", 2, 1, 1, 3, {1, 2}, {0, 1}},
      {"NoKey", 10, 2, 1, 4, {5, 9}, {3, 3}},
      {"Touching", 40, 3, 3, 7, {20, 40}, {10, 20}},
      {"TileEdges", 300, 3, 2, 32, {200, 289}, {63, 129}},
      {"InOneTile", 300, 5, 2, 16, {250, 275}, {70, 75}},
      {"All", 130, 2, 1, 64, {65, 130}, {0, 65}},
      {"LastQueries", 130, 2, 1, 8, {100, 120}, {0, 65}, 90},
      {"OnlyQueries", 130, 2, 1, 8, {90, 130}, {0, 65}, 90},
  };
}

class AttentionMassTest : public ::testing::TestWithParam<MassCase> {
 protected:
  void SetUp() override {
    q = Normal(c.T * c.H * c.C, 1);
    k = Normal(c.T * c.G * c.C, 2);
    // Any numbers will do for the log-sums.
    lse = Normal(c.H * c.T, 3);
    for (std::int64_t h = 0; h < c.H; ++h) {
      pattern.kv_head_H.push_back(static_cast<std::int32_t>((h + 1) % c.G));
    }
    pattern.scale = 0.3F;
  }

  std::vector<float> Run(DType dtype = DType::kF32) const {
    const auto device = *Device::Open(DeviceType::kCpu);
    const ExecContext ctx = device->ctx();
    Tensor mass_H = FromHost(
        ctx, std::vector<float>(static_cast<std::size_t>(c.H), kNaN), {c.H});
    AttentionMass(ctx, pattern,
                  testing::FromFloats(ctx, dtype, q, {c.T, c.H, c.C})
                      .Slice(c.query_begin, c.T),
                  testing::FromFloats(ctx, dtype, k, {c.T, c.G, c.C}),
                  c.query_begin,
                  FromHost(ctx, testing::LastLse(lse, c.H, c.T, c.query_begin),
                           {c.H, c.T - c.query_begin}),
                  c.post, c.pre, &mass_H);
    return ToHost<float>(ctx, mass_H);
  }
  // One exp(scale q.k - lse).
  double Weight(std::int64_t h, std::int64_t t, std::int64_t j) const {
    const std::int64_t g = pattern.kv_head_H[static_cast<std::size_t>(h)];
    double dot = 0;
    for (std::int64_t i = 0; i < c.C; ++i) {
      dot += double{q[static_cast<std::size_t>((t * c.H + h) * c.C + i)]} *
             double{k[static_cast<std::size_t>((j * c.G + g) * c.C + i)]};
    }
    return std::exp(double{pattern.scale} * dot -
                    double{lse[static_cast<std::size_t>(h * c.T + t)]});
  }
  std::vector<double> Expected() const {
    std::vector<double> mass_H;
    for (std::int64_t h = 0; h < c.H; ++h) {
      double sum = 0;
      for (std::int64_t t = c.post.begin; t < c.post.end; ++t) {
        for (std::int64_t j = c.pre.begin; j < c.pre.end; ++j) {
          sum += Weight(h, t, j);
        }
      }
      mass_H.push_back(sum / static_cast<double>(c.post.end - c.post.begin));
    }
    return mass_H;
  }
  void ExpectMass(const std::vector<float>& mass_H) const {
    const std::vector<double> expected = Expected();
    for (std::size_t h = 0; h < expected.size(); ++h) {
      EXPECT_NEAR(mass_H[h], expected[h], 1e-5 * (1 + expected[h]));
    }
  }

  const MassCase& c = GetParam();
  std::vector<float> q;
  std::vector<float> k;
  std::vector<float> lse;
  AttentionPattern pattern;
};

INSTANTIATE_TEST_SUITE_P(Cases, AttentionMassTest, ::testing::ValuesIn(Cases()),
                         [](const auto& p) { return p.param.name; });

TEST_P(AttentionMassTest, DefinitionIsTheMeanSumOfWeights) {
  const std::vector<std::int64_t> window(static_cast<std::size_t>(c.H),
                                         AttentionPattern::kDense);
  AttentionView view = {.T = c.T, .N = c.T, .H = c.H, .G = c.G, .C = c.C};
  view.scale = pattern.scale;
  view.window_H = window.data();
  view.kv_head_H = pattern.kv_head_H.data();
  std::vector<float> mass_H(static_cast<std::size_t>(c.H), kNaN);
  cpu::AttentionMass<float>(
      {view, q.data(), k.data(), lse.data(), c.post, c.pre}, mass_H.data());
  ExpectMass(mass_H);
}

TEST_P(AttentionMassTest, OperatorIsTheMeanSumOfWeights) {
  ExpectMass(Run());
}

TEST_P(AttentionMassTest, OperatorOnBf16IsThatOfRoundedInputs) {
  const std::vector<float> mass_H = Run(DType::kBF16);
  for (std::vector<float>* x : {&q, &k}) {
    for (float& value : *x) {
      value = static_cast<float>(BFloat16(value));
    }
  }
  ExpectMass(mass_H);
}

TEST_P(AttentionMassTest, WhatIsOutsideOfTheTwoRangesIsNotRead) {
  const std::vector<float> before = Run();
  for (std::int64_t t = 0; t < c.T; ++t) {
    const bool row = c.post.begin <= t && t < c.post.end;
    const bool key = c.pre.begin <= t && t < c.pre.end;
    for (std::int64_t i = 0; i < c.H * c.C && !row; ++i) {
      q[static_cast<std::size_t>(t * c.H * c.C + i)] = kNaN;
    }
    for (std::int64_t i = 0; i < c.G * c.C && !key; ++i) {
      k[static_cast<std::size_t>(t * c.G * c.C + i)] = kNaN;
    }
  }
  EXPECT_EQ(Run(), before);  // NaN equals nothing
}

TEST_P(AttentionMassTest, HasTheSameBitsInEveryRunWithAnyThreads) {
  const int threads = NumThreads();
  const std::vector<float> first = Run();
  for (const int n : {1, 2, 3}) {
    SetNumThreads(n);
    EXPECT_EQ(Run(), first) << n << " threads";
  }
  SetNumThreads(threads);
}

class AttentionMassDeathTest : public AttentionMassTest {};

INSTANTIATE_TEST_SUITE_P(
    Ranges, AttentionMassDeathTest,
    ::testing::Values(MassCase{"Overlap", 10, 1, 1, 2, {4, 6}, {2, 5}},
                      MassCase{"Empty", 10, 1, 1, 2, {6, 6}, {2, 5}},
                      MassCase{"Behind", 10, 1, 1, 2, {6, 11}, {2, 5}},
                      MassCase{"Before", 10, 1, 1, 2, {6, 8}, {2, 5}, 7}),
    [](const auto& p) { return p.param.name; });

TEST_P(AttentionMassDeathTest, RangesThatDoNotFitAreFatal) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(Run(), "keys \\[2, 5\\) from rows");
}

}  // namespace
}  // namespace rtpurbo::kernels
