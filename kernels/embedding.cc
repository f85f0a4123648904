#include "kernels/embedding.h"

#include "kernels/core/config.h"
#include "kernels/core/parallel.h"
#include "kernels/cpu/embedding.h"
#include "kernels/cuda/embedding.h"

namespace rtpurbo::kernels {

void EmbeddingForward(const ExecContext& ctx, const Tensor& w_VD,
                      const Tensor& id_T, Tensor* y_TD) {
  const std::int64_t D = w_VD.dim(1);
  CHECK_EQ(y_TD->shape(), (Shape{id_T.dim(0), D}));
  CHECK(w_VD.dtype() == y_TD->dtype());
  DispatchFloat(w_VD.dtype(), [&]<typename T>() {
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        return cuda::EmbeddingForward(w_VD.data<T>(), id_T.data<std::int32_t>(),
                                      id_T.dim(0), D, y_TD->data<T>(),
                                      ctx.stream);
      }
    }
    ParallelFor(id_T.dim(0), 256, [&](std::int64_t begin, std::int64_t end) {
      cpu::EmbeddingForward(w_VD.data<T>(), id_T.data<std::int32_t>(),
                            w_VD.dim(0), D, begin, end, y_TD->data<T>());
    });
  });
}

void EmbeddingBackward(const ExecContext& ctx, const Tensor& id_T,
                       const Tensor& dy_TD, Tensor* dw_VD) {
  const std::int64_t T_ = id_T.dim(0);
  const std::int64_t D = dw_VD->dim(1);
  CHECK_EQ(dy_TD.shape(), (Shape{T_, D}));
  DispatchFloat(dy_TD.dtype(), [&]<typename T>() {
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        return cuda::EmbeddingBackward(id_T.data<std::int32_t>(),
                                       dy_TD.data<T>(), T_, D,
                                       dw_VD->data<float>(), ctx.stream);
      }
    }
    // Cut by columns: rows of equal ids must add up in their order.
    ParallelFor(D, 64, [&](std::int64_t begin, std::int64_t end) {
      cpu::EmbeddingBackward(id_T.data<std::int32_t>(), dy_TD.data<T>(), T_,
                             dw_VD->dim(0), D, begin, end,
                             dw_VD->data<float>());
    });
  });
}

}  // namespace rtpurbo::kernels
