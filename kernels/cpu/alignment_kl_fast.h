// Alignment KL in tiles and with threads: what the operator runs on the CPU.
// Same arguments and results as the definition (kernels/cpu/alignment_kl.h), up
// to rounding; bf16 queries and keys become f32 tiles.
//
// A panel of 24 rows of one head passes twice over its tiles of 64 keys: for
// the log-sums of the projected scores, then for KL and gradients. Pieces of
// the rows, fixed by their positions, each keep sums of dy of their own, added
// up in order of pieces: the same bits with any number of threads.

#ifndef RTPURBO_KERNELS_CPU_ALIGNMENT_KL_FAST_H_
#define RTPURBO_KERNELS_CPU_ALIGNMENT_KL_FAST_H_

#include "kernels/core/context.h"
#include "kernels/cpu/alignment_kl.h"

namespace rtpurbo::kernels::cpu {

// T: float or BFloat16. Null gradients are not computed. Takes "workspace" from
// ctx: the keys once and y twice in f32, and the sums of dy of up to 16 + S
// pieces.
template <typename T>
void AlignmentKlFast(const ExecContext& ctx, const AlignmentArgs<T>& in,
                     float grad_scale, float* kl_SM, float* dx_MSR,
                     float* dy_NSR);

}  // namespace rtpurbo::kernels::cpu

#endif  // RTPURBO_KERNELS_CPU_ALIGNMENT_KL_FAST_H_
