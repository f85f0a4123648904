#include "kernels/elementwise.h"

#include "kernels/core/config.h"
#include "kernels/core/parallel.h"
#include "kernels/cpu/elementwise.h"
#include "kernels/cuda/elementwise.h"

namespace rtpurbo::kernels {
namespace {

constexpr std::int64_t kElements = 1 << 15;  // a piece

}  // namespace

void Fill(const ExecContext& ctx, float value, Tensor* dst) {
  DispatchFloat(dst->dtype(), [&]<typename T>() {
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        return cuda::Fill(value, dst->size(), dst->data<T>(), ctx.stream);
      }
    }
    T* to = dst->data<T>();
    ParallelFor(dst->size(), kElements, [=](std::int64_t begin, auto end) {
      cpu::Fill(value, end - begin, to + begin);
    });
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
    D* to = dst->data<D>();
    ParallelFor(src.size(), kElements, [=](std::int64_t begin, auto end) {
      cpu::Cast(from + begin, end - begin, to + begin);
    });
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
    D* to = dst->data<D>();
    ParallelFor(src.size(), kElements, [=](std::int64_t begin, auto end) {
      cpu::AddInto(from + begin, end - begin, to + begin);
    });
  });
}

}  // namespace rtpurbo::kernels
