// Attention in which each query row sees a range of keys, chosen per head.
//
// One code path for dense heads, for local heads (sinks and a window), for
// packed documents, for rows with a top-p selection and for the last rows
// alone: all of them are softmax over the keys that AttentionPattern shows.
//
//   o_i = sum_j a_ij v_j,   a_ij = exp(scale q_i.k_j - lse_i)
//   lse_i = log sum_j exp(scale q_i.k_j)         j over the visible keys of i
//
// Shapes: T query rows, N key rows, H query heads, G key/value heads, C width.
// Query row t stands at key position query_begin + t; N >= query_begin + T.
// A row that sees no key (cannot happen without `selected`) gives o = 0 and
// lse = -infinity. Nothing of size T x N is ever held for a layer.
// Deterministic, with any number of threads.

#ifndef RTPURBO_KERNELS_RANGE_ATTENTION_H_
#define RTPURBO_KERNELS_RANGE_ATTENTION_H_

#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/core/tensor.h"

namespace rtpurbo::kernels {

// Which keys a row sees. With i the position of the row, d(i) the first
// position of its document, and h the query head, key j is visible if
//   d(i) <= j <= i   and   (i - j <= window_H[h]  or  j < d(i) + sinks),
// except in the last `selected_rows` rows of a head with a slot, where it is
//   d(i) <= j <= i   and   bit j / block of the row's mask is set.
// Window and sinks are those of "Full Attention Strikes Back"
// (arXiv 2605.16928): W inclusive, S sinks, one softmax over both.
struct AttentionPattern {
  static constexpr std::int64_t kDense =
      std::numeric_limits<std::int64_t>::max();

  float scale = 1;
  std::int64_t sinks = 0;
  // [H] each. The map need not be h / (H / G).
  std::vector<std::int64_t> window_H;
  std::vector<std::int32_t> kv_head_H;
  // [N] i32, the first position of the document of each position; undefined if
  // all positions are one document.
  Tensor document_N;
  // [S, M, words] i32: block b of row m is visible to slot s if bit b % 32 of
  // word b / 32 is set; words = MaskWords(N, block). Undefined if M = 0.
  Tensor selected_SMB;
  std::vector<std::int32_t> slot_H;  // [H], -1 = none; empty = none at all
  std::int64_t block = 64;           // keys a bit

  std::int64_t selected_rows() const {
    return selected_SMB.defined() ? selected_SMB.dim(1) : 0;
  }
};

constexpr std::int64_t MaskWords(std::int64_t num_keys, std::int64_t block) {
  return ((num_keys + block - 1) / block + 31) / 32;
}

struct AttentionInputs {
  Tensor q_THC;
  Tensor k_NGC;
  Tensor v_NGC;  // all of one float type
  std::int64_t query_begin = 0;
};

//   o_THC: as q.  lse_HT: [H, T] f32.  Both overwritten.
void RangeAttentionForward(const ExecContext& ctx,
                           const AttentionPattern& pattern,
                           const AttentionInputs& in, Tensor* o_THC,
                           Tensor* lse_HT);

// Overwrites dq, dk and dv (keys that no row sees get zeros). Any of the three
// may be undefined: then it is not computed. Masks carry no gradient.
//   ds_ij = a_ij (do_i.v_j - do_i.o_i),  dq_i = scale sum_j ds_ij k_j,
//   dk_j = scale sum_i ds_ij q_i,        dv_j = sum_i a_ij do_i.
void RangeAttentionBackward(const ExecContext& ctx,
                            const AttentionPattern& pattern,
                            const AttentionInputs& in, const Tensor& o_THC,
                            const Tensor& lse_HT, const Tensor& do_THC,
                            Tensor* dq_THC, Tensor* dk_NGC, Tensor* dv_NGC);

}  // namespace rtpurbo::kernels

#endif  // RTPURBO_KERNELS_RANGE_ATTENTION_H_
