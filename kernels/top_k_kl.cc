#include "kernels/top_k_kl.h"

#include <vector>

#include "kernels/core/config.h"
#include "kernels/core/parallel.h"
#include "kernels/cpu/softmax_fast.h"
#include "kernels/cpu/top_k_kl.h"
#include "kernels/cuda/top_k_kl.h"

namespace rtpurbo::kernels {
namespace {

constexpr std::int64_t kRows = 8;  // a piece

// dx in pieces of rows; dw in pieces of columns, because rows that name one
// token must add up in their order.
void BackwardOnCpu(const Tensor& x_LD, const Tensor& w_VD, const Tensor& id_LK,
                   const Tensor& dz_LK, float seed, Tensor* dx_LD,
                   Tensor* dw_VD) {
  const std::int64_t L = x_LD.dim(0);
  const std::int64_t D = x_LD.dim(1);
  const std::int64_t K = id_LK.dim(1);
  const auto* id = id_LK.data<std::int32_t>();
  const float* dz = dz_LK.data<float>();
  const auto input = [&]<typename T>(std::int64_t begin, std::int64_t end) {
    for (std::int64_t l = begin; l < end; ++l) {
      cpu::TopKKlRowInput<T>(w_VD.data<T>(), id + l * K, dz + l * K, seed, K, D,
                             dx_LD->data<T>() + l * D);
    }
  };
  const auto weight = [&]<typename T>(std::int64_t begin, std::int64_t end) {
    for (std::int64_t l = 0; l < L; ++l) {
      cpu::TopKKlRowWeight<T>(x_LD.data<T>() + l * D, id + l * K, dz + l * K,
                              seed, K, D, begin, end, dw_VD->data<float>());
    }
  };
  DispatchFloat(x_LD.dtype(), [&]<typename T>() {
    if (dx_LD->defined()) {
      ParallelFor(L, kRows, [&](std::int64_t begin, std::int64_t end) {
        input.template operator()<T>(begin, end);
      });
    }
    if (dw_VD->defined()) {
      ParallelFor(D, 64, [&](std::int64_t begin, std::int64_t end) {
        weight.template operator()<T>(begin, end);
      });
    }
  });
}

}  // namespace

void TopKKlForward(const ExecContext& ctx, const Tensor& x_LD,
                   const Tensor& w_VD, const Tensor& id_LK,
                   const Tensor& teacher_LK, Tensor* dz_LK, Tensor* loss) {
  const std::int64_t L = x_LD.dim(0);
  const std::int64_t D = x_LD.dim(1);
  const std::int64_t K = id_LK.dim(1);
  CHECK_EQ(w_VD.dim(1), D);
  CHECK_EQ(id_LK.dim(0), L);
  CHECK_EQ(teacher_LK.shape(), id_LK.shape());
  CHECK_EQ(dz_LK->shape(), id_LK.shape());
  CHECK_EQ(loss->shape(), Shape{1});
  const auto* id = id_LK.data<std::int32_t>();
  const float* teacher = teacher_LK.data<float>();
  float* dz = dz_LK->data<float>();
  if constexpr (kHasCuda) {
    if (OnCuda(ctx)) {
      const Tensor row_loss =
          Tensor::Empty(ctx.Tagged("workspace"), DType::kF32, {L});
      return DispatchFloat(x_LD.dtype(), [&]<typename T>() {
        cuda::TopKKlForward({L, D, K}, x_LD.data<T>(), w_VD.data<T>(), id,
                            teacher, dz, row_loss.data<float>(),
                            loss->data<float>(), ctx.stream);
      });
    }
  }
  for (std::int64_t i = 0; i < id_LK.size(); ++i) {
    CHECK(0 <= id[i] && id[i] < w_VD.dim(0)) << "label " << id[i];
  }
  std::vector<float> row_loss(static_cast<std::size_t>(L));
  DispatchFloat(x_LD.dtype(), [&]<typename T>() {
    ParallelFor(L, kRows, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t l = begin; l < end; ++l) {
        row_loss[static_cast<std::size_t>(l)] =
            cpu::TopKKlRow<T>(x_LD.data<T>() + l * D, w_VD.data<T>(),
                              id + l * K, teacher + l * K, K, D, dz + l * K);
      }
    });
  });
  double sum = 0;
  for (const float one : row_loss) {
    sum += one;
  }
  *loss->data<float>() = static_cast<float>(sum);
}

void TopKKlBackward(const ExecContext& ctx, const Tensor& x_LD,
                    const Tensor& w_VD, const Tensor& id_LK,
                    const Tensor& dz_LK, const Tensor& dloss, Tensor* dx_LD,
                    Tensor* dw_VD) {
  const std::int64_t L = x_LD.dim(0);
  const std::int64_t D = x_LD.dim(1);
  const std::int64_t K = id_LK.dim(1);
  CHECK_EQ(dz_LK.shape(), id_LK.shape());
  const auto* id = id_LK.data<std::int32_t>();
  const float* dz = dz_LK.data<float>();
  if constexpr (kHasCuda) {
    if (OnCuda(ctx)) {
      return DispatchFloat(x_LD.dtype(), [&]<typename T>() {
        cuda::TopKKlBackward(
            {L, D, K}, x_LD.data<T>(), w_VD.data<T>(), id, dz,
            dloss.data<float>(), dx_LD->defined() ? dx_LD->data<T>() : nullptr,
            dw_VD->defined() ? dw_VD->data<float>() : nullptr, ctx.stream);
      });
    }
  }
  BackwardOnCpu(x_LD, w_VD, id_LK, dz_LK, *dloss.data<float>(), dx_LD, dw_VD);
}

void TopK(const ExecContext& ctx, const Tensor& z_LV, Tensor* value_LK,
          Tensor* id_LK, Tensor* lse_L) {
  const std::int64_t L = z_LV.dim(0);
  const std::int64_t V = z_LV.dim(1);
  const std::int64_t K = id_LK->dim(1);
  CHECK_LE(K, V);
  CHECK_EQ(value_LK->shape(), id_LK->shape());
  CHECK_EQ(lse_L->shape(), Shape{L});
  DispatchFloat(z_LV.dtype(), [&]<typename T>() {
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        return cuda::TopK(z_LV.data<T>(), L, V, K, value_LK->data<float>(),
                          id_LK->data<std::int32_t>(), lse_L->data<float>(),
                          ctx.stream);
      }
    }
    ParallelFor(L, kRows, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t l = begin; l < end; ++l) {
        const T* z = z_LV.data<T>() + l * V;
        cpu::TopKRow(z, V, K, value_LK->data<float>() + l * K,
                     id_LK->data<std::int32_t>() + l * K);
        lse_L->data<float>()[l] = cpu::FastLogSumExp(z, V);
      }
    });
  });
}

}  // namespace rtpurbo::kernels
