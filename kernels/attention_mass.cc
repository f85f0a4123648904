#include "kernels/attention_mass.h"

#include "kernels/attention_view.h"
#include "kernels/core/check.h"
#include "kernels/core/config.h"
#include "kernels/cpu/attention_mass_fast.h"
#include "kernels/cuda/attention_mass.h"

namespace rtpurbo::kernels {

void AttentionMass(const ExecContext& ctx, const AttentionPattern& pattern,
                   const Tensor& q_THC, const Tensor& k_NGC,
                   std::int64_t query_begin, const Tensor& lse_HT,
                   RowRange post, RowRange pre, Tensor* mass_H) {
  const std::int64_t T_ = q_THC.dim(0);
  const std::int64_t H = q_THC.dim(1);
  CHECK(q_THC.dtype() == k_NGC.dtype())
      << "q is " << Name(q_THC.dtype()) << ", k " << Name(k_NGC.dtype());
  CHECK_EQ(lse_HT.shape(), (Shape{H, T_}));
  CHECK_EQ(mass_H->shape(), Shape{H});
  CHECK(0 <= pre.begin && pre.begin <= pre.end && pre.end <= post.begin &&
        query_begin <= post.begin && post.begin < post.end &&
        post.end <= query_begin + T_)
      << "keys [" << pre.begin << ", " << pre.end << ") from rows ["
      << post.begin << ", " << post.end << ") of [" << query_begin << ", "
      << query_begin + T_ << ")";
  const AttentionPattern dense = DensePattern(pattern, H);
  const AttentionView view =
      ViewOf(dense, q_THC, k_NGC, query_begin, !OnCuda(ctx));
  const RowRange rows = {post.begin - query_begin, post.end - query_begin};
  DispatchFloat(q_THC.dtype(), [&]<typename T>() {
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        const ExecContext scratch = ctx.Tagged("workspace");
        const Tensor kv_head = FromHost(scratch, pattern.kv_head_H, {H});
        const Tensor row_mass =
            Tensor::Empty(scratch, DType::kF32, {H * (rows.end - rows.begin)});
        return cuda::AttentionMass({T_, H, view.G, view.C, view.scale,
                                    rows.begin, rows.end, pre.begin, pre.end},
                                   kv_head.data<std::int32_t>(),
                                   q_THC.data<T>(), k_NGC.data<T>(),
                                   lse_HT.data<float>(), row_mass.data<float>(),
                                   mass_H->data<float>(), ctx.stream);
      }
    }
    cpu::AttentionMassFast<T>(ctx,
                              {.view = view,
                               .q_THC = q_THC.data<T>(),
                               .k_NGC = k_NGC.data<T>(),
                               .lse_HT = lse_HT.data<float>(),
                               .post = rows,
                               .pre = pre},
                              mass_H->data<float>());
  });
}

}  // namespace rtpurbo::kernels
