#include "kernels/elementwise.h"

#include "kernels/core/config.h"
#include "kernels/cpu/elementwise.h"
#include "kernels/cuda/elementwise.h"

namespace rtpurbo::kernels {

void Fill(const ExecContext& ctx, float value, Tensor* dst) {
  DispatchFloat(dst->dtype(), [&]<typename T>() {
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        return cuda::Fill(value, dst->size(), dst->data<T>(), ctx.stream);
      }
    }
    cpu::Fill(value, dst->size(), dst->data<T>());
  });
}

void Cast(const ExecContext& ctx, const Tensor& src, Tensor* dst) {
  CHECK_EQ(src.shape(), dst->shape());
  DispatchFloats(src.dtype(), dst->dtype(), [&]<typename S, typename D>() {
    const S* from = src.data<S>();
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        return cuda::Cast(from, src.size(), dst->data<D>(), ctx.stream);
      }
    }
    cpu::Cast(from, src.size(), dst->data<D>());
  });
}

void AddInto(const ExecContext& ctx, const Tensor& src, Tensor* dst) {
  CHECK_EQ(src.shape(), dst->shape());
  DispatchFloats(src.dtype(), dst->dtype(), [&]<typename S, typename D>() {
    const S* from = src.data<S>();
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        return cuda::AddInto(from, src.size(), dst->data<D>(), ctx.stream);
      }
    }
    cpu::AddInto(from, src.size(), dst->data<D>());
  });
}

}  // namespace rtpurbo::kernels
