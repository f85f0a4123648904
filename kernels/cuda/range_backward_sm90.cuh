// The three kernels of range attention's backward on Hopper, and what they
// share.
//
//   ds_ij = a_ij (do_i.v_j - delta_i),  delta_i = do_i.o_i
//
// Two kernels instead of one with atomic sums: one owns key tiles and sums dk
// and dv over query rows in order, one owns query tiles and sums dq over keys.
// Scores are computed twice, but nothing depends on timing, and no f32 copy of
// dq is held.

#ifndef RTPURBO_KERNELS_CUDA_RANGE_BACKWARD_SM90_CUH_
#define RTPURBO_KERNELS_CUDA_RANGE_BACKWARD_SM90_CUH_

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/range_attention.h"
#include "kernels/cuda/range_items.cuh"

namespace rtpurbo::kernels::cuda {

inline constexpr int kQueryTile = 64;  // query rows of a step of the key kernel

// Per query row, in tiles of 64 rows, padded to whole tiles of 128.
//   log_sum: lse / ln 2, or infinity for a row that counts for nothing.
struct RowStats {
  struct Tile {
    float log_sum[kQueryTile];
    float delta[kQueryTile];
  };
  Tile* tiles;             // [H, num_tiles]
  std::int32_t* document;  // [num_tiles x 64], 0 without documents
  int num_tiles;
};

struct BackwardInputs {
  const BFloat16* q_THC;
  const BFloat16* k_NGC;
  const BFloat16* v_NGC;
  const BFloat16* do_THC;
  RowStats stats;
};

// `counter` is a zeroed int on the device; dk or dv may be null.
void RangeQueryGradSm90(const RangeShape& shape, const BackwardInputs& in,
                        BFloat16* dq_THC, int* counter, cudaStream_t stream);
void RangeKeyGradSm90(const RangeShape& shape, const BackwardInputs& in,
                      BFloat16* dk_NGC, BFloat16* dv_NGC, int* counter,
                      cudaStream_t stream);

}  // namespace rtpurbo::kernels::cuda

#endif  // RTPURBO_KERNELS_CUDA_RANGE_BACKWARD_SM90_CUH_
