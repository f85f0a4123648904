#include "kernels/permute.h"

#include <algorithm>

#include "kernels/core/config.h"
#include "kernels/core/parallel.h"
#include "kernels/cpu/permute.h"
#include "kernels/cuda/permute.h"

namespace rtpurbo::kernels {
namespace {

constexpr std::int64_t kRows = 64;  // a piece

}  // namespace

void PermuteLayout(const ExecContext& ctx, const Tensor& expert_TK,
                   Tensor* place_TK, Tensor* source_N, Tensor* offset_E) {
  const std::int64_t N = expert_TK.size();
  CHECK_EQ(place_TK->shape(), expert_TK.shape());
  CHECK_EQ(source_N->shape(), Shape{N});
  if constexpr (kHasCuda) {
    if (OnCuda(ctx)) {
      const std::int64_t E = offset_E->dim(0) - 1;
      const Storage space(ctx.Tagged("workspace"),
                          cuda::PermuteWorkspace(N, E));
      return cuda::PermuteLayout(
          expert_TK.data<std::int32_t>(), N, E, place_TK->data<std::int32_t>(),
          source_N->data<std::int32_t>(), offset_E->data<std::int32_t>(),
          space.data(), ctx.stream);
    }
  }
  cpu::PermuteLayout(expert_TK.data<std::int32_t>(), N, offset_E->dim(0) - 1,
                     place_TK->data<std::int32_t>(),
                     source_N->data<std::int32_t>(),
                     offset_E->data<std::int32_t>());
}

void PermuteForward(const ExecContext& ctx, const Tensor& x_TD,
                    const Tensor& source_N, std::int64_t num_choices,
                    Tensor* y_ND) {
  const std::int64_t D = x_TD.dim(1);
  CHECK_EQ(source_N.dim(0), x_TD.dim(0) * num_choices);
  CHECK_EQ(y_ND->shape(), (Shape{source_N.dim(0), D}));
  const auto* source = source_N.data<std::int32_t>();
  DispatchFloat(x_TD.dtype(), [&]<typename T>() {
    const T* x = x_TD.data<T>();
    T* y = y_ND->data<T>();
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        return cuda::PermuteForward({x_TD.dim(0), num_choices, D}, x, source, y,
                                    ctx.stream);
      }
    }
    ParallelFor(source_N.dim(0), kRows, [&](std::int64_t begin, auto end) {
      for (std::int64_t n = begin; n < end; ++n) {
        std::copy_n(x + source[n] / num_choices * D, D, y + n * D);
      }
    });
  });
}

void PermuteBackward(const ExecContext& ctx, const Tensor& dy_ND,
                     const Tensor& place_TK, Tensor* dx_TD) {
  const std::int64_t K = place_TK.dim(1);
  const std::int64_t D = dy_ND.dim(1);
  CHECK_EQ(dx_TD->shape(), (Shape{place_TK.dim(0), D}));
  const auto* place = place_TK.data<std::int32_t>();
  DispatchFloat(dy_ND.dtype(), [&]<typename T>() {
    const T* dy = dy_ND.data<T>();
    T* dx = dx_TD->data<T>();
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        return cuda::PermuteBackward({place_TK.dim(0), K, D}, dy, place, dx,
                                     ctx.stream);
      }
    }
    ParallelFor(place_TK.dim(0), kRows, [&](std::int64_t begin, auto end) {
      for (std::int64_t t = begin; t < end; ++t) {
        cpu::CombineRow<T>(dy, nullptr, place + t * K, K, D, dx + t * D);
      }
    });
  });
}

void CombineForward(const ExecContext& ctx, const Tensor& x_ND,
                    const Tensor& weight_TK, const Tensor& place_TK,
                    Tensor* y_TD) {
  const std::int64_t K = place_TK.dim(1);
  const std::int64_t D = x_ND.dim(1);
  CHECK_EQ(weight_TK.shape(), place_TK.shape());
  CHECK_EQ(y_TD->shape(), (Shape{place_TK.dim(0), D}));
  const float* weight = weight_TK.data<float>();
  const auto* place = place_TK.data<std::int32_t>();
  DispatchFloat(x_ND.dtype(), [&]<typename T>() {
    const T* x = x_ND.data<T>();
    T* y = y_TD->data<T>();
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        return cuda::CombineForward({place_TK.dim(0), K, D}, x, weight, place,
                                    y, ctx.stream);
      }
    }
    ParallelFor(place_TK.dim(0), kRows, [&](std::int64_t begin, auto end) {
      for (std::int64_t t = begin; t < end; ++t) {
        cpu::CombineRow<T>(x, weight + t * K, place + t * K, K, D, y + t * D);
      }
    });
  });
}

void CombineBackward(const ExecContext& ctx, const Tensor& x_ND,
                     const Tensor& weight_TK, const Tensor& place_TK,
                     const Tensor& dy_TD, Tensor* dx_ND, Tensor* dweight_TK) {
  const std::int64_t K = place_TK.dim(1);
  const std::int64_t D = x_ND.dim(1);
  CHECK_EQ(dy_TD.shape(), (Shape{place_TK.dim(0), D}));
  const float* weight = weight_TK.data<float>();
  const auto* place = place_TK.data<std::int32_t>();
  float* dweight = dweight_TK->defined() ? dweight_TK->data<float>() : nullptr;
  DispatchFloat(x_ND.dtype(), [&]<typename T>() {
    const T* x = x_ND.data<T>();
    const T* dy = dy_TD.data<T>();
    T* dx = dx_ND->defined() ? dx_ND->data<T>() : nullptr;
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        return cuda::CombineBackward({place_TK.dim(0), K, D}, x, weight, place,
                                     dy, dx, dweight, ctx.stream);
      }
    }
    ParallelFor(place_TK.dim(0), kRows, [&](std::int64_t begin, auto end) {
      for (std::int64_t t = begin; t < end; ++t) {
        cpu::CombineRowBackward<T>(
            x, weight + t * K, place + t * K, dy + t * D, K, D, dx,
            dweight == nullptr ? nullptr : dweight + t * K);
      }
    });
  });
}

}  // namespace rtpurbo::kernels
