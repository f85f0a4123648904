// PickRows and ConcatRows: rows in another order, or of several values.

#include "autograd/ops/ops.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"

namespace rtpurbo::ops {

Var PickRows(Tape& tape, const Var& x_ND, const Tensor& row_M) {
  const Tensor& x = x_ND.value();
  Tensor y = Tensor::Empty(tape.ctx(), x.dtype(), {row_M.dim(0), x.dim(1)});
  kernels::EmbeddingForward(tape.ctx(), x, row_M, &y);

  return tape.Record(
      "pick_rows", {x_ND}, y,
      [row_M, dtype = x.dtype(), shape = x.shape()](Grads& grads) {
        const ExecContext& ctx = grads.ctx();
        Tensor sum = Tensor::Zeros(ctx, DType::kF32, shape);
        kernels::EmbeddingBackward(ctx, row_M, grads.output(), &sum);
        Tensor dx = Tensor::Empty(ctx, dtype, shape);
        kernels::Cast(ctx, sum, &dx);
        grads.Add(0, dx);
      });
}

Var ConcatRows(Tape& tape, const std::vector<Var>& parts) {
  CHECK_LE(std::size_t{1}, parts.size());
  Shape shape = parts[0].value().shape();
  shape[0] = 0;
  std::vector<std::int64_t> begins;
  for (const Var& part : parts) {
    begins.push_back(shape[0]);
    shape[0] += part.value().dim(0);
  }
  const ExecContext& ctx = tape.ctx();
  Tensor y = Tensor::Empty(ctx, parts[0].value().dtype(), shape);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Tensor& x = parts[i].value();
    CopyBytes(ctx, x.bytes(), y.Slice(begins[i], begins[i] + x.dim(0)).bytes(),
              x.num_bytes());
  }
  begins.push_back(shape[0]);

  return tape.Record("concat_rows", parts, y, [begins](Grads& grads) {
    for (std::size_t i = 0; i + 1 < begins.size(); ++i) {
      grads.Add(i, grads.output().Slice(begins[i], begins[i + 1]));
    }
  });
}

}  // namespace rtpurbo::ops
