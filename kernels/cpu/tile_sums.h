// Sums over query rows for each key, as dk = sum over rows, by many threads and
// yet always in one order: the rows are cut into pieces of about equal work,
// each piece has sums of its own, and these are added up in order of pieces.
// The cut depends on the work alone, never on the number of threads.

#ifndef RTPURBO_KERNELS_CPU_TILE_SUMS_H_
#define RTPURBO_KERNELS_CPU_TILE_SUMS_H_

#include <cstdint>
#include <vector>

#include "kernels/core/context.h"
#include "kernels/core/tensor.h"

namespace rtpurbo::kernels::cpu {

// A panel of query rows, and what it costs.
struct PanelWork {
  std::int64_t output = 0;     // whose keys it adds to: a key/value head
  std::int64_t cost = 0;       // tiles of keys visited
  std::int64_t tiles_end = 0;  // after the last of them
};

// Panels that add to the same sums, in order.
struct SumPiece {
  std::int64_t output = 0;
  std::int64_t tiles_end = 0;
  std::vector<std::int64_t> panels = {};  // indices of the work
};

// Panels of one output stay in the order given.
std::vector<SumPiece> CutIntoPieces(const std::vector<PanelWork>& work,
                                    std::int64_t num_outputs);

class TileSums {
 public:
  // Tiles of `tile_size` floats for the tiles of each piece, from 0 to its
  // tiles_end; "workspace" of ctx.
  TileSums(const ExecContext& ctx, std::int64_t tile_size,
           std::vector<SumPiece> pieces);

  const std::vector<SumPiece>& pieces() const { return pieces_; }
  // The sums of piece i for one tile of keys: zeros when first asked for. Only
  // one thread may ask for tiles of a piece.
  float* tile(std::size_t i, std::int64_t tile);
  // The sum of all pieces; zeros if none was asked for the tile.
  std::vector<float> Total(std::int64_t output, std::int64_t tile) const;

 private:
  float* Tile(std::size_t i, std::int64_t tile) const;

  std::int64_t tile_size_;
  std::vector<SumPiece> pieces_;
  std::vector<std::int64_t> first_;         // of the tiles of all pieces
  std::vector<std::vector<char>> touched_;  // [pieces][tiles]
  Storage storage_;
};

}  // namespace rtpurbo::kernels::cpu

#endif  // RTPURBO_KERNELS_CPU_TILE_SUMS_H_
