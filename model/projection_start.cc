#include "model/projection_start.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "kernels/core/check.h"
#include "kernels/core/rng.h"

namespace rtpurbo {
namespace {

constexpr int kMaxSweeps = 60;
constexpr double kOrthogonal = 1e-14;  // cosine of two columns

// Square, row-major.
class Matrix {
 public:
  explicit Matrix(std::int64_t size)
      : size_(size), values_(static_cast<std::size_t>(size * size)) {}
  Matrix(std::int64_t size, const std::vector<double>& values)
      : size_(size), values_(values) {
    CHECK_EQ(static_cast<std::int64_t>(values.size()), size * size);
  }
  std::int64_t size() const { return size_; }
  double& at(std::int64_t i, std::int64_t j) { return row(i)[j]; }
  double at(std::int64_t i, std::int64_t j) const { return row(i)[j]; }
  double* row(std::int64_t i) { return values_.data() + i * size_; }
  const double* row(std::int64_t i) const { return values_.data() + i * size_; }
  double trace() const {
    double sum = 0;
    for (std::int64_t i = 0; i < size_; ++i) {
      sum += at(i, i);
    }
    return sum;
  }

 private:
  std::int64_t size_;
  std::vector<double> values_;
};

double Dot(const double* a, const double* b, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    sum += a[i] * b[i];
  }
  return sum;
}

// L with L L^T = s + ridge * mean of its diagonal.
Matrix Cholesky(const Matrix& s, double ridge) {
  const std::int64_t n = s.size();
  const double added = ridge * s.trace() / static_cast<double>(n);
  Matrix l(n);
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j <= i; ++j) {
      const double rest = s.at(i, j) - Dot(l.row(i), l.row(j), j);
      if (i > j) {
        l.at(i, j) = rest / l.at(j, j);
        continue;
      }
      CHECK(rest + added > 0) << "moments with ridge " << ridge
                              << " are not positive definite at row " << i;
      l.at(i, i) = std::sqrt(rest + added);
    }
  }
  return l;
}

// (a^T b c)^T = c^T b^T a, by rows: row j is column j of a^T b c.
Matrix ColumnsOf(const Matrix& a, const Matrix& b, const Matrix& c) {
  const std::int64_t n = a.size();
  Matrix bc(n);  // row j: column j of b c
  Matrix columns(n);
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t k = 0; k < n; ++k) {
      for (std::int64_t j = 0; j < n; ++j) {
        bc.at(j, i) += b.at(i, k) * c.at(k, j);
      }
    }
  }
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t k = 0; k < n; ++k) {
      for (std::int64_t i = 0; i < n; ++i) {
        columns.at(j, i) += a.at(k, i) * bc.at(j, k);
      }
    }
  }
  return columns;
}

// x, y := c x - s y, s x + c y.
void Rotate(double c, double s, std::int64_t n, double* x, double* y) {
  for (std::int64_t i = 0; i < n; ++i) {
    const double xi = x[i];
    x[i] = c * xi - s * y[i];
    y[i] = s * xi + c * y[i];
  }
}

// Makes rows p and q of *us orthogonal by a rotation that *v takes part in.
// Returns whether they were not yet.
bool RotateApart(std::int64_t p, std::int64_t q, Matrix* us, Matrix* v) {
  const std::int64_t n = us->size();
  const double pp = Dot(us->row(p), us->row(p), n);
  const double qq = Dot(us->row(q), us->row(q), n);
  const double pq = Dot(us->row(p), us->row(q), n);
  if (std::abs(pq) <= kOrthogonal * std::sqrt(pp * qq)) {
    return false;
  }
  const double cotangent = (qq - pp) / (2 * pq);  // of twice the angle
  const double tangent =
      std::copysign(1, cotangent) /
      (std::abs(cotangent) + std::sqrt(1 + cotangent * cotangent));
  const double cosine = 1 / std::sqrt(1 + tangent * tangent);
  Rotate(cosine, cosine * tangent, n, us->row(p), us->row(q));
  Rotate(cosine, cosine * tangent, n, v->row(p), v->row(q));
  return true;
}

// One-sided Jacobi (Hestenes 1958). Given the columns of A as rows of *us,
// leaves row r of *us = s_r u_r and row r of *v = v_r, with
// A = sum_r s_r u_r v_r^T; in no order.
void Decompose(Matrix* us, Matrix* v) {
  const std::int64_t n = us->size();
  for (std::int64_t i = 0; i < n; ++i) {
    v->at(i, i) = 1;
  }
  bool rotated = true;
  for (int sweep = 0; rotated && sweep < kMaxSweeps; ++sweep) {
    rotated = false;
    for (std::int64_t p = 0; p < n; ++p) {
      for (std::int64_t q = p + 1; q < n; ++q) {
        rotated = RotateApart(p, q, us, v) || rotated;
      }
    }
  }
}

