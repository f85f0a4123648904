#include "kernels/rms_norm.h"

#include "kernels/core/config.h"
#include "kernels/cpu/rms_norm.h"
#include "kernels/cuda/rms_norm.h"

namespace rtpurbo::kernels {

void RmsNormForward(const ExecContext& ctx, const Tensor& x_TD,
                    const Tensor& w_D, float eps, Tensor* y_TD, Tensor* r_T) {
  const std::int64_t T_ = x_TD.dim(0);
  const std::int64_t D = x_TD.dim(1);
  CHECK_EQ(w_D.shape(), Shape{D});
  CHECK_EQ(y_TD->shape(), x_TD.shape());
  DispatchFloat(x_TD.dtype(), [&]<typename T>() {
    const T* x = x_TD.data<T>();
    const T* w = w_D.data<T>();
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        return cuda::RmsNormForward(x, w, eps, T_, D, y_TD->data<T>(),
                                    r_T->data<float>(), ctx.stream);
      }
    }
    cpu::RmsNormForward(x, w, eps, T_, D, y_TD->data<T>(), r_T->data<float>());
  });
}

void RmsNormBackward(const ExecContext& ctx, const Tensor& x_TD,
                     const Tensor& w_D, const Tensor& r_T, const Tensor& dy_TD,
                     Tensor* dx_TD, Tensor* dw_D) {
  const std::int64_t T_ = x_TD.dim(0);
  const std::int64_t D = x_TD.dim(1);
  CHECK_EQ(dy_TD.shape(), x_TD.shape());
  float* dw = dw_D->defined() ? dw_D->data<float>() : nullptr;
  const float* r = r_T.data<float>();
  DispatchFloat(x_TD.dtype(), [&]<typename T>() {
    const T* x = x_TD.data<T>();
    const T* w = w_D.data<T>();
    const T* dy = dy_TD.data<T>();
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        return cuda::RmsNormBackward(x, w, r, dy, T_, D, dx_TD->data<T>(), dw,
                                     ctx.stream);
      }
    }
    cpu::RmsNormBackward(x, w, r, dy, T_, D, dx_TD->data<T>(), dw);
  });
}

}  // namespace rtpurbo::kernels
