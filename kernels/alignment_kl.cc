#include "kernels/alignment_kl.h"

#include "kernels/attention_view.h"
#include "kernels/core/check.h"
#include "kernels/core/config.h"
#include "kernels/cpu/alignment_kl_fast.h"
#include "kernels/cuda/alignment_kl.h"

namespace rtpurbo::kernels {
namespace {

// Positions on a device cannot be looked at.
void CheckInputs(const AlignmentInputs& in, bool rows_on_host) {
  const std::int64_t T_ = in.q_THC.dim(0);
  const std::int64_t H = in.q_THC.dim(1);
  const std::int64_t M = in.x_MSR.dim(0);
  const std::int64_t R = in.x_MSR.dim(2);
  const auto S = static_cast<std::int64_t>(in.head_S.size());
  CHECK(in.q_THC.dtype() == in.k_NGC.dtype())
      << "q is " << Name(in.q_THC.dtype()) << ", k " << Name(in.k_NGC.dtype());
  CHECK_EQ(in.lse_HT.shape(), (Shape{H, T_}));
  CHECK_EQ(in.x_MSR.shape(), (Shape{M, S, R}));
  CHECK_EQ(in.y_NSR.shape(), (Shape{in.k_NGC.dim(0), S, R}));
  CHECK_EQ(in.row_M.shape(), Shape{M});
  for (const std::int32_t h : in.head_S) {
    CHECK(0 <= h && h < H) << "retrieval head " << h << " of " << H;
  }
  const auto* row_M = in.row_M.data<std::int32_t>();
  for (std::int64_t m = 0; rows_on_host && m < M; ++m) {
    CHECK((m == 0 ? in.query_begin : row_M[m - 1]) <= row_M[m] &&
          row_M[m] < in.query_begin + T_)
        << "row " << m << " at position " << row_M[m]
        << "; positions ascend from " << in.query_begin << " on and are below "
        << in.query_begin + T_;
  }
}

float* DataOrNull(const Tensor& gradient, const Tensor& of) {
  if (!gradient.defined()) {
    return nullptr;
  }
  CHECK_EQ(gradient.shape(), of.shape());
  return gradient.data<float>();
}

template <typename T>
void RunOnCuda(const ExecContext& ctx, const AttentionView& view,
               const AlignmentInputs& in, float grad_scale, float* kl_SM,
               float* dx_MSR, float* dy_NSR) {
  const cuda::AlignmentShape shape = {
      .T = view.N,
      .queries = view.T,
      .query_begin = view.query_begin,
      .M = in.x_MSR.dim(0),
      .H = view.H,
      .G = view.G,
      .C = view.C,
      .S = static_cast<std::int64_t>(in.head_S.size()),
      .R = in.x_MSR.dim(2),
      .scale = view.scale,
      .grad_scale = grad_scale,
      .head_S = in.head_S.data(),
      .kv_head_H = view.kv_head_H,
      .document_N = view.document_N};
  const Storage space(ctx.Tagged("workspace"), cuda::AlignmentWorkspace(shape));
  cuda::AlignmentKl<T>(shape,
                       {in.q_THC.data<T>(), in.k_NGC.data<T>(),
                        in.lse_HT.data<float>(), in.x_MSR.data<float>(),
                        in.y_NSR.data<float>(), in.row_M.data<std::int32_t>()},
                       space.data(), kl_SM, dx_MSR, dy_NSR, ctx.stream);
}

}  // namespace

void AlignmentKl(const ExecContext& ctx, const AttentionPattern& pattern,
                 const AlignmentInputs& in, float grad_scale, Tensor* kl_SM,
                 Tensor* dx_MSR, Tensor* dy_NSR) {
  CheckInputs(in, !OnCuda(ctx));
  const std::int64_t M = in.x_MSR.dim(0);
  const auto S = static_cast<std::int64_t>(in.head_S.size());
  CHECK_EQ(kl_SM->shape(), (Shape{S, M}));
  const AttentionPattern dense = DensePattern(pattern, in.q_THC.dim(1));
  const AttentionView view =
      ViewOf(dense, in.q_THC, in.k_NGC, in.query_begin, !OnCuda(ctx));
  float* kl = kl_SM->data<float>();
  float* dx = DataOrNull(*dx_MSR, in.x_MSR);
  float* dy = DataOrNull(*dy_NSR, in.y_NSR);
  DispatchFloat(in.q_THC.dtype(), [&]<typename T>() {
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        return RunOnCuda<T>(ctx, view, in, grad_scale, kl, dx, dy);
      }
    }
    const cpu::AlignmentArgs<T> args = {.view = view,
                                        .q_THC = in.q_THC.data<T>(),
                                        .k_NGC = in.k_NGC.data<T>(),
                                        .lse_HT = in.lse_HT.data<float>(),
                                        .x_MSR = in.x_MSR.data<float>(),
                                        .y_NSR = in.y_NSR.data<float>(),
                                        .row_M = in.row_M.data<std::int32_t>(),
                                        .head_S = in.head_S.data(),
                                        .M = M,
                                        .S = S,
                                        .R = in.x_MSR.dim(2)};
    cpu::AlignmentKlFast<T>(ctx, args, grad_scale, kl, dx, dy);
  });
}

}  // namespace rtpurbo::kernels
