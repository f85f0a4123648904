// Where the low-width projections of a retrieval head start, before any step of
// training: at the best rank-R form for the logits that the head computes.
//
// A logit at distance n is q^T D_n k, with D_n the rotation of RoPE over n
// positions and q, k taken before rotation. The projections see no positions;
// with D in place of D_n they fit
//   min over rank-R M of E (q^T (D - M) k)^2 = |Lq^T (D - M) Lk|^2,
// where Lq Lq^T = E q q^T and Lk Lk^T = E k k^T, and q and k are taken as
// independent. The minimum truncates a singular value decomposition
// (Eckart and Young 1936):
//   Lq^T D Lk = U diag(s) V^T,   M = Wq^T Wk,
//   Wq = diag(s)^1/2 U_R^T Lq^-1,   Wk = diag(s)^1/2 V_R^T Lk^-1.
// D is the mean of D_n over the distances that the head must reach beyond a
// window, or the identity.
//
// Everything is in f64, without a library, in a fixed order: the same bytes
// with any number of threads. C head width, R projection width.

#ifndef RTPURBO_MODEL_PROJECTION_START_H_
#define RTPURBO_MODEL_PROJECTION_START_H_

#include <cstdint>
#include <vector>

namespace rtpurbo {

// One head's projections, row-major [R, C].
struct ProjectionPair {
  std::vector<float> wq_RC;
  std::vector<float> wk_RC;
};

// [C, C]: the mean over n in [first, last] of the D_n with
// q^T D_n k = rotated(q, position + n) . rotated(k, position), for RoPE with
// frequencies base^(-2c/C) and pairs (c, c + C/2), as in kernels/rope.h.
// REQUIRES: C even, 0 <= first <= last.
std::vector<double> MeanRotation(double base, std::int64_t C,
                                 std::int64_t first, std::int64_t last);
std::vector<double> Identity(std::int64_t C);

// The best rank-R form.
//   sq_CC, sk_CC: E q q^T and E k k^T, or sums over as many rows each.
//   d_CC: D.
//   ridge: what is added to the diagonals, in units of their mean; keeps
//     directions that no sample had from being divided by zero.
// Projected queries and keys have the second moments diag(s), both. Each row of
// wq has its largest element positive. A head whose queries or keys
// were all zero gets zeros.
// REQUIRES: R <= C; the moments plus ridge positive definite.
ProjectionPair BestProjections(const std::vector<double>& sq_CC,
                               const std::vector<double>& sk_CC,
                               const std::vector<double>& d_CC, std::int64_t C,
                               std::int64_t R, double ridge);

// Normal with variance 1 / C, a function of (seed, stream).
ProjectionPair RandomProjections(std::int64_t C, std::int64_t R,
                                 std::uint64_t seed, std::uint64_t stream);

}  // namespace rtpurbo

#endif  // RTPURBO_MODEL_PROJECTION_START_H_
