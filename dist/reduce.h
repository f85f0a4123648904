// The arithmetic of collectives on the CPU: one definition, so that all
// implementations give the same bits.

#ifndef RTPURBO_DIST_REDUCE_H_
#define RTPURBO_DIST_REDUCE_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "dist/communicator.h"

namespace rtpurbo {

// out[i] = the sum, maximum or minimum of parts[0][i], parts[1][i], ... in this
// order, for i in [0, n).
//   parts: n elements of `dtype` each.  out: n elements of `out_dtype`, which
//   is `dtype`, or f32 for bf16. May be one of the parts if the types agree.
// Sums of bf16 are kept in f32 and rounded once; those of i32 wrap around.
void ReduceInOrder(ReduceOp op, DType dtype,
                   std::span<const std::byte* const> parts, std::int64_t n,
                   DType out_dtype, std::byte* out);

}  // namespace rtpurbo

#endif  // RTPURBO_DIST_REDUCE_H_
