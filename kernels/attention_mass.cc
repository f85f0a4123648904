#include "kernels/attention_mass.h"

#include "kernels/core/config.h"
#include "kernels/core/parallel.h"
#include "kernels/cpu/attention_mass.h"
#include "kernels/cuda/attention_mass.h"

namespace rtpurbo::kernels {

void AttentionMass(const ExecContext& ctx, const AttentionPattern& pattern,
                   const Tensor& q_THC, const Tensor& k_TGC,
                   const Tensor& lse_HT, RowRange post, RowRange pre,
                   Tensor* mass_H) {
  const std::int64_t T_ = q_THC.dim(0);
  const std::int64_t H = q_THC.dim(1);
  const std::int64_t G = k_TGC.dim(1);
  const std::int64_t C = q_THC.dim(2);
  CHECK_EQ(k_TGC.dim(0), T_);
  CHECK_EQ(lse_HT.shape(), (Shape{H, T_}));
  CHECK_EQ(mass_H->shape(), Shape{H});
  CHECK(0 <= pre.begin && pre.begin <= pre.end && pre.end <= post.begin &&
        post.begin < post.end && post.end <= T_)
      << "keys [" << pre.begin << ", " << pre.end << ") from rows ["
      << post.begin << ", " << post.end << ") of " << T_;
  const float* lse = lse_HT.data<float>();
  float* mass = mass_H->data<float>();
  DispatchFloat(q_THC.dtype(), [&]<typename T>() {
    const T* q = q_THC.data<T>();
    const T* k = k_TGC.data<T>();
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        const ExecContext scratch = ctx.Tagged("workspace");
        const Tensor kv_head = FromHost(scratch, pattern.kv_head_H, {H});
        const Tensor row_mass =
            Tensor::Empty(scratch, DType::kF32, {H * (post.end - post.begin)});
        return cuda::AttentionMass({T_, H, G, C, pattern.scale, post.begin,
                                    post.end, pre.begin, pre.end},
                                   kv_head.data<std::int32_t>(), q, k, lse,
                                   row_mass.data<float>(), mass, ctx.stream);
      }
    }
    ParallelFor(H, 1, [&](std::int64_t h, std::int64_t /*end*/) {
      const std::int64_t g = pattern.kv_head_H[static_cast<std::size_t>(h)];
      double sum = 0;
      for (std::int64_t t = post.begin; t < post.end; ++t) {
        sum += cpu::RowMass<T>(q + (t * H + h) * C, k + g * C, G * C, pre.begin,
                               pre.end, C, pattern.scale, lse[h * T_ + t]);
      }
      mass[h] =
          static_cast<float>(sum / static_cast<double>(post.end - post.begin));
    });
  });
}

}  // namespace rtpurbo::kernels
