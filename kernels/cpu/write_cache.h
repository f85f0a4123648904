// Writing rows of [T, G, C] into the slots of cached heads, a row at a time.

#ifndef RTPURBO_KERNELS_CPU_WRITE_CACHE_H_
#define RTPURBO_KERNELS_CPU_WRITE_CACHE_H_

#include <algorithm>
#include <cstdint>

#include "kernels/sparse_decode.h"

namespace rtpurbo::kernels::cpu {

// Whether position n is still in a ring once `length` positions were written.
inline bool RingKeeps(std::int64_t n, std::int64_t length, std::int64_t sinks,
                      std::int64_t slots) {
  return n < sinks || n >= length - (slots - sinks);
}

// Rows of head g at positions [begin, length).
template <typename T>
void WriteHead(const T* x_TGC, std::int64_t G, std::int64_t g, std::int64_t C,
               std::int64_t begin, const CacheView& cache, const Tensor& to) {
  const bool ring = cache.heads_G[static_cast<std::size_t>(g)].ring;
  const std::int64_t slots = to.dim(0);
  T* slots_NC = to.data<T>();
  for (std::int64_t n = begin; n < cache.length; ++n) {
    if (ring && !RingKeeps(n, cache.length, cache.sinks, slots)) {
      continue;
    }
    const T* row = x_TGC + ((n - begin) * G + g) * C;
    const std::int64_t slot = ring ? RingSlot(n, cache.sinks, slots) : n;
    std::copy(row, row + C, slots_NC + slot * C);
  }
}

}  // namespace rtpurbo::kernels::cpu

#endif  // RTPURBO_KERNELS_CPU_WRITE_CACHE_H_
