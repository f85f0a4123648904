// Range attention in tiles and with threads: what the operator runs on the CPU.
// Same arguments and results as the definition (kernels/cpu/range_attention.h),
// up to rounding; bf16 operands become f32 tiles.
//
// Forward visits the tiles of 64 keys that a panel of up to 24 query rows sees,
// with a running maximum. Backward makes one pass over the same tiles from the
// row log-sums; pieces of the query rows, fixed by the shapes and the pattern,
// each keep sums of dk and dv of their own, added up in order of pieces: the
// same bits with any number of threads.
//
// NaN in a key reaches at most the rows of panels that see the key: 24 rows, so
// at most 24 positions.

#ifndef RTPURBO_KERNELS_CPU_RANGE_ATTENTION_FAST_H_
#define RTPURBO_KERNELS_CPU_RANGE_ATTENTION_FAST_H_

#include "kernels/core/context.h"
#include "kernels/cpu/range_attention.h"

namespace rtpurbo::kernels::cpu {

// T: float or BFloat16. Takes "workspace" from ctx: the keys and values in f32.
template <typename T>
void RangeAttentionForwardFast(const ExecContext& ctx,
                               const RangeAttentionArgs<T>& in, T* o_THC,
                               float* lse_HT);

// Null gradients are not computed. Takes "workspace" from ctx: the keys twice
// and the values in f32, and the sums of dk and dv of up to 16 + G pieces.
template <typename T>
void RangeAttentionBackwardFast(const ExecContext& ctx,
                                const RangeAttentionArgs<T>& in,
                                const RangeAttentionSaved<T>& saved, T* dq_THC,
                                T* dk_NGC, T* dv_NGC);

}  // namespace rtpurbo::kernels::cpu

#endif  // RTPURBO_KERNELS_CPU_RANGE_ATTENTION_FAST_H_
