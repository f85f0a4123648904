#include "kernels/rope.h"

#include "autograd/ops/ops.h"

namespace rtpurbo::ops {

Var Rope(Tape& tape, const Var& x_THC, const Tensor& position_T,
         const Tensor& cos_NC, const Tensor& sin_NC) {
  const Tensor& x = x_THC.value();
  Tensor y = Tensor::Empty(tape.ctx(), x.dtype(), x.shape());
  kernels::Rope(tape.ctx(), x, position_T, cos_NC, sin_NC, /*inverse=*/false,
                &y);

  return tape.Record(
      "rope", {x_THC}, y, [position_T, cos_NC, sin_NC](Grads& grads) {
        const Tensor& dy = grads.output();
        Tensor dx = Tensor::Empty(grads.ctx(), dy.dtype(), dy.shape());
        kernels::Rope(grads.ctx(), dy, position_T, cos_NC, sin_NC,
                      /*inverse=*/true, &dx);
        grads.Add(0, dx);
      });
}

}  // namespace rtpurbo::ops
