#include "kernels/head_projection.h"

#include "kernels/core/config.h"
#include "kernels/core/parallel.h"
#include "kernels/cpu/head_projection.h"
#include "kernels/cuda/head_projection.h"

namespace rtpurbo::kernels {
namespace {

void CheckHeads(const std::vector<std::int32_t>& head_S, std::int64_t S,
                std::int64_t H) {
  CHECK_EQ(static_cast<std::int64_t>(head_S.size()), S);
  for (const std::int32_t head : head_S) {
    CHECK(0 <= head && head < H) << "head " << head << " of " << H;
  }
}

// y of one row, all slots.
template <typename T>
void ProjectRow(const T* x_HC, const float* w_SRC,
                const std::vector<std::int32_t>& head_S, std::int64_t R,
                std::int64_t C, float* y_SR) {
  for (const std::int32_t head : head_S) {
    cpu::ProjectHead(x_HC + head * C, w_SRC, R, C, y_SR);
    w_SRC += R * C;
    y_SR += R;
  }
}

}  // namespace

void HeadProjectionForward(const ExecContext& ctx, const Tensor& x_THC,
                           const Tensor& w_SRC,
                           const std::vector<std::int32_t>& head_S,
                           Tensor* y_TSR) {
  const std::int64_t H = x_THC.dim(1);
  const std::int64_t S = w_SRC.dim(0);
  const std::int64_t R = w_SRC.dim(1);
  const std::int64_t C = w_SRC.dim(2);
  CheckHeads(head_S, S, H);
  CHECK_EQ(x_THC.dim(2), C);
  CHECK_EQ(y_TSR->shape(), (Shape{x_THC.dim(0), S, R}));
  const float* w = w_SRC.data<float>();
  float* y = y_TSR->data<float>();
  DispatchFloat(x_THC.dtype(), [&]<typename T>() {
    const T* x = x_THC.data<T>();
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        const Tensor heads = FromHost(ctx.Tagged("workspace"), head_S, {S});
        return cuda::HeadProjectionForward({x_THC.dim(0), H, C, S, R}, x, w,
                                           heads.data<std::int32_t>(), y,
                                           ctx.stream);
      }
    }
    ParallelFor(x_THC.dim(0), 64, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t t = begin; t < end; ++t) {
        ProjectRow(x + t * H * C, w, head_S, R, C, y + t * S * R);
      }
    });
  });
}

void HeadProjectionBackward(const ExecContext& ctx, const Tensor& x_THC,
                            const Tensor& dy_TSR,
                            const std::vector<std::int32_t>& head_S,
                            Tensor* dw_SRC) {
  const std::int64_t T_ = x_THC.dim(0);
  const std::int64_t H = x_THC.dim(1);
  const std::int64_t S = dw_SRC->dim(0);
  const std::int64_t R = dw_SRC->dim(1);
  const std::int64_t C = dw_SRC->dim(2);
  CheckHeads(head_S, S, H);
  CHECK_EQ(dy_TSR.shape(), (Shape{T_, S, R}));
  const float* dy = dy_TSR.data<float>();
  float* dw = dw_SRC->data<float>();
  DispatchFloat(x_THC.dtype(), [&]<typename T>() {
    const T* x = x_THC.data<T>();
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        const cuda::ProjectionShape shape = {T_, H, C, S, R};
        const Tensor heads = FromHost(ctx.Tagged("workspace"), head_S, {S});
        const Storage space(ctx.Tagged("workspace"),
                            cuda::HeadProjectionWorkspace(shape));
        return cuda::HeadProjectionBackward(shape, x, dy,
                                            heads.data<std::int32_t>(), dw,
                                            space.data(), ctx.stream);
      }
    }
    // A piece is a slot: its sum runs over rows in order.
    ParallelFor(S, 1, [&](std::int64_t s, std::int64_t /*end*/) {
      const std::int64_t head = head_S[static_cast<std::size_t>(s)];
      for (std::int64_t t = 0; t < T_; ++t) {
        cpu::ProjectHeadWeightGrad(x + (t * H + head) * C, dy + (t * S + s) * R,
                                   R, C, dw + s * R * C);
      }
    });
  });
}

}  // namespace rtpurbo::kernels
