// Exact attention of new tokens over a cache: selected blocks for retrieval
// heads, sinks and window for local heads, everything for dense ones.
//
// The cache is kept per key/value head, because locality is per query head: a
// head whose query heads are all local is a ring of `slots` positions, any
// other is whole. Position n of a ring lies at slot n if n < sinks, else at
// sinks + (n - sinks) % (slots - sinks).

#ifndef RTPURBO_KERNELS_SPARSE_DECODE_H_
#define RTPURBO_KERNELS_SPARSE_DECODE_H_

#include <cstdint>
#include <vector>

#include "kernels/range_attention.h"

namespace rtpurbo::kernels {

// The cached keys or values of one layer as a kernel sees them.
struct CacheView {
  struct Head {
    Tensor key_NC;    // [slots, C]
    Tensor value_NC;  // [slots, C]
    bool ring = false;
  };
  std::vector<Head> heads_G;
  std::int64_t length = 0;  // positions written, the new rows included
  std::int64_t sinks = 0;   // of the rings
};

constexpr std::int64_t RingSlot(std::int64_t position, std::int64_t sinks,
                                std::int64_t slots) {
  return position < sinks ? position
                          : sinks + (position - sinks) % (slots - sinks);
}

//   q_THC: [T, H, C], new rows at the last T positions of the cache.
//   pattern: as in range_attention, one document; its mask is of the last of
//     the T rows, its words are those of cache.length.
//   o_THC: as q.  lse_HT: [H, T] f32.  Both overwritten.
// Equal to RangeAttentionForward over the whole sequence, up to the order of
// sums.
// REQUIRES: what a row of a ring head sees is still in the ring: it is if
// slots >= cache.sinks + window + T, or if slots >= cache.length.
void SparseDecode(const ExecContext& ctx, const AttentionPattern& pattern,
                  const Tensor& q_THC, const CacheView& cache, Tensor* o_THC,
                  Tensor* lse_HT);

}  // namespace rtpurbo::kernels

#endif  // RTPURBO_KERNELS_SPARSE_DECODE_H_
