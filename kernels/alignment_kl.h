// KL from exact attention rows to rows computed with low-width projections, and
// its gradient: the loss of projection alignment (arXiv 2605.16928).
//
// For retrieval head s (query head h = head_S[s]), row m at position i =
// row_M[m] and keys n in [d(i), i]:
//   z(n) = scale q_h(i).k_g(n)       a_full = softmax(z)
//   p(n) = scale x_s(m).y_s(n)       a_proj = softmax(p)
//   KL   = sum_n a_full(n) (z(n) - lse_full - p(n) + lse_proj)
//   dKL/dp(n) = a_proj(n) - a_full(n)
// where x, y are projected queries and keys of width R. Two tiled passes,
// nothing of size M x N is held. Deterministic: dy is summed over rows in a
// fixed order.

#ifndef RTPURBO_KERNELS_ALIGNMENT_KL_H_
#define RTPURBO_KERNELS_ALIGNMENT_KL_H_

#include <cstdint>
#include <vector>

#include "kernels/range_attention.h"

namespace rtpurbo::kernels {

struct AlignmentInputs {
  Tensor q_THC;   // after rotation, of one float type with k
  Tensor k_NGC;   // after rotation
  Tensor lse_HT;  // f32, row log-sums of dense attention over these
  Tensor x_MSR;   // f32, projected queries of the rows used
  Tensor y_NSR;   // f32, projected keys
  // Query row t stands at key position query_begin + t.
  std::int64_t query_begin = 0;
  // i32, positions, ascending, in [query_begin, query_begin + T).
  Tensor row_M;
  std::vector<std::int32_t> head_S;
};

// pattern gives scale, kv_head_H and document_N; its windows are not read.
//   kl_SM: [S, M] f32, overwritten.
//   dx_MSR, dy_NSR: f32, d(sum of kl_SM)/dx and /dy times `grad_scale`,
//   overwritten; undefined tensors are not computed.
void AlignmentKl(const ExecContext& ctx, const AttentionPattern& pattern,
                 const AlignmentInputs& in, float grad_scale, Tensor* kl_SM,
                 Tensor* dx_MSR, Tensor* dy_NSR);

}  // namespace rtpurbo::kernels

#endif  // RTPURBO_KERNELS_ALIGNMENT_KL_H_
