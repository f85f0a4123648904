#include "kernels/adamw.h"

#include "kernels/core/config.h"
#include "kernels/core/parallel.h"
#include "kernels/cpu/adamw.h"
#include "kernels/cuda/adamw.h"

namespace rtpurbo::kernels {

void AdamW(const ExecContext& ctx, const AdamWStep& step, const Tensor& grad,
           Tensor* weight, Tensor* m, Tensor* v) {
  const std::int64_t n = grad.size();
  CHECK_EQ(weight->size(), n);
  CHECK_EQ(m->size(), n);
  CHECK_EQ(v->size(), n);
  const float* g = grad.data<float>();
  float* w = weight->data<float>();
  if constexpr (kHasCuda) {
    if (OnCuda(ctx)) {
      return cuda::AdamW(step, g, n, w, m->data<float>(), v->data<float>(),
                         ctx.stream);
    }
  }
  constexpr std::int64_t kElements = 1 << 13;  // a piece
  float* first = m->data<float>();
  float* second = v->data<float>();
  ParallelFor(n, kElements, [=](std::int64_t begin, std::int64_t end) {
    cpu::AdamW(step, g + begin, end - begin, w + begin, first + begin,
               second + begin);
  });
}

}  // namespace rtpurbo::kernels
