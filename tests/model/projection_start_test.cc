// The start of the projections against what makes it the best one.

#include "model/projection_start.h"

#include <cmath>
#include <numeric>

#include "gtest/gtest.h"
#include "kernels/rope.h"
#include "tests/device_test.h"

namespace rtpurbo::testing {
namespace {

using Values = std::vector<double>;

Values RandomValues(std::int64_t n, unsigned seed) {
  const std::vector<float> normal = Normal(n, seed);
  return {normal.begin(), normal.end()};
}

std::size_t At(std::int64_t i, std::int64_t j, std::int64_t width) {
  return static_cast<std::size_t>(i * width + j);
}

// sum over rows of x x^T, of which directions differ in length.
Values Moments(std::int64_t C, std::int64_t rows, unsigned seed) {
  Values moments(static_cast<std::size_t>(C * C));
  const Values x = RandomValues(rows * C, seed);
  for (std::int64_t n = 0; n < rows; ++n) {
    for (std::int64_t i = 0; i < C; ++i) {
      for (std::int64_t j = 0; j < C; ++j) {
        moments[At(i, j, C)] += x[At(n, i, C)] * x[At(n, j, C)] /
                                static_cast<double>((1 + i) * (1 + j) * rows);
      }
    }
  }
  return moments;
}

// a^T b for a, b: [R, C].
template <typename T>
Values Form(const std::vector<T>& a_RC, const std::vector<T>& b_RC,
            std::int64_t R, std::int64_t C) {
  Values form(static_cast<std::size_t>(C * C));
  for (std::int64_t r = 0; r < R; ++r) {
    for (std::int64_t i = 0; i < C; ++i) {
      for (std::int64_t j = 0; j < C; ++j) {
        form[At(i, j, C)] += static_cast<double>(a_RC[At(r, i, C)]) *
                             static_cast<double>(b_RC[At(r, j, C)]);
      }
    }
  }
  return form;
}

// a b or, transposed, a b^T; all [C, C].
Values Product(const Values& a, const Values& b, bool transposed,
               std::int64_t C) {
  Values ab(a.size());
  for (std::int64_t i = 0; i < C; ++i) {
    for (std::int64_t j = 0; j < C; ++j) {
      for (std::int64_t k = 0; k < C; ++k) {
        ab[At(i, j, C)] +=
            a[At(i, k, C)] * (transposed ? b[At(j, k, C)] : b[At(k, j, C)]);
      }
    }
  }
  return ab;
}

// E (q^T e k)^2 = trace(sq e sk e^T) for independent q and k; sq is symmetric.
double MeanSquare(const Values& e, const Values& sq, const Values& sk,
                  std::int64_t C) {
  const Values of_keys = Product(Product(e, sk, false, C), e, true, C);
  return std::inner_product(sq.begin(), sq.end(), of_keys.begin(), 0.0);
}

struct Fit {
  std::int64_t C;
  std::int64_t R;
  Values sq;
  Values sk;
  Values d;

