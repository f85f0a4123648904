#include "kernels/top_k_kl.h"

#include "autograd/ops/ops.h"

namespace rtpurbo::ops {

Var TopKKl(Tape& tape, const Var& x_LD, const Var& w_VD, const Tensor& id_LK,
           const Tensor& teacher_LK) {
  const Tensor& x = x_LD.value();
  const Tensor& w = w_VD.value();
  Tensor dz = Tensor::Empty(tape.ctx(), DType::kF32, id_LK.shape());
  Tensor loss = Tensor::Empty(tape.ctx(), DType::kF32, {1});
  kernels::TopKKlForward(tape.ctx(), x, w, id_LK, teacher_LK, &dz, &loss);

  return tape.Record("top_k_kl", {x_LD, w_VD}, loss,
                     [x, w, id_LK, dz](Grads& grads) {
                       Tensor dx;
                       if (grads.needs(0)) {
                         dx = Tensor::Empty(grads.ctx(), x.dtype(), x.shape());
                       }
                       Tensor dw = grads.Accumulator(1);
                       kernels::TopKKlBackward(grads.ctx(), x, w, id_LK, dz,
                                               grads.output(), &dx, &dw);
                       grads.Add(0, dx);
                     });
}

}  // namespace rtpurbo::ops
