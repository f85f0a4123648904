#include "kernels/cpu/matmul_fast.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "kernels/core/dtype.h"
#include "kernels/cpu/blas.h"

namespace rtpurbo::kernels::cpu {
namespace {

// Large enough that packing its operands costs little, small enough that the
// products of a small model give every thread some.
constexpr std::int64_t kTileRows = 128;
constexpr std::int64_t kTileColumns = 512;

std::int64_t CeilDiv(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

// A piece of an operand as it is stored: `rows` runs of `columns` elements.
template <typename T>
struct Panel {
  const T* data;
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t ld;
};

// Rows [begin, begin + count) of op(A), which has K columns.
template <typename T>
Panel<T> RowsOf(const T* a, bool transposed, std::int64_t M, std::int64_t K,
                std::int64_t begin, std::int64_t count) {
  return transposed ? Panel<T>{a + begin, K, count, M}
                    : Panel<T>{a + begin * K, count, K, K};
}

Panel<float> InFloat(const Panel<float>& panel, std::vector<float>* /*space*/) {
  return panel;
}

Panel<float> InFloat(const Panel<BFloat16>& panel, std::vector<float>* space) {
  space->resize(static_cast<std::size_t>(panel.rows * panel.columns));
  float* to = space->data();
  for (std::int64_t i = 0; i < panel.rows; ++i) {
    const BFloat16* from = panel.data + i * panel.ld;
    for (std::int64_t j = 0; j < panel.columns; ++j) {
      to[i * panel.columns + j] = static_cast<float>(from[j]);
    }
  }
  return {to, panel.rows, panel.columns, panel.columns};
}

}  // namespace

std::int64_t NumMatmulTiles(const MatmulShape& shape) {
  return CeilDiv(shape.M, kTileRows) * CeilDiv(shape.N, kTileColumns);
}

template <typename T, typename C>
void MatmulTile(const MatmulShape& shape, std::int64_t tile, const T* a,
                const T* b, float beta, C* c) {
  const std::int64_t num_down = CeilDiv(shape.M, kTileRows);
  const std::int64_t m = tile % num_down * kTileRows;
  const std::int64_t n = tile / num_down * kTileColumns;
  MatmulShape part = shape;
  part.M = std::min(kTileRows, shape.M - m);
  part.N = std::min(kTileColumns, shape.N - n);

  thread_local std::vector<float> a_space;
  thread_local std::vector<float> b_space;
  thread_local std::vector<float> c_space;
  const Panel<float> x =
      InFloat(RowsOf(a, shape.trans_a, shape.M, shape.K, m, part.M), &a_space);
  // The columns of op(B) are the rows of its transpose.
  const Panel<float> y =
      InFloat(RowsOf(b, !shape.trans_b, shape.N, shape.K, n, part.N), &b_space);
  C* to = c + m * shape.N + n;
  if constexpr (std::is_same_v<C, float>) {
    Sgemm(part, x.data, x.ld, y.data, y.ld, beta, to, shape.N);
  } else {
    c_space.resize(static_cast<std::size_t>(part.M * part.N));
    float* sum = c_space.data();
    Sgemm(part, x.data, x.ld, y.data, y.ld, 0.0F, sum, part.N);
    for (std::int64_t i = 0; i < part.M; ++i) {
      for (std::int64_t j = 0; j < part.N; ++j) {
        C& out = to[i * shape.N + j];
        const float kept = beta == 0.0F ? 0.0F : beta * Accum<C>(out);
        out = C(sum[i * part.N + j] + kept);
      }
    }
  }
}

using B = BFloat16;
using I = std::int64_t;
template void MatmulTile(const MatmulShape&, I, const float*, const float*,
                         float, float*);
template void MatmulTile(const MatmulShape&, I, const float*, const float*,
                         float, B*);
template void MatmulTile(const MatmulShape&, I, const B*, const B*, float,
                         float*);
template void MatmulTile(const MatmulShape&, I, const B*, const B*, float, B*);

}  // namespace rtpurbo::kernels::cpu
