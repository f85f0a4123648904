#include "autograd/ops/ops.h"
#include "kernels/elementwise.h"

namespace rtpurbo::ops {

Var Add(Tape& tape, const Var& a, const Var& b) {
  Tensor y = a.value().Clone(tape.ctx());
  kernels::AddInto(tape.ctx(), b.value(), &y);
  return tape.Record("add", {a, b}, y, [](Grads& grads) {
    grads.Add(0, grads.output());
    grads.Add(1, grads.output());
  });
}

}  // namespace rtpurbo::ops
