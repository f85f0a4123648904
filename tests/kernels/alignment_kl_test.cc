// Alignment KL: the definition's gradients against complex steps, its value
// against a KL written out, the tiled operator against the definition, and what
// a key or a projected key can reach.

#include "kernels/alignment_kl.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "kernels/core/parallel.h"
#include "kernels/cpu/alignment_kl.h"
#include "tests/grad_check.h"
#include "tests/kernels/alignment_kl_cases.h"

namespace rtpurbo::kernels {
namespace {

using testing::AlignmentCase;
using testing::AlignmentDefinition;
using testing::AlignmentOperator;
using testing::Complex;
using testing::Vec;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::vector<AlignmentCase> AllCases() {
  std::vector<AlignmentCase> cases = testing::SmallAlignmentCases();
  for (const AlignmentCase& c : testing::TiledAlignmentCases()) {
    cases.push_back(c);
  }
  return cases;
}

void ExpectClose(const std::vector<float>& actual,
                 const std::vector<double>& expected, double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(actual[i], expected[i],
                tolerance * std::max(1.0, std::abs(expected[i])))
        << i;
  }
}

std::string Name(const ::testing::TestParamInfo<AlignmentCase>& info) {
  return info.param.name;
}

class AlignmentKlDefinitionTest
    : public ::testing::TestWithParam<AlignmentCase> {};
INSTANTIATE_TEST_SUITE_P(Cases, AlignmentKlDefinitionTest,
                         ::testing::ValuesIn(testing::SmallAlignmentCases()),
                         Name);

TEST_P(AlignmentKlDefinitionTest, GradientsAreDerivativesOfTheSumOfKl) {
  AlignmentDefinition<Complex> a(GetParam());
  const auto loss = [&] {
    a.Run();
    Complex sum;
    for (const Complex& kl : a.kl) {
      sum += kl;
    }
    return static_cast<double>(a.c.grad_scale) * sum;
  };
  loss();
  const Vec dx = a.dx;
  const Vec dy = a.dy;
  testing::ExpectGradient(loss, &a.x, dx);
  testing::ExpectGradient(loss, &a.y, dy);
}

TEST_P(AlignmentKlDefinitionTest, IsTheKlOfTwoSoftmaxRows) {
  const AlignmentCase& c = GetParam();
  AlignmentDefinition<double> a(c);
  a.Run();
  for (std::int64_t s = 0; s < c.S(); ++s) {
    for (std::int64_t m = 0; m < c.M(); ++m) {
      const std::int64_t h = c.head_S[static_cast<std::size_t>(s)];
      const std::int64_t i = c.row_M[static_cast<std::size_t>(m)];
      std::vector<double> full;
      std::vector<double> proj;
      double full_sum = 0;
      double proj_sum = 0;
      for (std::int64_t n = c.document(i); n <= i; ++n) {
        const double* key = a.k.data() + a.view.key(h, n);
        const double* projected = a.y.data() + (n * c.S() + s) * c.R;
        full.push_back(
            std::exp(0.5 * cpu::DotC(a.q.data() + a.view.row(h, i), key, c.C)));
        proj.push_back(
            std::exp(0.5 * cpu::DotC(a.x.data() + (m * c.S() + s) * c.R,
                                     projected, c.R)));
        full_sum += full.back();
        proj_sum += proj.back();
      }
      double kl = 0;
      for (std::size_t n = 0; n < full.size(); ++n) {
        kl += full[n] / full_sum *
              std::log(full[n] / full_sum / (proj[n] / proj_sum));
      }
      EXPECT_NEAR(a.kl[static_cast<std::size_t>(s * c.M() + m)], kl, 1e-12);
    }
  }
}

class AlignmentKlTest : public ::testing::TestWithParam<AlignmentCase> {};
INSTANTIATE_TEST_SUITE_P(Cases, AlignmentKlTest,
                         ::testing::ValuesIn(AllCases()), Name);

TEST_P(AlignmentKlTest, IsTheDefinitionUpToRounding) {
  AlignmentOperator a(GetParam());
  a.Run();
  AlignmentDefinition<double> b(GetParam());
  b.Run();
  ExpectClose(a.kl, b.kl, 1e-5);
  ExpectClose(a.dx, b.dx, 1e-5);
  ExpectClose(a.dy, b.dy, 1e-5);
}

TEST_P(AlignmentKlTest, HasTheSameBitsInEveryRunWithAnyThreads) {
  const int threads = NumThreads();
  AlignmentOperator first(GetParam());
  first.Run();
  for (const int n : {1, 2, 3}) {
    SetNumThreads(n);
    AlignmentOperator again(GetParam());
    again.Run();
    EXPECT_EQ(first.kl, again.kl) << n << " threads";
    EXPECT_EQ(first.dx, again.dx) << n << " threads";
    EXPECT_EQ(first.dy, again.dy) << n << " threads";
  }
  SetNumThreads(threads);
}

TEST_P(AlignmentKlTest, AnUndefinedGradientChangesNoOther) {
  AlignmentOperator all(GetParam());
  all.Run();
  AlignmentOperator a(GetParam());
  a.Run(DType::kF32, true, false);
  EXPECT_EQ(a.kl, all.kl);
  EXPECT_EQ(a.dx, all.dx);
  a.Run(DType::kF32, false, true);
  EXPECT_EQ(a.kl, all.kl);
  EXPECT_EQ(a.dy, all.dy);
  a.Run(DType::kF32, false, false);
  EXPECT_EQ(a.kl, all.kl);
}

// Whether KL or dx of row m of slot s has other bits: a change may round to
// nothing in one of them.
bool Differ(const AlignmentOperator& a, const AlignmentOperator& b,
            std::int64_t s, std::int64_t m) {
  const AlignmentCase& c = a.c;
  const auto begin = static_cast<std::ptrdiff_t>((m * c.S() + s) * c.R);
  const auto kl = static_cast<std::size_t>(s * c.M() + m);
  return a.kl[kl] != b.kl[kl] ||
         !std::equal(a.dx.begin() + begin, a.dx.begin() + begin + c.R,
                     b.dx.begin() + begin);
}

// A key changes: exactly the rows that see it change.
TEST_P(AlignmentKlTest, AKeyChangesExactlyTheRowsThatSeeIt) {
  const AlignmentCase& c = GetParam();
  AlignmentOperator before(c);
  before.Run();
  for (std::int64_t n = 0; n < c.T; n += c.T < 20 ? 1 : 9) {
    for (const bool projected : {false, true}) {
      AlignmentOperator a(c);
      std::vector<float>& changed = projected ? a.y : a.k;
      const std::int64_t width = projected ? c.S() * c.R : c.G * c.C;
      for (std::int64_t i = n * width; i < (n + 1) * width; ++i) {
        changed[static_cast<std::size_t>(i)] += 2;
      }
      a.Run();
      for (std::int64_t at = 0; at < c.S() * c.M(); ++at) {
        const std::int64_t m = at % c.M();
        // A softmax over one key is 1 whatever the key.
        const std::int32_t row = c.row_M[static_cast<std::size_t>(m)];
        const bool alone = projected && c.document(row) == row;
        ASSERT_TRUE(alone || Differ(a, before, at / c.M(), m) == c.Sees(m, n))
            << "key " << n << " row " << m << (projected ? " y" : " k");
      }
    }
  }
}

TEST_P(AlignmentKlTest, NaNInKeysThatNoRowSeesReachesNothing) {
  const AlignmentCase& c = GetParam();
  AlignmentOperator before(c);
  before.Run();
  AlignmentOperator a(c);
  for (std::int64_t n = 0; n < c.T; ++n) {
    bool seen = false;
    for (std::int64_t m = 0; m < c.M(); ++m) {
      seen = seen || c.Sees(m, n);
    }
    for (std::int64_t i = 0; i < c.G * c.C && !seen; ++i) {
      a.k[static_cast<std::size_t>(n * c.G * c.C + i)] = kNaN;
    }
    for (std::int64_t i = 0; i < c.S() * c.R && !seen; ++i) {
      a.y[static_cast<std::size_t>(n * c.S() * c.R + i)] = kNaN;
      ASSERT_EQ(before.dy[static_cast<std::size_t>(n * c.S() * c.R + i)], 0);
    }
  }
  a.Run();
  EXPECT_EQ(a.kl, before.kl);  // NaN equals nothing
  EXPECT_EQ(a.dx, before.dx);
  EXPECT_EQ(a.dy, before.dy);
}

TEST(AlignmentKlCallTest, Bf16IsTheDefinitionOfRoundedInputs) {
  const AlignmentCase c = {
      .name = "", .T = 100, .R = 8, .row_M = testing::Every(5, 0, 100)};
  AlignmentOperator a(c);
  AlignmentDefinition<double> b(c);
  const auto round = [](float value) {
    return static_cast<float>(BFloat16(value));
  };
  for (std::size_t i = 0; i < a.q.size(); ++i) {
    b.q[i] = round(a.q[i]);
  }
  for (std::size_t i = 0; i < a.k.size(); ++i) {
    b.k[i] = round(a.k[i]);
  }
  b.Run();
  a.Run(DType::kBF16);
  ExpectClose(a.kl, b.kl, 1e-5);
  ExpectClose(a.dx, b.dx, 1e-5);
  ExpectClose(a.dy, b.dy, 1e-5);
}

TEST(AlignmentKlDeathTest, WhatDoesNotFitIsFatal) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  AlignmentCase c = {.name = ""};
  c.head_S = {0, 3};
  EXPECT_DEATH(AlignmentOperator(c).Run(), "retrieval head 3 of 3");
  c.head_S = {0, 1};
  c.row_M = {0, 4, 3, 5};
  EXPECT_DEATH(AlignmentOperator(c).Run(),
               "row 2 at position 3; positions ascend");
  c.row_M = {0, 4, 6, 12};
  EXPECT_DEATH(AlignmentOperator(c).Run(),
               "row 3 at position 12; positions ascend");
}

}  // namespace
}  // namespace rtpurbo::kernels
