// Attention mass in tiles and with threads: what the operator runs on the CPU.
// Same arguments and results as the definition (kernels/cpu/attention_mass.h),
// up to rounding; only tiles with a key of `pre` are read. Masses of panels of
// 24 rows are added in order: the same bits with any number of threads.

#ifndef RTPURBO_KERNELS_CPU_ATTENTION_MASS_FAST_H_
#define RTPURBO_KERNELS_CPU_ATTENTION_MASS_FAST_H_

#include "kernels/core/context.h"
#include "kernels/cpu/attention_mass.h"

namespace rtpurbo::kernels::cpu {

// T: float or BFloat16. Takes "workspace" from ctx: room for the keys in f32.
template <typename T>
void AttentionMassFast(const ExecContext& ctx, const AttentionMassArgs<T>& in,
                       float* mass_H);

}  // namespace rtpurbo::kernels::cpu

#endif  // RTPURBO_KERNELS_CPU_ATTENTION_MASS_FAST_H_
