// Tokens go to the ranks that have their experts, and come back.
//
// Rank r of P on the expert axis has experts [r E / P, (r + 1) E / P). Each
// rank has tokens of its own, each of which goes once for each of its K
// choices. Only the numbers of rows are exchanged to know what will come; the
// choices themselves stay where they were made.

#ifndef RTPURBO_MODEL_EXPERT_EXCHANGE_H_
#define RTPURBO_MODEL_EXPERT_EXCHANGE_H_

#include <cstdint>
#include <vector>

#include "autograd/ops/ops.h"
#include "dist/communicator.h"
#include "kernels/core/tensor.h"

namespace rtpurbo {

// N rows go from here and M come, any of them none.
struct ExpertExchange {
  ops::RowTrade there;  // of x_TD: one result x_MD, by expert, then by rank
  ops::RowTrade back;   // of y_MD: one result y_ND, in this rank's expert order
  std::vector<std::int32_t> offset_E;  // first row in x_MD of each expert here
};

// Plain arithmetic.
//   source_N, offset_E: of all experts, as PermuteLayout gives them; N = T K.
//   count_PE: [P, E / P]: how many rows come from each rank for each expert
//   here.
ExpertExchange MakeExpertExchange(const std::vector<std::int32_t>& source_N,
                                  const std::vector<std::int32_t>& offset_E,
                                  const std::vector<std::int32_t>& count_PE,
                                  std::int64_t num_choices, int num_ranks);

// Tells each rank how many rows will go to each of its experts: count_PE, i32.
// Collective. A failed call gives zeros, and comm.Poll() tells.
//   offset_E: [E + 1] i32. P divides E.
Tensor TradeExpertCounts(const ExecContext& ctx, Communicator& comm,
                         const Tensor& offset_E);

}  // namespace rtpurbo

#endif  // RTPURBO_MODEL_EXPERT_EXCHANGE_H_
