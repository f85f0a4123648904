// What a mixture of experts is made of: weights of chosen experts, the way to
// expert order and back, and one product per expert.

#include "autograd/ops/ops.h"
#include "kernels/grouped_matmul.h"
#include "kernels/permute.h"
#include "kernels/router.h"

namespace rtpurbo::ops {

Var RouterWeights(Tape& tape, const Var& z_TE, const Tensor& prob_TE,
                  const Tensor& expert_TK, bool normalize) {
  Tensor weight = Tensor::Empty(tape.ctx(), DType::kF32, expert_TK.shape());
  kernels::RouterWeights(tape.ctx(), prob_TE, expert_TK, normalize, &weight);

  return tape.Record("router_weights", {z_TE}, weight,
                     [prob_TE, expert_TK, normalize,
                      dtype = z_TE.value().dtype()](Grads& grads) {
                       Tensor dz =
                           Tensor::Empty(grads.ctx(), dtype, prob_TE.shape());
                       kernels::RouterBackward(grads.ctx(), prob_TE, expert_TK,
                                               normalize, grads.output(), &dz);
                       grads.Add(0, dz);
                     });
}

Var Permute(Tape& tape, const Var& x_TD, const Tensor& place_TK,
            const Tensor& source_N) {
  const Tensor& x = x_TD.value();
  Tensor y = Tensor::Empty(tape.ctx(), x.dtype(), {source_N.dim(0), x.dim(1)});
  kernels::PermuteForward(tape.ctx(), x, source_N, place_TK.dim(1), &y);

  return tape.Record(
      "permute", {x_TD}, y, [place_TK, shape = x.shape()](Grads& grads) {
        const Tensor& dy = grads.output();
        Tensor dx = Tensor::Empty(grads.ctx(), dy.dtype(), shape);
        kernels::PermuteBackward(grads.ctx(), dy, place_TK, &dx);
        grads.Add(0, dx);
      });
}

Var GroupedLinear(Tape& tape, const Var& x_ND, const Var& w_EFD,
                  const Tensor& offset_E) {
  const Tensor& x = x_ND.value();
  const Tensor& w = w_EFD.value();
  Tensor y = Tensor::Empty(tape.ctx(), x.dtype(), {x.dim(0), w.dim(1)});
  kernels::GroupedMatmul(tape.ctx(), x, offset_E, w, /*trans_w=*/true, &y);

  return tape.Record(
      "grouped_linear", {x_ND, w_EFD}, y, [x, w, offset_E](Grads& grads) {
        const ExecContext& ctx = grads.ctx();
        const Tensor& dy = grads.output();
        if (grads.needs(0)) {
          Tensor dx = Tensor::Empty(ctx, x.dtype(), x.shape());
          kernels::GroupedMatmul(ctx, dy, offset_E, w, /*trans_w=*/false, &dx);
          grads.Add(0, dx);
        }
        Tensor dw = grads.Accumulator(1);
        if (dw.defined()) {
          kernels::GroupedMatmulWeightGrad(ctx, dy, x, offset_E, &dw);
        }
      });
}

Var Combine(Tape& tape, const Var& x_ND, const Var& weight_TK,
            const Tensor& place_TK) {
  const Tensor& x = x_ND.value();
  const Tensor& weight = weight_TK.value();
  Tensor y = Tensor::Empty(tape.ctx(), x.dtype(), {weight.dim(0), x.dim(1)});
  kernels::CombineForward(tape.ctx(), x, weight, place_TK, &y);

  return tape.Record(
      "combine", {x_ND, weight_TK}, y, [x, weight, place_TK](Grads& grads) {
        const ExecContext& ctx = grads.ctx();
        Tensor dx;
        Tensor dweight;
        if (grads.needs(0)) {
          dx = Tensor::Empty(ctx, x.dtype(), x.shape());
        }
        if (grads.needs(1)) {
          dweight = Tensor::Empty(ctx, DType::kF32, weight.shape());
        }
        kernels::CombineBackward(ctx, x, weight, place_TK, grads.output(), &dx,
                                 &dweight);
        grads.Add(0, dx);
        grads.Add(1, dweight);
      });
}

}  // namespace rtpurbo::ops
