// SwiGLU: one element a thread.

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/swi_glu.h"

namespace rtpurbo::kernels::cuda {

template <typename T>
void SwiGluForward(const T* gate, const T* up, std::int64_t n, T* y,
                   void* stream) {
  ForEach(n, stream, [=] __device__(std::int64_t i) {
    const float g = Load(gate + i);
    Store(g / (1 + expf(-g)) * Load(up + i), y + i);
  });
}

template <typename T>
void SwiGluBackward(const T* gate, const T* up, const T* dy, std::int64_t n,
                    T* dgate, T* dup, void* stream) {
  ForEach(n, stream, [=] __device__(std::int64_t i) {
    const float g = Load(gate + i);
    const float d = Load(dy + i);
    const float s = 1 / (1 + expf(-g));
    Store(d * g * s, dup + i);
    Store(d * Load(up + i) * s * (1 + g * (1 - s)), dgate + i);
  });
}

using I = std::int64_t;
using B = BFloat16;
template void SwiGluForward(const float*, const float*, I, float*, void*);
template void SwiGluForward(const B*, const B*, I, B*, void*);
template void SwiGluBackward(const float*, const float*, const float*, I,
                             float*, float*, void*);
template void SwiGluBackward(const B*, const B*, const B*, I, B*, B*, void*);

}  // namespace rtpurbo::kernels::cuda