// w with w l = factor x^T, for lower triangular l.
std::vector<double> SolveRow(const Matrix& l, const double* x, double factor) {
  std::vector<double> w(x, x + l.size());
  for (double& value : w) {
    value *= factor;
  }
  for (std::int64_t i = l.size() - 1; i >= 0; --i) {
    double& value = w[static_cast<std::size_t>(i)];
    value /= l.at(i, i);
    for (std::int64_t j = 0; j < i; ++j) {
      w[static_cast<std::size_t>(j)] -= value * l.at(i, j);
    }
  }
  return w;
}

// Appends the row with the sign that `like` gives to its largest element.
void AppendRow(const std::vector<double>& row, const std::vector<double>& like,
               std::vector<float>* to) {
  const double largest = *std::max_element(
      like.begin(), like.end(),
      [](double a, double b) { return std::abs(a) < std::abs(b); });
  for (const double value : row) {
    to->push_back(static_cast<float>(largest < 0 ? -value : value));
  }
}

ProjectionPair Zeros(std::int64_t C, std::int64_t R) {
  const std::vector<float> zeros(static_cast<std::size_t>(R * C));
  return {zeros, zeros};
}

}  // namespace

// The mean of exp(i n f) over n in [first, last] is
//   exp(i f (first + last) / 2) sin(count f / 2) / (count sin(f / 2)).
std::vector<double> MeanRotation(double base, std::int64_t C,
                                 std::int64_t first, std::int64_t last) {
  CHECK_EQ(C % 2, 0) << "RoPE turns pairs";
  CHECK_LE(0, first);
  CHECK_LE(first, last);
  const std::int64_t half = C / 2;
  const auto count = static_cast<double>(last - first + 1);
  std::vector<double> values(static_cast<std::size_t>(C * C));
  const auto at = [&](std::int64_t i, std::int64_t j) -> double& {
    return values[static_cast<std::size_t>(i * C + j)];
  };
  for (std::int64_t c = 0; c < half; ++c) {
    const double frequency =
        std::pow(base, -2 * static_cast<double>(c) / static_cast<double>(C));
    const double length =
        std::sin(count * frequency / 2) / (count * std::sin(frequency / 2));
    const double angle = frequency * static_cast<double>(first + last) / 2;
    at(c, c) = length * std::cos(angle);
    at(c, c + half) = length * std::sin(angle);
    at(c + half, c) = -at(c, c + half);
    at(c + half, c + half) = at(c, c);
  }
  return values;
}

std::vector<double> Identity(std::int64_t C) {
  std::vector<double> identity(static_cast<std::size_t>(C * C));
  for (std::int64_t c = 0; c < C; ++c) {
    identity[static_cast<std::size_t>(c * C + c)] = 1;
  }
  return identity;
}

ProjectionPair BestProjections(const std::vector<double>& sq_CC,
                               const std::vector<double>& sk_CC,
                               const std::vector<double>& d_CC, std::int64_t C,
                               std::int64_t R, double ridge) {
  CHECK_LE(R, C);
  const Matrix sq(C, sq_CC);
  const Matrix sk(C, sk_CC);
  if (sq.trace() == 0 || sk.trace() == 0) {
    return Zeros(C, R);
  }
  const Matrix lq = Cholesky(sq, ridge);
  const Matrix lk = Cholesky(sk, ridge);
  Matrix us = ColumnsOf(lq, Matrix(C, d_CC), lk);
  Matrix v(C);
  Decompose(&us, &v);
  std::vector<std::pair<double, std::int64_t>> order;  // minus s, row
  for (std::int64_t r = 0; r < C; ++r) {
    order.emplace_back(-std::sqrt(Dot(us.row(r), us.row(r), C)), r);
  }
  std::sort(order.begin(), order.end());
  ProjectionPair pair;
  for (std::int64_t r = 0; r < R; ++r) {
    const auto [minus_s, row] = order[static_cast<std::size_t>(r)];
    const double root = std::sqrt(-minus_s);
    const std::vector<double> zero(static_cast<std::size_t>(C));
    const auto wq = root == 0 ? zero : SolveRow(lq, us.row(row), 1 / root);
    const auto wk = root == 0 ? zero : SolveRow(lk, v.row(row), root);
    AppendRow(wq, wq, &pair.wq_RC);
    AppendRow(wk, wq, &pair.wk_RC);
  }
  return pair;
}

// Box and Muller (1958), a pair of normal numbers from two uniform ones.
ProjectionPair RandomProjections(std::int64_t C, std::int64_t R,
                                 std::uint64_t seed, std::uint64_t stream) {
  constexpr double kTwoPi = 6.283185307179586;
  Rng rng(seed, stream);
  const double deviation = 1 / std::sqrt(static_cast<double>(C));
  ProjectionPair pair;
  for (std::int64_t i = 0; i < R * C; ++i) {
    const double radius =
        deviation * std::sqrt(-2 * std::log(1 - rng.Uniform()));
    const double angle = kTwoPi * rng.Uniform();
    pair.wq_RC.push_back(static_cast<float>(radius * std::cos(angle)));
    pair.wk_RC.push_back(static_cast<float>(radius * std::sin(angle)));
  }
  return pair;
}

}  // namespace rtpurbo
