#include "kernels/adamw.h"

#include "kernels/core/config.h"
#include "kernels/cpu/adamw.h"
#include "kernels/cuda/adamw.h"

namespace rtpurbo::kernels {

void AdamW(const ExecContext& ctx, const AdamWStep& step, const Tensor& grad,
           Tensor* weight, Tensor* m, Tensor* v) {
  const std::int64_t n = grad.size();
  CHECK_EQ(weight->size(), n);
  const float* g = grad.data<float>();
  float* w = weight->data<float>();
  if constexpr (kHasCuda) {
    if (OnCuda(ctx)) {
      return cuda::AdamW(step, g, n, w, m->data<float>(), v->data<float>(),
                         ctx.stream);
    }
  }
  cpu::AdamW(step, g, n, w, m->data<float>(), v->data<float>());
}

}  // namespace rtpurbo::kernels
