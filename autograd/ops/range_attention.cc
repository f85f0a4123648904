#include "kernels/range_attention.h"

#include "autograd/ops/ops.h"

namespace rtpurbo::ops {

Var RangeAttention(
    Tape& tape, const std::shared_ptr<const kernels::AttentionPattern>& pattern,
    const Var& q_THC, const Var& k_NGC, const Var& v_NGC,
    std::int64_t query_begin, Tensor* lse_HT) {
  const Tensor& q = q_THC.value();
  const kernels::AttentionInputs in{q, k_NGC.value(), v_NGC.value(),
                                    query_begin};
  Tensor o = Tensor::Empty(tape.ctx(), q.dtype(), q.shape());
  Tensor lse = Tensor::Empty(tape.ctx(), DType::kF32, {q.dim(1), q.dim(0)});
  kernels::RangeAttentionForward(tape.ctx(), *pattern, in, &o, &lse);
  if (lse_HT != nullptr) {
    *lse_HT = lse;
  }

  return tape.Record(
      "range_attention", {q_THC, k_NGC, v_NGC}, o,
      [pattern, in, o, lse](Grads& grads) {
        const auto wanted = [&](std::size_t i, const Tensor& like) {
          return grads.needs(i)
                     ? Tensor::Empty(grads.ctx(), like.dtype(), like.shape())
                     : Tensor();
        };
        Tensor dq = wanted(0, in.q_THC);
        Tensor dk = wanted(1, in.k_NGC);
        Tensor dv = wanted(2, in.v_NGC);
        kernels::RangeAttentionBackward(grads.ctx(), *pattern, in, o, lse,
                                        grads.output(), &dq, &dk, &dv);
        grads.Add(0, dq);
        grads.Add(1, dk);
        grads.Add(2, dv);
      });
}

}  // namespace rtpurbo::ops
