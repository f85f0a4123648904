#include "kernels/gate_heads.h"

#include "autograd/ops/ops.h"

namespace rtpurbo::ops {

Var GateHeads(Tape& tape, const Var& full_THC, const Var& local_THC,
              const Var& gate_H) {
  const Tensor& full = full_THC.value();
  const Tensor& local = local_THC.value();
  const Tensor& gate = gate_H.value();
  Tensor y = Tensor::Empty(tape.ctx(), full.dtype(), full.shape());
  kernels::GateHeadsForward(tape.ctx(), full, local, gate, &y);

  return tape.Record(
      "gate_heads", {full_THC, local_THC, gate_H}, y,
      [full, local, gate](Grads& grads) {
        const auto wanted = [&](std::size_t i) {
          return grads.needs(i)
                     ? Tensor::Empty(grads.ctx(), full.dtype(), full.shape())
                     : Tensor();
        };
        Tensor dfull = wanted(0);
        Tensor dlocal = wanted(1);
        Tensor dgate = grads.Accumulator(2);
        kernels::GateHeadsBackward(grads.ctx(), full, local, gate,
                                   grads.output(), &dfull, &dlocal, &dgate);
        grads.Add(0, dfull);
        grads.Add(1, dlocal);
      });
}

}  // namespace rtpurbo::ops
