#include "kernels/range_attention.h"

#include "kernels/attention_view.h"
#include "kernels/core/check.h"
#include "kernels/core/config.h"
#include "kernels/cpu/range_attention_fast.h"
#include "kernels/range_attention_cuda.h"

namespace rtpurbo::kernels {
namespace {

void CheckInputs(const AttentionInputs& in) {
  CHECK_EQ(in.v_NGC.shape(), in.k_NGC.shape());
  CHECK(in.q_THC.dtype() == in.k_NGC.dtype() &&
        in.q_THC.dtype() == in.v_NGC.dtype())
      << "q is " << Name(in.q_THC.dtype()) << ", k " << Name(in.k_NGC.dtype())
      << ", v " << Name(in.v_NGC.dtype());
}

// Null for an undefined gradient, which is not computed.
template <typename T>
T* DataOrNull(const Tensor& gradient, const Tensor& of) {
  if (!gradient.defined()) {
    return nullptr;
  }
  CHECK_EQ(gradient.shape(), of.shape());
  return gradient.data<T>();
}

}  // namespace

void RangeAttentionForward(const ExecContext& ctx,
                           const AttentionPattern& pattern,
                           const AttentionInputs& in, Tensor* o_THC,
                           Tensor* lse_HT) {
  CheckInputs(in);
  CHECK_EQ(o_THC->shape(), in.q_THC.shape());
  CHECK_EQ(lse_HT->shape(), (Shape{in.q_THC.dim(1), in.q_THC.dim(0)}));
  const AttentionView view =
      ViewOf(pattern, in.q_THC, in.k_NGC, in.query_begin, !OnCuda(ctx));
  if constexpr (kHasCuda) {
    if (OnCuda(ctx)) {
      return RangeAttentionForwardOnCuda(ctx, view, in, o_THC, lse_HT);
    }
  }
  DispatchFloat(in.q_THC.dtype(), [&]<typename T>() {
    cpu::RangeAttentionForwardFast<T>(
        ctx, {view, in.q_THC.data<T>(), in.k_NGC.data<T>(), in.v_NGC.data<T>()},
        o_THC->data<T>(), lse_HT->data<float>());
  });
}

void RangeAttentionBackward(const ExecContext& ctx,
                            const AttentionPattern& pattern,
                            const AttentionInputs& in, const Tensor& o_THC,
                            const Tensor& lse_HT, const Tensor& do_THC,
                            Tensor* dq_THC, Tensor* dk_NGC, Tensor* dv_NGC) {
  CheckInputs(in);
  CHECK_EQ(o_THC.shape(), in.q_THC.shape());
  CHECK_EQ(do_THC.shape(), in.q_THC.shape());
  CHECK_EQ(lse_HT.shape(), (Shape{in.q_THC.dim(1), in.q_THC.dim(0)}));
  const AttentionView view =
      ViewOf(pattern, in.q_THC, in.k_NGC, in.query_begin, !OnCuda(ctx));
  if constexpr (kHasCuda) {
    if (OnCuda(ctx)) {
      return RangeAttentionBackwardOnCuda(ctx, view, in, o_THC, lse_HT, do_THC,
                                          dq_THC, dk_NGC, dv_NGC);
    }
  }
  DispatchFloat(in.q_THC.dtype(), [&]<typename T>() {
    cpu::RangeAttentionBackwardFast<T>(
        ctx, {view, in.q_THC.data<T>(), in.k_NGC.data<T>(), in.v_NGC.data<T>()},
        {o_THC.data<T>(), lse_HT.data<float>(), do_THC.data<T>()},
        DataOrNull<T>(*dq_THC, in.q_THC), DataOrNull<T>(*dk_NGC, in.k_NGC),
        DataOrNull<T>(*dv_NGC, in.v_NGC));
  });
}

}  // namespace rtpurbo::kernels
