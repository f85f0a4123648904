#include "kernels/range_attention_cuda.h"

#include <type_traits>

#include "kernels/cuda/range_attention.h"

namespace rtpurbo::kernels {
namespace {

cuda::RangeShape ShapeOf(const AttentionView& view) {
  return {.T = view.T,
          .N = view.N,
          .query_begin = view.query_begin,
          .H = static_cast<int>(view.H),
          .G = static_cast<int>(view.G),
          .C = static_cast<int>(view.C),
          .scale = view.scale,
          .sinks = view.sinks,
          .window_H = view.window_H,
          .kv_head_H = view.kv_head_H,
          .document_N = view.document_N,
          .selected_SMB = view.selected_SMB,
          .slot_H = view.slot_H,
          .selected_rows = view.selected_rows,
          .words = view.mask_words,
          .block = view.block};
}

// Tensor maps and 16-byte loads want it; a slice may start anywhere.
bool IsAligned(const Tensor& tensor) {
  constexpr std::uintptr_t kAlignment = 16;
  return reinterpret_cast<std::uintptr_t>(tensor.bytes()) % kAlignment == 0;
}

bool SuitsSm90(const cuda::RangeShape& shape, const AttentionInputs& in) {
  return IsAligned(in.q_THC) && IsAligned(in.k_NGC) && IsAligned(in.v_NGC) &&
         cuda::HasRangeAttentionSm90(shape);
}

template <typename T>
T* DataOrNull(const Tensor& tensor) {
  return tensor.defined() ? tensor.data<T>() : nullptr;
}

}  // namespace

void RangeAttentionForwardOnCuda(const ExecContext& ctx,
                                 const AttentionView& view,
                                 const AttentionInputs& in, Tensor* o_THC,
                                 Tensor* lse_HT) {
  const cuda::RangeShape shape = ShapeOf(view);
  if (view.T == 0) {
    return;
  }
  float* lse = lse_HT->data<float>();
  DispatchFloat(in.q_THC.dtype(), [&]<typename T>() {
    const T* q = in.q_THC.data<T>();
    const T* k = in.k_NGC.data<T>();
    const T* v = in.v_NGC.data<T>();
    bool selected_only = false;
    if constexpr (std::is_same_v<T, BFloat16>) {
      if (SuitsSm90(shape, in) && IsAligned(*o_THC)) {
        const Storage space(ctx.Tagged("workspace"),
                            cuda::kRangeForwardWorkspace);
        cuda::RangeAttentionForwardSm90(shape, q, k, v, o_THC->data<T>(), lse,
                                        space.data(), ctx.stream);
        selected_only = true;
      }
    }
    if (!selected_only || view.selected_rows > 0) {
      cuda::RangeAttentionForward(shape, selected_only, q, k, v,
                                  o_THC->data<T>(), lse, ctx.stream);
    }
  });
}

void RangeAttentionBackwardOnCuda(const ExecContext& ctx,
                                  const AttentionView& view,
                                  const AttentionInputs& in,
                                  const Tensor& o_THC, const Tensor& lse_HT,
                                  const Tensor& do_THC, Tensor* dq_THC,
                                  Tensor* dk_NGC, Tensor* dv_NGC) {
  const cuda::RangeShape shape = ShapeOf(view);
  DispatchFloat(in.q_THC.dtype(), [&]<typename T>() {
    const cuda::RangeGradInputs<T> inputs = {
        in.q_THC.data<T>(), in.k_NGC.data<T>(),   in.v_NGC.data<T>(),
        o_THC.data<T>(),    lse_HT.data<float>(), do_THC.data<T>()};
    T* dq = DataOrNull<T>(*dq_THC);
    T* dk = DataOrNull<T>(*dk_NGC);
    T* dv = DataOrNull<T>(*dv_NGC);
    bool selected_only = false;
    if constexpr (std::is_same_v<T, BFloat16>) {
      if (SuitsSm90(shape, in) && IsAligned(o_THC) && IsAligned(do_THC)) {
        const Storage space(ctx.Tagged("workspace"),
                            cuda::RangeBackwardWorkspace(shape));
        cuda::RangeAttentionBackwardSm90(shape, inputs, dq, dk, dv,
                                         space.data(), ctx.stream);
        selected_only = true;
      }
    }
    if (!selected_only || view.selected_rows > 0) {
      const Storage delta(ctx.Tagged("workspace"), lse_HT.num_bytes());
      cuda::RangeAttentionBackward(shape, selected_only, inputs,
                                   reinterpret_cast<float*>(delta.data()), dq,
                                   dk, dv, ctx.stream);
    }
  });
}

}  // namespace rtpurbo::kernels
