#include "kernels/swi_glu.h"

#include "kernels/core/config.h"
#include "kernels/core/parallel.h"
#include "kernels/cpu/swi_glu_fast.h"
#include "kernels/cuda/swi_glu.h"

namespace rtpurbo::kernels {
namespace {

constexpr std::int64_t kElements = 1 << 13;  // a piece

}  // namespace

void SwiGluForward(const ExecContext& ctx, const Tensor& gate, const Tensor& up,
                   Tensor* y) {
  CHECK_EQ(gate.shape(), up.shape());
  CHECK_EQ(gate.shape(), y->shape());
  DispatchFloat(gate.dtype(), [&]<typename T>() {
    const T* g = gate.data<T>();
    const T* u = up.data<T>();
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        return cuda::SwiGluForward(g, u, y->size(), y->data<T>(), ctx.stream);
      }
    }
    T* to = y->data<T>();
    ParallelFor(y->size(), kElements, [=](std::int64_t begin, auto end) {
      cpu::FastSwiGluForward(g + begin, u + begin, end - begin, to + begin);
    });
  });
}

void SwiGluBackward(const ExecContext& ctx, const Tensor& gate,
                    const Tensor& up, const Tensor& dy, Tensor* dgate,
                    Tensor* dup) {
  CHECK_EQ(gate.shape(), up.shape());
  CHECK_EQ(gate.shape(), dy.shape());
  CHECK_EQ(gate.shape(), dgate->shape());
  CHECK_EQ(gate.shape(), dup->shape());
  DispatchFloat(gate.dtype(), [&]<typename T>() {
    const T* g = gate.data<T>();
    const T* u = up.data<T>();
    const T* d = dy.data<T>();
    T* dg = dgate->data<T>();
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        return cuda::SwiGluBackward(g, u, d, dy.size(), dg, dup->data<T>(),
                                    ctx.stream);
      }
    }
    T* du = dup->data<T>();
    ParallelFor(dy.size(), kElements, [=](std::int64_t begin, auto end) {
      cpu::FastSwiGluBackward(g + begin, u + begin, d + begin, end - begin,
                              dg + begin, du + begin);
    });
  });
}

}  // namespace rtpurbo::kernels
