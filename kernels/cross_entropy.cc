#include "kernels/cross_entropy.h"

#include <cstddef>
#include <vector>

#include "kernels/core/config.h"
#include "kernels/core/parallel.h"
#include "kernels/cpu/softmax_fast.h"
#include "kernels/cpu/vector_math.h"
#include "kernels/cuda/cross_entropy.h"

namespace rtpurbo::kernels {
namespace {

constexpr std::int64_t kRows = 8;  // a piece

// lse of each row; returns the sum of lse - z[label], in order of rows.
template <typename T>
float ForwardOnCpu(const T* z, const std::int32_t* label, std::int64_t T_,
                   std::int64_t V, float* lse) {
  ParallelFor(T_, kRows, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      CHECK(0 <= label[t] && label[t] < V)
          << "label " << label[t] << " of row " << t << ", but there are " << V;
      lse[t] = cpu::FastLogSumExp(z + t * V, V);
    }
  });
  double sum = 0;
  for (std::int64_t t = 0; t < T_; ++t) {
    sum += lse[t] - static_cast<float>(z[t * V + label[t]]);
  }
  return static_cast<float>(sum);
}

template <typename T>
void BackwardOnCpu(const T* z, const std::int32_t* label, const float* lse,
                   float dloss, std::int64_t T_, std::int64_t V, T* dz) {
  ParallelFor(T_, kRows, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      cpu::FastScaledSoftmax(z + t * V, V, lse[t], dloss, dz + t * V);
      const std::int64_t hit = t * V + label[t];
      const float p = cpu::Exp(static_cast<float>(z[hit]) - lse[t]);
      dz[hit] = T(dloss * (p - 1.0F));
    }
  });
}

}  // namespace

void CrossEntropyForward(const ExecContext& ctx, const Tensor& z_TV,
                         const Tensor& label_T, Tensor* lse_T, Tensor* loss) {
  const std::int64_t T_ = z_TV.dim(0);
  const std::int64_t V = z_TV.dim(1);
  CHECK_EQ(label_T.shape(), Shape{T_});
  CHECK_EQ(lse_T->shape(), Shape{T_});
  CHECK_EQ(loss->shape(), Shape{1});
  const auto* label = label_T.data<std::int32_t>();
  float* lse = lse_T->data<float>();
  DispatchFloat(z_TV.dtype(), [&]<typename T>() {
    const T* z = z_TV.data<T>();
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        return cuda::CrossEntropyForward(z, label, T_, V, lse,
                                         loss->data<float>(), ctx.stream);
      }
    }
    *loss->data<float>() = ForwardOnCpu(z, label, T_, V, lse);
  });
}

void CrossEntropyBackward(const ExecContext& ctx, const Tensor& z_TV,
                          const Tensor& label_T, const Tensor& lse_T,
                          const Tensor& dloss, Tensor* dz_TV) {
  const std::int64_t T_ = z_TV.dim(0);
  const std::int64_t V = z_TV.dim(1);
  CHECK_EQ(label_T.shape(), Shape{T_});
  CHECK_EQ(lse_T.shape(), Shape{T_});
  CHECK_EQ(dz_TV->shape(), z_TV.shape());
  const auto* label = label_T.data<std::int32_t>();
  const float* lse = lse_T.data<float>();
  const float* seed = dloss.data<float>();
  DispatchFloat(z_TV.dtype(), [&]<typename T>() {
    const T* z = z_TV.data<T>();
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        return cuda::CrossEntropyBackward(z, label, lse, seed, T_, V,
                                          dz_TV->data<T>(), ctx.stream);
      }
    }
    BackwardOnCpu(z, label, lse, *seed, T_, V, dz_TV->data<T>());
  });
}

}  // namespace rtpurbo::kernels
