// New keys and values into the slots of a layer's cache, all heads at once.

#ifndef RTPURBO_KERNELS_WRITE_CACHE_H_
#define RTPURBO_KERNELS_WRITE_CACHE_H_

#include "kernels/sparse_decode.h"

namespace rtpurbo::kernels {

// Row t goes to the slot of position cache.length - T + t. A ring keeps its
// sinks and the last slots - sinks positions: of more rows than that, those in
// between are not written.
//   k_TGC, v_TGC: [T, G, C], of the cache's type.
// REQUIRES: heads of one type and width; a whole head has >= length slots.
void WriteCache(const ExecContext& ctx, const Tensor& k_TGC,
                const Tensor& v_TGC, const CacheView& cache);

}  // namespace rtpurbo::kernels

#endif  // RTPURBO_KERNELS_WRITE_CACHE_H_
