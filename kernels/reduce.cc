#include "kernels/reduce.h"

#include <vector>

#include "kernels/core/config.h"
#include "kernels/core/parallel.h"
#include "kernels/cuda/reduce.h"

namespace rtpurbo::kernels {

void SumSquares(const ExecContext& ctx, const Tensor& x, Tensor* sum) {
  CHECK_EQ(sum->shape(), Shape{1});
  if constexpr (kHasCuda) {
    if (OnCuda(ctx)) {
      const Storage space(ctx.Tagged("workspace"), cuda::kSumSquaresWorkspace);
      return cuda::SumSquares(x.data<float>(), x.size(), sum->data<float>(),
                              space.data(), ctx.stream);
    }
  }
  constexpr std::int64_t kPiece = 1 << 16;
  const float* values = x.data<float>();
  std::vector<double> partial(
      static_cast<std::size_t>((x.size() + kPiece - 1) / kPiece));
  ParallelFor(x.size(), kPiece, [&](std::int64_t begin, std::int64_t end) {
    double total = 0;
    for (std::int64_t i = begin; i < end; ++i) {
      total += static_cast<double>(values[i]) * values[i];
    }
    partial[static_cast<std::size_t>(begin / kPiece)] = total;
  });
  double total = *sum->data<float>();
  for (const double part : partial) {
    total += part;
  }
  *sum->data<float>() = static_cast<float>(total);
}

}  // namespace rtpurbo::kernels
