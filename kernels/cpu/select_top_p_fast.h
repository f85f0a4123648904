// The histogram of kernels/select_top_p.h on the CPU.
//
// Two passes over groups of rows. The first scores keys in chunks, transposed
// once for many rows, and keeps of each block its maximum m and the
// sum l of exp(p - m). The second turns these into weights and bins, a row at a
// time. Scores of single keys are never stored.

#ifndef RTPURBO_KERNELS_CPU_SELECT_TOP_P_FAST_H_
#define RTPURBO_KERNELS_CPU_SELECT_TOP_P_FAST_H_

#include <cstdint>

#include "kernels/cpu/select_top_p.h"

namespace rtpurbo::kernels::cpu {

// Floats of scratch that are needed.
std::int64_t SelectScratchSize(const Selection& selection,
                               const SelectArgs& args);
//   scratch: SelectScratchSize() floats.
void SelectTopPFast(const Selection& selection, const SelectArgs& args,
                    float* scratch);

}  // namespace rtpurbo::kernels::cpu

#endif  // RTPURBO_KERNELS_CPU_SELECT_TOP_P_FAST_H_
