// How much of a head's softmax mass goes from some rows to some keys: the score
// of a query head in head calibration (arXiv 2605.16928, section on head
// calibration):
//
//   R_h = 1/|Post| sum over t in Post, j in Pre of exp(scale q_t.k_j - lse_t)

#ifndef RTPURBO_KERNELS_ATTENTION_MASS_H_
#define RTPURBO_KERNELS_ATTENTION_MASS_H_

#include <cstdint>

#include "kernels/range_attention.h"

namespace rtpurbo::kernels {

struct RowRange {
  std::int64_t begin;
  std::int64_t end;
};

//   q: [T, H, C], k: [T, G, C], one float type.  lse_HT: [H, T] f32, the row
//   log-sums of dense attention.  mass_H: [H] f32, overwritten.
// Reads |post| x |pre| entries of the attention matrix, no more. Of the pattern
// it reads scale and kv_head_H; each row of post sees all keys of pre.
// REQUIRES: pre.end <= post.begin, both inside [0, T), post not empty.
void AttentionMass(const ExecContext& ctx, const AttentionPattern& pattern,
                   const Tensor& q_THC, const Tensor& k_TGC,
                   const Tensor& lse_HT, RowRange post, RowRange pre,
                   Tensor* mass_H);

}  // namespace rtpurbo::kernels

#endif  // RTPURBO_KERNELS_ATTENTION_MASS_H_
