// KL to a teacher's top K: one block a row. The gradient of a row of the head
// is summed by the block of its first occurrence, over all of them in order.

#include "kernels/core/check.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/rows.cuh"
#include "kernels/cuda/top_k_kl.h"

namespace rtpurbo::kernels::cuda {
namespace {

constexpr std::int64_t kMaxLabels = 64;  // K

template <typename T>
__global__ void ForwardKernel(TopKShape shape, const T* __restrict__ x_LD,
                              const T* __restrict__ w_VD,
                              const std::int32_t* __restrict__ id_LK,
                              const float* __restrict__ teacher_LK,
                              float* __restrict__ dz_LK,
                              float* __restrict__ row_loss_L) {
  __shared__ float z[kMaxLabels];
  const std::int64_t l = blockIdx.x;
  const int labels = static_cast<int>(shape.K);
  const T* x = x_LD + l * shape.D;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  for (int k = warp; k < labels; k += kWarps) {
    const T* w = w_VD + std::int64_t{id_LK[l * shape.K + k]} * shape.D;
    float sum = 0;
    for (std::int64_t i = threadIdx.x % kWarpSize; i < shape.D;
         i += kWarpSize) {
      sum += Load(x + i) * Load(w + i);
    }
    sum = WarpSum(sum);
    if (threadIdx.x % kWarpSize == 0) {
      z[k] = sum;
    }
  }
  __syncthreads();
  if (threadIdx.x != 0) {
    return;
  }
  const float* teacher = teacher_LK + l * shape.K;
  float top = -INFINITY;
  float teacher_top = -INFINITY;
  for (int k = 0; k < labels; ++k) {
    top = fmaxf(top, z[k]);
    teacher_top = fmaxf(teacher_top, teacher[k]);
  }
  float sum = 0;
  float teacher_sum = 0;
  for (int k = 0; k < labels; ++k) {
    sum += expf(z[k] - top);
    teacher_sum += expf(teacher[k] - teacher_top);
  }
  const float lse = top + logf(sum);
  const float teacher_lse = teacher_top + logf(teacher_sum);
  float loss = 0;
  for (int k = 0; k < labels; ++k) {
    const float log_p = teacher[k] - teacher_lse;
    const float log_q = z[k] - lse;
    const float p = expf(log_p);
    loss += p > 0 ? p * (log_p - log_q) : 0.0F;
    dz_LK[l * shape.K + k] = expf(log_q) - p;
  }
  row_loss_L[l] = loss;
}

__global__ void LossKernel(std::int64_t L, const float* __restrict__ row_loss_L,
                           float* __restrict__ loss) {
  float sum = 0;
  for (std::int64_t l = threadIdx.x; l < L; l += kThreads) {
    sum += row_loss_L[l];
  }
  sum = BlockReduce(sum, Sum{});
  if (threadIdx.x == 0) {
    *loss = sum;
  }
}

template <typename T>
__global__ void InputGradKernel(TopKShape shape, const T* __restrict__ w_VD,
                                const std::int32_t* __restrict__ id_LK,
                                const float* __restrict__ dz_LK,
                                const float* __restrict__ dloss,
                                T* __restrict__ dx_LD) {
  const std::int64_t l = blockIdx.x;
  for (std::int64_t i = threadIdx.x; i < shape.D; i += kThreads) {
    float sum = 0;
    for (std::int64_t k = 0; k < shape.K; ++k) {
      const std::int64_t at = l * shape.K + k;
      sum += dz_LK[at] * Load(w_VD + std::int64_t{id_LK[at]} * shape.D + i);
    }
    Store(*dloss * sum, dx_LD + l * shape.D + i);
  }
}

template <typename T>
__global__ void HeadGradKernel(TopKShape shape, const T* __restrict__ x_LD,
                               const std::int32_t* __restrict__ id_LK,
                               const float* __restrict__ dz_LK,
                               const float* __restrict__ dloss,
                               float* __restrict__ dw_VD) {
  const std::int64_t at = blockIdx.x;
  float* dw = dw_VD + std::int64_t{id_LK[at]} * shape.D;
  ForEachEqual(id_LK, at, shape.L * shape.K, [&](const Matches& matches) {
    for (std::int64_t i = threadIdx.x; i < shape.D; i += kThreads) {
      float sum = dw[i];
      for (int n = 0; n < matches.count; ++n) {
        const std::int64_t choice = matches.Index(n);
        sum += *dloss * dz_LK[choice] *
               Load(x_LD + choice / shape.K * shape.D + i);
      }
      dw[i] = sum;
    }
  });
}

// K passes over a row, each for the highest of what is left in the order
// (value falling, index rising); the first gives the maximum for the log-sum.
template <typename T>
__global__ void TopKKernel(const T* __restrict__ z_LV, std::int64_t V,
                           std::int64_t K, float* __restrict__ value_LK,
                           std::int32_t* __restrict__ id_LK,
                           float* __restrict__ lse_L) {
  __shared__ float values[kThreads];
  __shared__ std::int32_t ids[kThreads];
  const std::int64_t l = blockIdx.x;
  const T* z = z_LV + l * V;
  const unsigned thread = threadIdx.x;
  float last = INFINITY;
  std::int32_t last_id = -1;
  float top = 0;
  for (std::int64_t k = 0; k < K; ++k) {
    float best = -INFINITY;
    auto id = static_cast<std::int32_t>(V);
    for (auto i = static_cast<std::int32_t>(thread); i < V; i += kThreads) {
      const float value = Load(z + i);
      const bool left = value < last || (value == last && i > last_id);
      if (left && (value > best || id == V)) {
        best = value;
        id = i;
      }
    }
    values[thread] = best;
    ids[thread] = id;
    __syncthreads();
    for (unsigned step = kThreads / 2; step > 0; step /= 2) {
      if (thread < step) {
        const float other = values[thread + step];
        const std::int32_t other_id = ids[thread + step];
        if (other > values[thread] ||
            (other == values[thread] && other_id < ids[thread])) {
          values[thread] = other;
          ids[thread] = other_id;
        }
      }
      __syncthreads();
    }
    last = values[0];
    last_id = ids[0];
    top = k == 0 ? last : top;
    __syncthreads();
    if (thread == 0) {
      value_LK[l * K + k] = last;
      id_LK[l * K + k] = last_id;
    }
  }
  float sum = 0;
  for (std::int64_t i = thread; i < V; i += kThreads) {
    sum += expf(Load(z + i) - top);
  }
  sum = BlockReduce(sum, Sum{});
  if (thread == 0) {
    lse_L[l] = top + logf(sum);
  }
}

}  // namespace

template <typename T>
void TopKKlForward(const TopKShape& shape, const T* x_LD, const T* w_VD,
                   const std::int32_t* id_LK, const float* teacher_LK,
                   float* dz_LK, float* row_loss_L, float* loss, void* stream) {
  CHECK(shape.K <= kMaxLabels) << shape.K << " labels a row";
  Launch(ForwardKernel<T>, shape.L, stream, shape, x_LD, w_VD, id_LK,
         teacher_LK, dz_LK, row_loss_L);
  Launch(LossKernel, 1, stream, shape.L, static_cast<const float*>(row_loss_L),
         loss);
}

template <typename T>
void TopKKlBackward(const TopKShape& shape, const T* x_LD, const T* w_VD,
                    const std::int32_t* id_LK, const float* dz_LK,
                    const float* dloss, T* dx_LD, float* dw_VD, void* stream) {
  if (dx_LD != nullptr) {
    Launch(InputGradKernel<T>, shape.L, stream, shape, w_VD, id_LK, dz_LK,
           dloss, dx_LD);
  }
  if (dw_VD != nullptr) {
    Launch(HeadGradKernel<T>, shape.L * shape.K, stream, shape, x_LD, id_LK,
           dz_LK, dloss, dw_VD);
  }
}

template <typename T>
void TopK(const T* z_LV, std::int64_t L, std::int64_t V, std::int64_t K,
          float* value_LK, std::int32_t* id_LK, float* lse_L, void* stream) {
  CHECK(K >= 1 && K <= V) << "top " << K << " of " << V;
  Launch(TopKKernel<T>, L, stream, z_LV, V, K, value_LK, id_LK, lse_L);
}

using I = std::int64_t;
using N = std::int32_t;
using B = BFloat16;
template void TopKKlForward(const TopKShape&, const float*, const float*,
                            const N*, const float*, float*, float*, float*,
                            void*);
template void TopKKlForward(const TopKShape&, const B*, const B*, const N*,
                            const float*, float*, float*, float*, void*);
template void TopKKlBackward(const TopKShape&, const float*, const float*,
                             const N*, const float*, const float*, float*,
                             float*, void*);
template void TopKKlBackward(const TopKShape&, const B*, const B*, const N*,
                             const float*, const float*, B*, float*, void*);
template void TopK(const float*, I, I, I, float*, N*, float*, void*);
template void TopK(const B*, I, I, I, float*, N*, float*, void*);

}  // namespace rtpurbo::kernels::cuda
