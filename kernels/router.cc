#include "kernels/router.h"

#include "kernels/core/config.h"
#include "kernels/core/parallel.h"
#include "kernels/cpu/router.h"
#include "kernels/cuda/router.h"

namespace rtpurbo::kernels {
namespace {

constexpr std::int64_t kRows = 128;  // a piece

}  // namespace

void RouterSelect(const ExecContext& ctx, const Tensor& z_TE, Tensor* prob_TE,
                  Tensor* expert_TK) {
  const std::int64_t T_ = z_TE.dim(0);
  const std::int64_t E = z_TE.dim(1);
  const std::int64_t K = expert_TK->dim(1);
  CHECK_EQ(prob_TE->shape(), z_TE.shape());
  CHECK_EQ(expert_TK->dim(0), T_);
  CHECK_LE(K, E);
  float* prob = prob_TE->data<float>();
  auto* expert = expert_TK->data<std::int32_t>();
  DispatchFloat(z_TE.dtype(), [&]<typename T>() {
    const T* z = z_TE.data<T>();
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        return cuda::RouterSelect({T_, E, K, false}, z, prob, expert,
                                  ctx.stream);
      }
    }
    ParallelFor(T_, kRows, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t t = begin; t < end; ++t) {
        cpu::RouterSoftmax(z + t * E, E, prob + t * E);
        cpu::ChooseHighest(prob + t * E, E, K, expert + t * K);
      }
    });
  });
}

void RouterWeights(const ExecContext& ctx, const Tensor& prob_TE,
                   const Tensor& expert_TK, bool normalize, Tensor* weight_TK) {
  const std::int64_t E = prob_TE.dim(1);
  const std::int64_t K = expert_TK.dim(1);
  CHECK_EQ(weight_TK->shape(), expert_TK.shape());
  const float* prob = prob_TE.data<float>();
  const auto* expert = expert_TK.data<std::int32_t>();
  float* weight = weight_TK->data<float>();
  if constexpr (kHasCuda) {
    if (OnCuda(ctx)) {
      return cuda::RouterWeights({prob_TE.dim(0), E, K, normalize}, prob,
                                 expert, weight, ctx.stream);
    }
  }
  ParallelFor(prob_TE.dim(0), kRows, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      cpu::RouterWeights(prob + t * E, expert + t * K, K, normalize,
                         weight + t * K);
    }
  });
}

void RouterBackward(const ExecContext& ctx, const Tensor& prob_TE,
                    const Tensor& expert_TK, bool normalize,
                    const Tensor& dweight_TK, Tensor* dz_TE) {
  const std::int64_t E = prob_TE.dim(1);
  const std::int64_t K = expert_TK.dim(1);
  CHECK_EQ(dz_TE->shape(), prob_TE.shape());
  CHECK_EQ(dweight_TK.shape(), expert_TK.shape());
  const float* prob = prob_TE.data<float>();
  const auto* expert = expert_TK.data<std::int32_t>();
  const float* dweight = dweight_TK.data<float>();
  DispatchFloat(dz_TE->dtype(), [&]<typename T>() {
    T* dz = dz_TE->data<T>();
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        return cuda::RouterBackward({prob_TE.dim(0), E, K, normalize}, prob,
                                    expert, dweight, dz, ctx.stream);
      }
    }
    ParallelFor(prob_TE.dim(0), kRows, [&](std::int64_t begin, auto end) {
      for (std::int64_t t = begin; t < end; ++t) {
        cpu::RouterBackward(prob + t * E, expert + t * K, E, K, normalize,
                            dweight + t * K, dz + t * E);
      }
    });
  });
}

}  // namespace rtpurbo::kernels
