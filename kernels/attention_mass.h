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

//   q: [T, H, C], k: [N, G, C], one float type; query row t stands at key
//   position query_begin + t.  lse_HT: [H, T] f32, the row log-sums of dense
//   attention.  post, pre: positions.  mass_H: [H] f32, overwritten.
// Reads |post| x |pre| entries of the attention matrix, no more. Of the pattern
// it reads scale and kv_head_H; each row of post sees all keys of pre.
// REQUIRES: pre.end <= post.begin, pre inside [0, N), post inside
// [query_begin, query_begin + T) and not empty.
void AttentionMass(const ExecContext& ctx, const AttentionPattern& pattern,
                   const Tensor& q_THC, const Tensor& k_NGC,
                   std::int64_t query_begin, const Tensor& lse_HT,
                   RowRange post, RowRange pre, Tensor* mass_H);

}  // namespace rtpurbo::kernels

#endif  // RTPURBO_KERNELS_ATTENTION_MASS_H_