  double Error(const ProjectionPair& pair) const {
    Values e = Form(pair.wq_RC, pair.wk_RC, R, C);
    for (std::size_t i = 0; i < e.size(); ++i) {
      e[i] -= d[i];
    }
    return MeanSquare(e, sq, sk, C);
  }
  ProjectionPair Best(double ridge = 0) const {
    return BestProjections(sq, sk, d, C, R, ridge);
  }
};

Fit RandomFit(std::int64_t C, std::int64_t R) {
  const std::int64_t rows = 5 * C;
  return {C, R, Moments(C, rows, 1), Moments(C, rows, 2),
          RandomValues(C * C, 3)};
}

void ExpectClose(const Values& actual, const Values& expected,
                 double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(actual[i], expected[i], tolerance) << "at element " << i;
  }
}

TEST(ProjectionStartTest, AFormOfRankRIsRecovered) {
  for (const std::int64_t C : {2, 6, 16, 128}) {
    for (const std::int64_t R : {std::int64_t{1}, C / 2, C}) {
      Fit fit = RandomFit(C, R);
      fit.d = Form(RandomValues(R * C, 4), RandomValues(R * C, 5), R, C);
      const ProjectionPair pair = fit.Best();
      ExpectClose(Form(pair.wq_RC, pair.wk_RC, R, C), fit.d,
                  1e-6 * static_cast<double>(C));
    }
  }
}

TEST(ProjectionStartTest, WhiteQueriesAndKeysWithFullRankGiveTheDotProduct) {
  const Values identity = Identity(8);
  const ProjectionPair pair =
      BestProjections(identity, identity, identity, 8, 8, 0);
  ExpectClose(Form(pair.wq_RC, pair.wk_RC, 8, 8), identity, 1e-6);
}

TEST(ProjectionStartTest, NoOtherFormOfRankRIsBetter) {
  for (const auto& [C, R] :
       {std::pair<std::int64_t, std::int64_t>{6, 2}, {8, 1}, {12, 5}}) {
    const Fit fit = RandomFit(C, R);
    const ProjectionPair best = fit.Best();
    const double error = fit.Error(best);
    EXPECT_GT(error, 1e-3);
    for (unsigned seed = 10; seed < 60; ++seed) {
      const float step = seed % 2 == 0 ? 1e-2F : 1.0F;
      ProjectionPair other = best;
      const std::vector<float> change = Normal(2 * R * C, seed);
      for (std::size_t i = 0; i < other.wq_RC.size(); ++i) {
        other.wq_RC[i] += step * change[i];
        other.wk_RC[i] += step * change[i + other.wq_RC.size()];
      }
      EXPECT_GT(fit.Error(other), error);
    }
  }
}

// The share of an error that ignoring the moments leaves: they are used.
TEST(ProjectionStartTest, MomentsSayWhichDirectionsMatter) {
  const Fit fit = RandomFit(12, 3);
  const ProjectionPair blind =
      BestProjections(Identity(12), Identity(12), fit.d, 12, 3, 0);
  EXPECT_LT(fit.Error(fit.Best()), 0.5 * fit.Error(blind));
}

// Second moments of rows of w under s: w s w^T.
double Projected(const std::vector<float>& w_RC, const Values& s,
                 std::int64_t C, std::int64_t a, std::int64_t b) {
  double sum = 0;
  for (std::int64_t i = 0; i < C; ++i) {
    for (std::int64_t j = 0; j < C; ++j) {
      sum += static_cast<double>(w_RC[At(a, i, C)]) * s[At(i, j, C)] *
             static_cast<double>(w_RC[At(b, j, C)]);
    }
  }
  return sum;
}

TEST(ProjectionStartTest, QueriesAndKeysShareTheSingularValues) {
  const Fit fit = RandomFit(10, 4);
  const ProjectionPair pair = fit.Best();
  double before = std::numeric_limits<double>::infinity();
  for (std::int64_t a = 0; a < 4; ++a) {
    const double s = Projected(pair.wq_RC, fit.sq, 10, a, a);
    EXPECT_NEAR(Projected(pair.wk_RC, fit.sk, 10, a, a), s, 1e-5 * s);
    EXPECT_LT(s, before);
    before = s;
    for (std::int64_t b = 0; b < a; ++b) {
      EXPECT_NEAR(Projected(pair.wq_RC, fit.sq, 10, a, b), 0, 1e-6);
      EXPECT_NEAR(Projected(pair.wk_RC, fit.sk, 10, a, b), 0, 1e-6);
    }
  }
}

TEST(ProjectionStartTest, RidgeCarriesDirectionsThatNoSampleHad) {
  Fit fit = RandomFit(16, 4);
  fit.sq = Moments(16, 3, 7);  // rank 3
  fit.sk = Moments(16, 5, 8);
  for (const double ridge : {1e-6, 1e-3, 1.0}) {
    for (const std::vector<float>& w :
         {fit.Best(ridge).wq_RC, fit.Best(ridge).wk_RC}) {
      for (const float value : w) {
        EXPECT_LT(std::abs(value), 1e4);
      }
    }
  }
  // Rank 3 among what the samples had: R = 4 loses nothing of it.
  EXPECT_LT(fit.Error(fit.Best(1e-6)), 1e-4 * fit.Error(fit.Best(1.0)));
}

TEST(ProjectionStartTest, AHeadWithoutQueriesOrKeysGetsZeros) {
  Fit fit = RandomFit(4, 2);
  fit.sk.assign(16, 0);
  EXPECT_EQ(fit.Best(1e-3).wq_RC, std::vector<float>(8));
  EXPECT_EQ(fit.Best(1e-3).wk_RC, std::vector<float>(8));
}

TEST(ProjectionStartTest, AFormOfLessThanRankRIsFilledWithZeros) {
  Fit fit = RandomFit(4, 3);
  fit.d.assign(16, 0);
  fit.d[0] = 2;
  const ProjectionPair pair = fit.Best();
  ExpectClose(Form(pair.wq_RC, pair.wk_RC, 3, 4), fit.d, 1e-6);
}

TEST(ProjectionStartTest, TheSameMomentsGiveTheSameBytesAndSigns) {
  const Fit fit = RandomFit(32, 8);
  const ProjectionPair pair = fit.Best(1e-4);
  EXPECT_EQ(fit.Best(1e-4).wq_RC, pair.wq_RC);
  EXPECT_EQ(fit.Best(1e-4).wk_RC, pair.wk_RC);
  for (std::int64_t r = 0; r < 8; ++r) {
    float largest = 0;
    for (std::int64_t c = 0; c < 32; ++c) {
      const float value = pair.wq_RC[At(r, c, 32)];
      largest = std::abs(value) > std::abs(largest) ? value : largest;
    }
    EXPECT_GT(largest, 0);
  }
}

// q^T D_n k of one distance by the formula of kernels/rope.h.
Values RotationBy(double base, std::int64_t C, std::int64_t n) {
  Values d(static_cast<std::size_t>(C * C));
  for (std::int64_t c = 0; c < C / 2; ++c) {
    const double angle =
        static_cast<double>(n) *
        std::pow(base, -2.0 * static_cast<double>(c) / static_cast<double>(C));
    d[At(c, c, C)] = std::cos(angle);
    d[At(c + C / 2, c + C / 2, C)] = std::cos(angle);
    d[At(c, c + C / 2, C)] = std::sin(angle);
    d[At(c + C / 2, c, C)] = -std::sin(angle);
  }
  return d;
}

TEST(MeanRotationTest, IsTheMeanOverTheDistances) {
  for (const auto& [C, first, last] :
       {std::tuple{8, 0, 0}, {8, 5, 5}, {8, 3, 90}, {128, 1000, 3000}}) {
    Values mean(static_cast<std::size_t>(C) * static_cast<std::size_t>(C));
    for (std::int64_t n = first; n <= last; ++n) {
      const Values d = RotationBy(1e4, C, n);
      for (std::size_t i = 0; i < d.size(); ++i) {
        mean[i] += d[i] / static_cast<double>(last - first + 1);
      }
    }
    ExpectClose(MeanRotation(1e4, C, first, last), mean, 1e-12);
  }
}

TEST(MeanRotationTest, IsWhatTheOperatorRotatesBy) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  constexpr std::int64_t kC = 8;
  constexpr std::int32_t kPosition = 11;
  constexpr std::int32_t kDistance = 7;
  Tensor cos = Tensor::Empty(ctx, DType::kF32, {32, kC / 2});
  Tensor sin = Tensor::Empty(ctx, DType::kF32, {32, kC / 2});
  kernels::RopeTables(ctx, 1e4, 32, kC, &cos, &sin);
  const Tensor qk = Random(ctx, DType::kF32, {2, 1, kC}, 1);
  Tensor rotated = Tensor::Empty(ctx, DType::kF32, {2, 1, kC});
  kernels::Rope(
      ctx, qk,
      FromHost<std::int32_t>(ctx, {kPosition + kDistance, kPosition}, {2}), cos,
      sin, false, &rotated);
  const std::vector<float> x = ToHost<float>(ctx, qk);
  const std::vector<float> y = ToHost<float>(ctx, rotated);
  const Values d = MeanRotation(1e4, kC, kDistance, kDistance);
  double expected = 0;
  double actual = 0;
  for (std::size_t i = 0; i < kC; ++i) {
    expected += static_cast<double>(y[i]) * static_cast<double>(y[i + kC]);
    for (std::size_t j = 0; j < kC; ++j) {
      actual += static_cast<double>(x[i]) * d[i * kC + j] *
                static_cast<double>(x[j + kC]);
    }
  }
  EXPECT_NEAR(actual, expected, 1e-5);
}

TEST(RandomProjectionsTest, HaveVarianceOneOverTheWidth) {
  const ProjectionPair pair = RandomProjections(64, 16, 5, 9);
  for (const std::vector<float>& w : {pair.wq_RC, pair.wk_RC}) {
    ASSERT_EQ(w.size(), 1024);
    const double sum = std::accumulate(w.begin(), w.end(), 0.0);
    const double squares =
        std::inner_product(w.begin(), w.end(), w.begin(), 0.0);
    EXPECT_NEAR(sum / 1024, 0, 4 * 0.125 / 32);
    EXPECT_NEAR(squares / 1024, 1.0 / 64, 4 * std::sqrt(2.0 / 1024) / 64);
  }
  EXPECT_EQ(RandomProjections(64, 16, 5, 9).wq_RC, pair.wq_RC);
  EXPECT_NE(RandomProjections(64, 16, 5, 10).wq_RC, pair.wq_RC);
  EXPECT_NE(RandomProjections(64, 16, 6, 9).wq_RC, pair.wq_RC);
  EXPECT_NE(pair.wk_RC, pair.wq_RC);
}

}  // namespace
}  // namespace rtpurbo::testing
