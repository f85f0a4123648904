// Alignment KL on a CUDA device against the definition in f64.

#include "tests/kernels/alignment_kl_cases.h"
#include "tests/kernels/cuda/device_against_cpu.h"

namespace rtpurbo::testing {
namespace {

class AlignmentKlCudaTest : public CudaTest {
 protected:
  // The definition over what the device reads: q and k rounded to dtype().
  AlignmentDefinition<double> Definition(const AlignmentCase& c) const {
    AlignmentDefinition<double> b(c);
    if (dtype() == DType::kBF16) {
      for (std::vector<double>* values : {&b.q, &b.k}) {
        for (double& value : *values) {
          value = static_cast<float>(BFloat16(static_cast<float>(value)));
        }
      }
    }
    b.Run();
    return b;
  }
  void Expect(const std::vector<float>& actual,
              const std::vector<double>& expected) const {
    const std::vector<float> rounded(expected.begin(), expected.end());
    EXPECT_EQ(actual.size(), rounded.size());
    EXPECT_LE(RelativeError(actual, rounded), Tolerance());
  }
  void ExpectTheDefinition(const AlignmentCase& c) const {
    SCOPED_TRACE(c.name);
    const AlignmentDefinition<double> b = Definition(c);
    AlignmentOperator a(c);
    a.RunOn(cuda(), dtype());
    Expect(a.kl, b.kl);
    Expect(a.dx, b.dx);
    Expect(a.dy, b.dy);
    AlignmentOperator again(c);
    again.RunOn(cuda(), dtype());
    EXPECT_EQ(a.kl, again.kl);
    EXPECT_EQ(a.dx, again.dx);
    EXPECT_EQ(a.dy, again.dy);
  }
};

INSTANTIATE_TEST_SUITE_P(Types, AlignmentKlCudaTest,
                         ::testing::Values(DType::kF32, DType::kBF16),
                         [](const auto& p) { return Name(p.param); });

TEST_P(AlignmentKlCudaTest, EveryCase) {
  for (const AlignmentCase& c : SmallAlignmentCases()) {
    ExpectTheDefinition(c);
  }
  for (const AlignmentCase& c : TiledAlignmentCases()) {
    ExpectTheDefinition(c);
  }
}

TEST_P(AlignmentKlCudaTest, EveryWidth) {
  for (const std::int64_t C : {8, 32, 64, 80, 128}) {
    for (const std::int64_t R : {1, 8, 16, 17, 32, 64}) {
      ExpectTheDefinition({.name = "width",
                           .T = 300,
                           .H = 4,
                           .C = C,
                           .R = R,
                           .head_S = {3, 0, 1},
                           .row_M = Every(3, 1, 300)});
    }
  }
}

// Rows of many documents, none of them, all of them, and the edges of tiles.
TEST_P(AlignmentKlCudaTest, ManyDocuments) {
  for (const std::int64_t T : {64, 127, 128, 129, 700}) {
    std::vector<std::int32_t> documents;
    for (std::int32_t i = 0; i < T; ++i) {
      documents.push_back(i < 3 ? 0 : i < 130 ? 3 : i < 255 ? 130 : 255);
    }
    for (const int step : {1, 5, 64}) {
      AlignmentCase c = {.name = "documents",
                         .T = T,
                         .C = 128,
                         .R = 16,
                         .row_M = Every(step, 1, static_cast<int>(T)),
                         .document_N = documents};
      ExpectTheDefinition(c);
    }
  }
}

TEST_P(AlignmentKlCudaTest, GradientsThatNobodyWantsChangeNoOther) {
  const AlignmentCase c = {
      .name = "", .T = 200, .C = 64, .R = 16, .row_M = Every(3, 0, 200)};
  AlignmentOperator all(c);
  all.RunOn(cuda(), dtype());
  AlignmentOperator a(c);
  a.RunOn(cuda(), dtype(), true, false);
  EXPECT_EQ(a.kl, all.kl);
  EXPECT_EQ(a.dx, all.dx);
  a.RunOn(cuda(), dtype(), false, true);
  EXPECT_EQ(a.kl, all.kl);
  EXPECT_EQ(a.dy, all.dy);
}

TEST_P(AlignmentKlCudaTest, NaNInKeysThatNoRowSeesReachesNothing) {
  const AlignmentCase c = {
      .name = "", .T = 333, .C = 64, .R = 16, .row_M = Every(2, 150, 250)};
  AlignmentOperator before(c);
  before.RunOn(cuda(), dtype());
  AlignmentOperator a(c);
  std::fill(a.k.begin() + 249 * c.G * c.C, a.k.end(), std::nanf(""));
  std::fill(a.y.begin() + 249 * c.S() * c.R, a.y.end(), std::nanf(""));
  a.RunOn(cuda(), dtype());
  EXPECT_EQ(a.kl, before.kl);
  EXPECT_EQ(a.dx, before.dx);
  EXPECT_EQ(a.dy, before.dy);
}

// Teacher and student nearly agree: x = q and y = k but for a little, and what
// of k has no place in y is zero. The gradient is a small difference of
// weights.
TEST_P(AlignmentKlCudaTest, SmallDifferencesOfWeightsAreNotLost) {
  AlignmentCase c = {.name = "",
                     .T = 260,
                     .H = 2,
                     .G = 1,
                     .C = 32,
                     .R = 16,
                     .head_S = {1, 0},
                     .row_M = Every(2, 0, 260)};
  AlignmentDefinition<double> b(c);
  AlignmentOperator a(c);
  const auto rounded = [this](float value) {
    return dtype() == DType::kF32 ? value : static_cast<float>(BFloat16(value));
  };
  for (std::size_t i = 0; i < a.q.size(); ++i) {
    a.q[i] = rounded(a.q[i]);
    b.q[i] = a.q[i];
  }
  for (std::size_t i = 0; i < a.k.size(); ++i) {
    a.k[i] = static_cast<std::int64_t>(i) % c.C < c.R ? rounded(a.k[i]) : 0;
    b.k[i] = a.k[i];
  }
  for (std::int64_t i = 0; i < c.M() * c.S() * c.R; ++i) {
    const std::int64_t head = c.head_S[static_cast<std::size_t>(i / c.R % 2)];
    const std::int64_t row = c.row_M[static_cast<std::size_t>(i / c.R / 2)];
    const auto to = static_cast<std::size_t>(i);
    a.x[to] = 0.01F * a.x[to] +
              a.q[static_cast<std::size_t>((row * c.H + head) * c.C + i % c.R)];
    b.x[to] = a.x[to];
  }
  for (std::int64_t i = 0; i < c.T * c.S() * c.R; ++i) {
    const auto to = static_cast<std::size_t>(i);
    a.y[to] = a.k[static_cast<std::size_t>(i / c.R / 2 * c.C + i % c.R)];
    b.y[to] = a.y[to];
  }
  // The log-sums of these inputs.
  std::vector<double> o(b.q.size());
  kernels::cpu::RangeAttentionForward<double>(
      {b.view, b.q.data(), b.k.data(), b.k.data()}, o.data(), b.lse.data());
  a.lse.assign(b.lse.begin(), b.lse.end());
  b.Run();
  a.RunOn(cuda(), dtype());
  const auto error = [](const std::vector<float>& x,
                        const std::vector<double>& y) {
    return RelativeError(x, std::vector<float>(y.begin(), y.end()));
  };
  // What f32 scores leave of differences a hundredth of the weights.
  const double tolerance = dtype() == DType::kF32 ? 1e-3 : 1e-2;
  EXPECT_LE(error(a.dx, b.dx), tolerance);
  EXPECT_LE(error(a.dy, b.dy), tolerance);
}

}  // namespace
}  // namespace rtpurbo::testing
