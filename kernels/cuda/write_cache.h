// CUDA backend of write_cache.h: arguments as there, device pointers.

#ifndef RTPURBO_KERNELS_CUDA_WRITE_CACHE_H_
#define RTPURBO_KERNELS_CUDA_WRITE_CACHE_H_

#include <cstdint>

namespace rtpurbo::kernels::cuda {

inline constexpr std::int64_t kMaxCacheHeads = 64;

struct CacheSlots {
  void* key_NC;
  void* value_NC;
  std::int64_t slots;
  bool ring;
};

struct CacheWrite {
  std::int64_t T;
  std::int64_t G;
  std::int64_t row_bytes;  // of one head
  std::int64_t length;
  std::int64_t sinks;
  CacheSlots heads_G[kMaxCacheHeads];
};

void WriteCache(const CacheWrite& write, const void* k_TGC, const void* v_TGC,
                void* stream);

}  // namespace rtpurbo::kernels::cuda

#endif  // RTPURBO_KERNELS_CUDA_WRITE_CACHE_H_
