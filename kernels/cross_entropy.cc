#include "kernels/cross_entropy.h"

#include "kernels/core/config.h"
#include "kernels/cpu/cross_entropy.h"
#include "kernels/cuda/cross_entropy.h"

namespace rtpurbo::kernels {

void CrossEntropyForward(const ExecContext& ctx, const Tensor& z_TV,
                         const Tensor& label_T, Tensor* lse_T, Tensor* loss) {
  const std::int64_t T_ = z_TV.dim(0);
  const std::int64_t V = z_TV.dim(1);
  CHECK_EQ(label_T.shape(), Shape{T_});
  const auto* label = label_T.data<std::int32_t>();
  float* lse = lse_T->data<float>();
  DispatchFloat(z_TV.dtype(), [&]<typename T>() {
    const T* z = z_TV.data<T>();
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        return cuda::CrossEntropyForward(z, label, T_, V, lse,
                                         loss->data<float>(), ctx.stream);
      }
    }
    cpu::CrossEntropyForward(z, label, T_, V, lse, loss->data<float>());
  });
}

void CrossEntropyBackward(const ExecContext& ctx, const Tensor& z_TV,
                          const Tensor& label_T, const Tensor& lse_T,
                          const Tensor& dloss, Tensor* dz_TV) {
  const std::int64_t T_ = z_TV.dim(0);
  const std::int64_t V = z_TV.dim(1);
  CHECK_EQ(dz_TV->shape(), z_TV.shape());
  const auto* label = label_T.data<std::int32_t>();
  const float* lse = lse_T.data<float>();
  const float* seed = dloss.data<float>();
  DispatchFloat(z_TV.dtype(), [&]<typename T>() {
    const T* z = z_TV.data<T>();
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        return cuda::CrossEntropyBackward(z, label, lse, seed, T_, V,
                                          dz_TV->data<T>(), ctx.stream);
      }
    }
    cpu::CrossEntropyBackward(z, label, lse, seed, T_, V, dz_TV->data<T>());
  });
}

}  // namespace rtpurbo::kernels
