// Attention over a cache on the CPU, split over the cache's slots.
//
// The keys that a row sees are a few runs of slots. A piece of work is a chunk
// of one key/value head's slots with every row of its query heads: keys and
// values are read from memory once for all of them. Each piece leaves, for each
// row, the maximum m of the scores, the sum of exp(s - m) and the sum of
// exp(s - m) v; these are merged in order of chunks.

#ifndef RTPURBO_KERNELS_CPU_SPARSE_DECODE_FAST_H_
#define RTPURBO_KERNELS_CPU_SPARSE_DECODE_FAST_H_

#include "kernels/cpu/sparse_decode.h"

namespace rtpurbo::kernels::cpu {

// The floats of scratch that are needed for `slots` in the largest head.
std::int64_t DecodeScratchSize(const AttentionView& view, std::int64_t slots);

// T is float or BFloat16.
//   scratch: DecodeScratchSize() floats.
// REQUIRES: what a row sees is in the cache.
template <typename T>
void SparseDecodeFast(const DecodeArgs<T>& in, float* scratch, T* o_THC,
                      float* lse_HT);

}  // namespace rtpurbo::kernels::cpu

#endif  // RTPURBO_KERNELS_CPU_SPARSE_DECODE_FAST_H_
