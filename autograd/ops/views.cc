// Reshape and Rows: values share the bytes of their input.

#include "autograd/ops/ops.h"

namespace rtpurbo::ops {

Var Reshape(Tape& tape, const Var& x, const Shape& shape) {
  const Shape from = x.value().shape();
  return tape.Record(
      "reshape", {x}, x.value().Reshape(shape),
      [from](Grads& grads) { grads.Add(0, grads.output().Reshape(from)); });
}

Var Rows(Tape& tape, const Var& x, std::int64_t begin, std::int64_t end) {
  const Tensor& value = x.value();
  if (begin == 0 && end == value.dim(0)) {
    return x;
  }
  return tape.Record(
      "rows", {x}, value.Slice(begin, end),
      [begin, end, dtype = value.dtype(), shape = value.shape()](Grads& grads) {
        const ExecContext& ctx = grads.ctx();
        const Tensor& dy = grads.output();
        Tensor dx = Tensor::Zeros(ctx, dtype, shape);
        CopyBytes(ctx, dy.bytes(), dx.Slice(begin, end).bytes(),
                  dy.num_bytes());
        grads.Add(0, dx);
      });
}

}  // namespace rtpurbo::ops
