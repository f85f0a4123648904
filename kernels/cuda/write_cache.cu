// Rows into the slots of a cache: a thread copies one piece of a key row and
// the same piece of the value row.

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/write_cache.h"

namespace rtpurbo::kernels::cuda {
namespace {

// The slot of position n, or -1 if later positions take its place.
__device__ std::int64_t SlotOf(const CacheWrite& write, const CacheSlots& head,
                               std::int64_t n) {
  if (!head.ring || n < write.sinks) {
    return n;
  }
  const std::int64_t turn = head.slots - write.sinks;
  return n < write.length - turn ? -1 : write.sinks + (n - write.sinks) % turn;
}

template <typename Piece>
void Write(const CacheWrite& write, const void* k_TGC, const void* v_TGC,
           void* stream) {
  const std::int64_t pieces =
      write.row_bytes / static_cast<std::int64_t>(sizeof(Piece));
  const auto* k = static_cast<const Piece*>(k_TGC);
  const auto* v = static_cast<const Piece*>(v_TGC);
  ForEach(write.T * write.G * pieces, stream,
          [=, w = write] __device__(std::int64_t i) {
            const std::int64_t row = i / pieces;  // t G + g
            const CacheSlots& head = w.heads_G[row % w.G];
            const std::int64_t slot =
                SlotOf(w, head, w.length - w.T + row / w.G);
            if (slot >= 0) {
              const std::int64_t to = slot * pieces + i % pieces;
              static_cast<Piece*>(head.key_NC)[to] = k[i];
              static_cast<Piece*>(head.value_NC)[to] = v[i];
            }
          });
}

bool AllDivisible(const CacheWrite& write, const void* k, const void* v,
                  std::uintptr_t by) {
  const auto divisible = [by](const void* p) {
    return reinterpret_cast<std::uintptr_t>(p) % by == 0;
  };
  bool all = divisible(k) && divisible(v) &&
             static_cast<std::uintptr_t>(write.row_bytes) % by == 0;
  for (std::int64_t g = 0; g < write.G; ++g) {
    all = all && divisible(write.heads_G[g].key_NC) &&
          divisible(write.heads_G[g].value_NC);
  }
  return all;
}

}  // namespace

void WriteCache(const CacheWrite& write, const void* k_TGC, const void* v_TGC,
                void* stream) {
  if (AllDivisible(write, k_TGC, v_TGC, sizeof(uint4))) {
    Write<uint4>(write, k_TGC, v_TGC, stream);
  } else {
    Write<std::uint16_t>(write, k_TGC, v_TGC, stream);
  }
}

}  // namespace rtpurbo::kernels::cuda
