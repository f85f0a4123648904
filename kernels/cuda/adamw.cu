// AdamW: one element a thread.

#include "kernels/cuda/adamw.h"
#include "kernels/cuda/launch.cuh"

namespace rtpurbo::kernels::cuda {

void AdamW(const AdamWStep& step, const float* grad, std::int64_t n,
           float* weight, float* m, float* v, void* stream) {
  ForEach(n, stream, [=, s = step] __device__(std::int64_t i) {
    const float g = s.grad_scale * grad[i];
    m[i] = s.beta1 * m[i] + (1 - s.beta1) * g;
    v[i] = s.beta2 * v[i] + (1 - s.beta2) * g * g;
    const float direction =
        (m[i] / s.correction1) / (sqrtf(v[i] / s.correction2) + s.epsilon);
    weight[i] -= s.learning_rate * (direction + s.weight_decay * weight[i]);
  });
}

}  // namespace rtpurbo::kernels::cuda
