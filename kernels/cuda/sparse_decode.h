// CUDA backend of sparse_decode.h: arguments as there, device pointers.

#ifndef RTPURBO_KERNELS_CUDA_SPARSE_DECODE_H_
#define RTPURBO_KERNELS_CUDA_SPARSE_DECODE_H_

#include <cstdint>

#include "kernels/core/dtype.h"

namespace rtpurbo::kernels::cuda {

// What the new rows see of one query head's cache.
struct DecodeHead {
  const void* key_NC;
  const void* value_NC;
  std::int64_t slots;   // of the cache of its key/value head
  std::int64_t window;  // at most the cache's length
  std::int32_t ring;
  std::int32_t slot;  // of selected_SMB, -1: window and sinks
};

struct DecodeShape {
  std::int64_t T;
  std::int64_t H;
  std::int64_t C;
  std::int64_t length;      // positions written, the T new ones included
  std::int64_t ring_sinks;  // of the rings
  std::int64_t sinks;       // that every row sees
  float scale;
  const std::int32_t* selected_SMB;
  std::int64_t selected_rows;
  std::int64_t words;
  std::int64_t block;
};

// Bytes of scratch.
std::int64_t DecodeWorkspace(const DecodeShape& shape,
                             const DecodeHead* heads_H);

// heads_H: in host memory, read before the call returns; their pointers are to
// T on the device.
// REQUIRES: C is 8, 16, 32, 64, 128 or 256; caches aligned to 16 bytes.
template <typename T>
void SparseDecode(const DecodeShape& shape, const DecodeHead* heads_H,
                  const T* q_THC, T* o_THC, float* lse_HT, void* workspace,
                  void* stream);

}  // namespace rtpurbo::kernels::cuda

#endif  // RTPURBO_KERNELS_CUDA_SPARSE_DECODE_H_
