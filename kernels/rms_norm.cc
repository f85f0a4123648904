#include "kernels/rms_norm.h"

#include <cstddef>
#include <vector>

#include "kernels/core/config.h"
#include "kernels/core/parallel.h"
#include "kernels/cpu/rms_norm_fast.h"
#include "kernels/cuda/rms_norm.h"

namespace rtpurbo::kernels {
namespace {

// Of a piece: long enough that adding up a dw for each costs little.
constexpr std::int64_t kRows = 128;

// Backward on the CPU. A piece of rows has a dw of its own; they are added in
// order of pieces.
template <typename T>
void BackwardOnCpu(const T* x, const T* w, const float* r, const T* dy,
                   std::int64_t T_, std::int64_t D, T* dx, float* dw) {
  const std::int64_t num_pieces = (T_ + kRows - 1) / kRows;
  std::vector<float> partial(
      static_cast<std::size_t>(dw == nullptr ? 0 : num_pieces * D));
  ParallelFor(T_, kRows, [&](std::int64_t begin, std::int64_t end) {
    float* mine = dw == nullptr ? nullptr : partial.data() + begin / kRows * D;
    cpu::FastRmsNormBackward(x + begin * D, w, r + begin, dy + begin * D,
                             end - begin, D, dx + begin * D, mine);
  });
  for (std::size_t i = 0; i < partial.size(); ++i) {
    dw[static_cast<std::int64_t>(i) % D] += partial[i];
  }
}

}  // namespace

void RmsNormForward(const ExecContext& ctx, const Tensor& x_TD,
                    const Tensor& w_D, float eps, Tensor* y_TD, Tensor* r_T) {
  const std::int64_t T_ = x_TD.dim(0);
  const std::int64_t D = x_TD.dim(1);
  CHECK_EQ(w_D.shape(), Shape{D});
  CHECK_EQ(y_TD->shape(), x_TD.shape());
  CHECK_EQ(r_T->shape(), Shape{T_});
  DispatchFloat(x_TD.dtype(), [&]<typename T>() {
    const T* x = x_TD.data<T>();
    const T* w = w_D.data<T>();
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        return cuda::RmsNormForward(x, w, eps, T_, D, y_TD->data<T>(),
                                    r_T->data<float>(), ctx.stream);
      }
    }
    T* y = y_TD->data<T>();
    float* r = r_T->data<float>();
    ParallelFor(T_, kRows, [=](std::int64_t begin, std::int64_t end) {
      cpu::FastRmsNormForward(x + begin * D, w, eps, end - begin, D,
                              y + begin * D, r + begin);
    });
  });
}

void RmsNormBackward(const ExecContext& ctx, const Tensor& x_TD,
                     const Tensor& w_D, const Tensor& r_T, const Tensor& dy_TD,
                     Tensor* dx_TD, Tensor* dw_D) {
  const std::int64_t T_ = x_TD.dim(0);
  const std::int64_t D = x_TD.dim(1);
  CHECK_EQ(w_D.shape(), Shape{D});
  CHECK_EQ(r_T.shape(), Shape{T_});
  CHECK_EQ(dy_TD.shape(), x_TD.shape());
  CHECK_EQ(dx_TD->shape(), x_TD.shape());
  float* dw = dw_D->defined() ? dw_D->data<float>() : nullptr;
  const float* r = r_T.data<float>();
  DispatchFloat(x_TD.dtype(), [&]<typename T>() {
    const T* x = x_TD.data<T>();
    const T* w = w_D.data<T>();
    const T* dy = dy_TD.data<T>();
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        return cuda::RmsNormBackward(x, w, r, dy, T_, D, dx_TD->data<T>(), dw,
                                     ctx.stream);
      }
    }
    BackwardOnCpu(x, w, r, dy, T_, D, dx_TD->data<T>(), dw);
  });
}

}  // namespace rtpurbo::kernels
