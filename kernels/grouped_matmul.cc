#include "kernels/grouped_matmul.h"

#include <functional>
#include <vector>

#include "kernels/core/config.h"
#include "kernels/core/parallel.h"
#include "kernels/cpu/matmul_fast.h"
#include "kernels/cuda/grouped_matmul.h"

namespace rtpurbo::kernels {
namespace {

// A tile of the product of expert `e`.
struct Item {
  std::int64_t e;
  MatmulShape shape;
  std::int64_t tile;
};

// Calls fn(item) for every tile of every expert, where shape_of(rows) is the
// product of an expert with so many rows.
void ForEachTile(const Tensor& offset_E, std::int64_t num_rows,
                 const std::function<MatmulShape(std::int64_t)>& shape_of,
                 const std::function<void(const Item&)>& fn) {
  const auto* offset = offset_E.data<std::int32_t>();
  const std::int64_t E = offset_E.dim(0) - 1;
  CHECK_EQ(offset[0], 0);
  CHECK_EQ(offset[E], num_rows) << "of the last expert";
  std::vector<Item> items;
  for (std::int64_t e = 0; e < E; ++e) {
    CHECK_LE(offset[e], offset[e + 1]) << "of expert " << e;
    const MatmulShape shape = shape_of(offset[e + 1] - offset[e]);
    for (std::int64_t i = 0; i < cpu::NumMatmulTiles(shape); ++i) {
      items.push_back({e, shape, i});
    }
  }
  const auto run = [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      fn(items[static_cast<std::size_t>(i)]);
    }
  };
  ParallelFor(static_cast<std::int64_t>(items.size()), 1, run);
}

}  // namespace

void GroupedMatmul(const ExecContext& ctx, const Tensor& a_NK,
                   const Tensor& offset_E, const Tensor& w_EXY, bool trans_w,
                   Tensor* c_NM) {
  const std::int64_t K = a_NK.dim(1);
  const std::int64_t M = w_EXY.dim(trans_w ? 1 : 2);
  CHECK_EQ(w_EXY.dim(trans_w ? 2 : 1), K)
      << a_NK.shape() << " x " << w_EXY.shape();
  CHECK_EQ(offset_E.shape(), Shape{w_EXY.dim(0) + 1});
  CHECK_EQ(c_NM->shape(), (Shape{a_NK.dim(0), M}));
  if constexpr (kHasCuda) {
    if (OnCuda(ctx)) {
      return DispatchFloat(a_NK.dtype(), [&]<typename T>() {
        cuda::GroupedMatmul({a_NK.dim(0), K, M, w_EXY.dim(0), trans_w},
                            a_NK.data<T>(), offset_E.data<std::int32_t>(),
                            w_EXY.data<T>(), c_NM->data<T>(), ctx.stream);
      });
    }
  }
  const auto shape_of = [=](std::int64_t rows) {
    return MatmulShape{rows, M, K, false, trans_w};
  };
  DispatchFloat(a_NK.dtype(), [&]<typename T>() {
    const T* a = a_NK.data<T>();
    const T* w = w_EXY.data<T>();
    T* c = c_NM->data<T>();
    const auto* offset = offset_E.data<std::int32_t>();
    ForEachTile(offset_E, a_NK.dim(0), shape_of, [=](const Item& item) {
      const std::int64_t begin = offset[item.e];
      cpu::MatmulTile(item.shape, item.tile, a + begin * K, w + item.e * K * M,
                      0.0F, c + begin * M);
    });
  });
}

void GroupedMatmulWeightGrad(const ExecContext& ctx, const Tensor& a_NX,
                             const Tensor& b_NY, const Tensor& offset_E,
                             Tensor* dw_EXY) {
  const std::int64_t X = a_NX.dim(1);
  const std::int64_t Y = b_NY.dim(1);
  CHECK_EQ(a_NX.dim(0), b_NY.dim(0));
  CHECK_EQ(dw_EXY->shape(), (Shape{offset_E.dim(0) - 1, X, Y}));
  if constexpr (kHasCuda) {
    if (OnCuda(ctx)) {
      return DispatchFloat(a_NX.dtype(), [&]<typename T>() {
        cuda::GroupedMatmulWeightGrad({a_NX.dim(0), X, Y, offset_E.dim(0) - 1},
                                      a_NX.data<T>(), b_NY.data<T>(),
                                      offset_E.data<std::int32_t>(),
                                      dw_EXY->data<float>(), ctx.stream);
      });
    }
  }
  const auto shape_of = [=](std::int64_t rows) {
    return MatmulShape{X, rows == 0 ? 0 : Y, rows, true, false};
  };
  DispatchFloat(a_NX.dtype(), [&]<typename T>() {
    const T* a = a_NX.data<T>();
    const T* b = b_NY.data<T>();
    float* dw = dw_EXY->data<float>();
    const auto* offset = offset_E.data<std::int32_t>();
    ForEachTile(offset_E, a_NX.dim(0), shape_of, [=](const Item& item) {
      const std::int64_t begin = offset[item.e];
      cpu::MatmulTile(item.shape, item.tile, a + begin * X, b + begin * Y, 1.0F,
                      dw + item.e * X * Y);
    });
  });
}

}  // namespace rtpurbo::kernels
