// The arithmetic of one panel of query rows and one tile of 64 keys: products,
// softmax and their derivatives, in one pass while the tile is in the cache.
//
// Scores are kept in units of log 2, z = log2(e) scale q.k, so that weights are
// 2^(z - m): rows of q come multiplied by log2(e) scale. Operands are packed as
// TileLayout says (suffix _CN: transposed), and rows are padded with zeros to
// whole strips and vectors.
//
// P rows of a panel, N keys of a tile, C width, padded where it comes last.

#ifndef RTPURBO_KERNELS_CPU_ATTENTION_TILE_KERNELS_H_
#define RTPURBO_KERNELS_CPU_ATTENTION_TILE_KERNELS_H_

#include <cstdint>

#include "kernels/cpu/attention_tiles.h"

namespace rtpurbo::kernels::cpu {

// Sums of a row are kept by lane and added up when the last tile is done.
inline constexpr std::int64_t kMaxLanes = 16;
inline float SumLanes(const float* sum_L) {
  float sum = 0;
  for (int i = 0; i < kMaxLanes; ++i) {
    sum += sum_L[i];
  }
  return sum;
}

// Adds one tile to the rows of a panel: o and l are sums of 2^(z - m) v and
// 2^(z - m), m the largest z so far.
struct ForwardTileArgs {
  const TileSeen& seen;
  std::int64_t num_strips = 0;
  std::int64_t C = 0;
  const float* q_PC = nullptr;
  const float* k_CN = nullptr;
  const float* v_NC = nullptr;
  float* o_PC = nullptr;  // starts as zeros; null if only l and m are wanted
  float* l_PL = nullptr;  // [P, kMaxLanes], starts as zeros
  float* m_P = nullptr;   // starts as -infinity
};
void ForwardTile(const ForwardTileArgs& args);

// Adds the gradients of one tile; dq without scale, dk of log2(e) scale q.
struct BackwardTileArgs {
  const TileSeen& seen;
  std::int64_t num_strips = 0;
  std::int64_t C = 0;
  const float* q_PC = nullptr;
  const float* do_PC = nullptr;
  const float* lse_P = nullptr;   // in units of log 2
  const float* do_o_P = nullptr;  // do_i.o_i
  const float* k_CN = nullptr;
  const float* k_NC = nullptr;
  const float* v_CN = nullptr;
  float* dq_PC = nullptr;  // these three: null if not wanted
  float* dk_NC = nullptr;  // [64 keys][C padded], as dv
  float* dv_NC = nullptr;
};
void BackwardTile(const BackwardTileArgs& args);

// Adds the KL of one tile, in units of log 2, from softmax of z = q.k to
// softmax of p = x.y, both in units of log 2; dx without scale, dy of
// log2(e) scale x. R: width of x and y.
struct AlignmentTileArgs {
  const TileSeen& seen;
  std::int64_t num_strips = 0;
  std::int64_t C = 0;
  std::int64_t R = 0;
  const float* q_PC = nullptr;
  const float* x_PR = nullptr;
  const float* lse_full_P = nullptr;  // in units of log 2
  const float* lse_proj_P = nullptr;
  const float* k_CN = nullptr;
  const float* y_RN = nullptr;
  const float* y_NR = nullptr;
  float* kl_PL = nullptr;  // [P, kMaxLanes]
  float* dx_PR = nullptr;  // these two: null if not wanted
  float* dy_NR = nullptr;  // [64 keys][R padded]
};
void AlignmentTile(const AlignmentTileArgs& args);

// Adds the weights 2^(z - lse) of one tile.
struct MassTileArgs {
  const TileSeen& seen;
  std::int64_t num_strips = 0;
  std::int64_t C = 0;
  const float* q_PC = nullptr;
  const float* lse_P = nullptr;  // in units of log 2
  const float* k_CN = nullptr;
  float* mass_PL = nullptr;  // [P, kMaxLanes]
};
void MassTile(const MassTileArgs& args);

}  // namespace rtpurbo::kernels::cpu

#endif  // RTPURBO_KERNELS_CPU_ATTENTION_TILE_KERNELS_H_
