#include "kernels/cpu/blas.h"

#include <cblas.h>

#include <algorithm>
#include <limits>

#include "kernels/core/check.h"

namespace rtpurbo::kernels::cpu {
namespace {

blasint Int(std::int64_t n) {
  CHECK_LE(n, std::int64_t{std::numeric_limits<blasint>::max()});
  return static_cast<blasint>(n);
}

// Even an empty matrix has one of at least 1.
blasint Stride(std::int64_t ld) {
  return Int(std::max<std::int64_t>(1, ld));
}

bool KeepToOneThread() {
  openblas_set_num_threads(1);
  return true;
}

// The product of a single row, as in decoding: five times as fast as a matrix
// product that packs B for it.
void RowTimesMatrix(const MatmulShape& shape, const float* a,
                    std::int64_t a_step, const float* b, std::int64_t ldb,
                    float beta, float* c) {
  if (beta == 0.0F) {
    std::fill_n(c, shape.N, 0.0F);
  }
  const std::int64_t rows = shape.trans_b ? shape.N : shape.K;
  const std::int64_t columns = shape.trans_b ? shape.K : shape.N;
  cblas_sgemv(CblasRowMajor, shape.trans_b ? CblasNoTrans : CblasTrans,
              Int(rows), Int(columns), 1.0F, b, Stride(ldb), a, Stride(a_step),
              beta, c, 1);
}

}  // namespace

void Sgemm(const MatmulShape& shape, const float* a, std::int64_t lda,
           const float* b, std::int64_t ldb, float beta, float* c,
           std::int64_t ldc) {
  [[maybe_unused]] static const bool once = KeepToOneThread();
  if (shape.M == 1) {
    return RowTimesMatrix(shape, a, shape.trans_a ? lda : 1, b, ldb, beta, c);
  }
  cblas_sgemm(CblasRowMajor, shape.trans_a ? CblasTrans : CblasNoTrans,
              shape.trans_b ? CblasTrans : CblasNoTrans, Int(shape.M),
              Int(shape.N), Int(shape.K), 1.0F, a, Stride(lda), b, Stride(ldb),
              beta, c, Stride(ldc));
}

}  // namespace rtpurbo::kernels::cpu
