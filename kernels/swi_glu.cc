#include "kernels/swi_glu.h"

#include "kernels/core/config.h"
#include "kernels/cpu/swi_glu.h"
#include "kernels/cuda/swi_glu.h"

namespace rtpurbo::kernels {

void SwiGluForward(const ExecContext& ctx, const Tensor& gate, const Tensor& up,
                   Tensor* y) {
  CHECK_EQ(gate.shape(), up.shape());
  DispatchFloat(gate.dtype(), [&]<typename T>() {
    const T* g = gate.data<T>();
    const T* u = up.data<T>();
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        return cuda::SwiGluForward(g, u, y->size(), y->data<T>(), ctx.stream);
      }
    }
    cpu::SwiGluForward(g, u, y->size(), y->data<T>());
  });
}

void SwiGluBackward(const ExecContext& ctx, const Tensor& gate,
                    const Tensor& up, const Tensor& dy, Tensor* dgate,
                    Tensor* dup) {
  CHECK_EQ(gate.shape(), dy.shape());
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
    cpu::SwiGluBackward(g, u, d, dy.size(), dg, dup->data<T>());
  });
}

}  // namespace rtpurbo::kernels
