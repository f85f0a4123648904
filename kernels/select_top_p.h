// The smallest set of key blocks that holds a share p of a projected row's
// softmax mass, without sorting (arXiv 2605.16928; the histogram is ours).
//
// For slot s and row m at position i: p(n) = scale x_s(m).y_s(n), n in
// [d(i), i]. Block b holds lse_b = log of the sum of exp p(n) over its keys.
//   top-p: blocks are taken in order of lse_b (or of their maximum) until their
//     mass reaches p of the row's whole mass. Then forced blocks are added:
//     they neither stop the scan nor leave the total.
//   top-k: forced blocks first, then blocks in that order (of equal ones the
//     earlier first) until `top_k` keys are kept.
//
// Top-p needs no sort. A block's weight is its mass relative to the row's
// highest score in fixed point (2^-40, 64 bits: sums do not depend on order).
// 256 bins divide the 20 nats below the highest block, what is lower is in the
// last bin. Bins are taken from the top until their weight reaches p of the
// total; the bin where that happens is taken whole. The kept mass is
// >= p (1 - 1e-5) always; how many blocks more than the minimum are kept
// depends on the width of a bin: 0.08 nats.
//
// With block = 1 this is the token-level reference: the same code, single keys.

#ifndef RTPURBO_KERNELS_SELECT_TOP_P_H_
#define RTPURBO_KERNELS_SELECT_TOP_P_H_

#include <cstdint>

#include "kernels/core/tensor.h"

namespace rtpurbo::kernels {

struct Selection {
  enum class Rule : std::uint8_t {
    kTopP,  // mass `top_p`
    kTopK,  // the blocks of highest order until `top_k` keys are kept
  };
  enum class Order : std::uint8_t {
    kMass,     // log-sum-exp of the block
    kMaximum,  // its highest score, as in the paper
  };
  Rule rule = Rule::kTopP;
  Order order = Order::kMass;
  double top_p = 0.9;       // >= 0; from 1 on every block is kept
  std::int64_t top_k = 0;   // keys
  std::int64_t block = 64;  // keys
  // Always kept ("forced"): keys j with j < d(i) + sinks or i - j <= recent,
  // widened to whole blocks. With block 64, sinks <= 64 and recent 64: the
  // document's first block, the row's block and the one before. recent -1: no
  // recent keys, not even the row's own.
  std::int64_t sinks = 4;
  std::int64_t recent = 64;
  float scale = 1;
};

//   x_MSR: [M, S, R] f32, projected queries of rows at positions
//     query_begin .. query_begin + M.
//   y_NSR: [N, S, R] f32, projected keys; query_begin + M <= N <= 2^23. Keys
//     after a row or before its document do not touch it.
//   document_N: as in AttentionPattern, or undefined.
//   mask_SMB: [S, M, MaskWords(N, block)] i32, overwritten.
//   kept_SM: [S, M, 2] i32, overwritten with the keys (visible ones) and the
//     blocks kept; may be undefined.
// A document that begins inside a block shares that block: attention's own
// bounds hide what lies before it.
void SelectTopP(const ExecContext& ctx, const Selection& selection,
                const Tensor& x_MSR, const Tensor& y_NSR,
                std::int64_t query_begin, const Tensor& document_N,
                Tensor* mask_SMB, Tensor* kept_SM);

}  // namespace rtpurbo::kernels

#endif  // RTPURBO_KERNELS_SELECT_TOP_P_H_
