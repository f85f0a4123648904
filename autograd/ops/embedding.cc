#include "kernels/embedding.h"

#include "autograd/ops/ops.h"

namespace rtpurbo::ops {

Var Embedding(Tape& tape, const Var& w_VD, const Tensor& id_T) {
  const Tensor& w = w_VD.value();
  Tensor y = Tensor::Empty(tape.ctx(), w.dtype(), {id_T.dim(0), w.dim(1)});
  kernels::EmbeddingForward(tape.ctx(), w, id_T, &y);

  return tape.Record("embedding", {w_VD}, y, [id_T](Grads& grads) {
    Tensor dw = grads.Accumulator(0);
    kernels::EmbeddingBackward(grads.ctx(), id_T, grads.output(), &dw);
  });
}

}  // namespace rtpurbo::ops
