#include "kernels/cpu/tile_sums.h"

#include <algorithm>
#include <utility>

namespace rtpurbo::kernels::cpu {
namespace {

std::int64_t BytesOf(const std::vector<SumPiece>& pieces,
                     std::int64_t tile_size) {
  std::int64_t tiles = 0;
  for (const SumPiece& piece : pieces) {
    tiles += piece.tiles_end;
  }
  return tiles * tile_size * static_cast<std::int64_t>(sizeof(float));
}

}  // namespace

std::vector<SumPiece> CutIntoPieces(const std::vector<PanelWork>& work,
                                    std::int64_t num_outputs) {
  // Enough to keep the threads of a desktop busy; each costs memory for its
  // keys and a pass over it.
  constexpr std::int64_t kPieces = 16;
  constexpr std::int64_t kLeastCost = 64;
  std::vector<std::int64_t> total(static_cast<std::size_t>(num_outputs));
  for (const PanelWork& panel : work) {
    total[static_cast<std::size_t>(panel.output)] += panel.cost;
  }
  std::vector<SumPiece> pieces;
  for (std::int64_t output = 0; output < num_outputs; ++output) {
    const std::int64_t share = std::max(
        kLeastCost,
        total[static_cast<std::size_t>(output)] * num_outputs / kPieces + 1);
    std::int64_t filled = share;
    for (std::size_t i = 0; i < work.size(); ++i) {
      if (work[i].output != output) {
        continue;
      }
      if (filled >= share) {
        pieces.push_back({.output = output});
        filled = 0;
      }
      filled += work[i].cost;
      SumPiece& piece = pieces.back();
      piece.panels.push_back(static_cast<std::int64_t>(i));
      piece.tiles_end = std::max(piece.tiles_end, work[i].tiles_end);
    }
  }
  return pieces;
}

TileSums::TileSums(const ExecContext& ctx, std::int64_t tile_size,
                   std::vector<SumPiece> pieces)
    : tile_size_(tile_size),
      pieces_(std::move(pieces)),
      storage_(ctx.Tagged("workspace"), BytesOf(pieces_, tile_size)) {
  std::int64_t first = 0;
  for (const SumPiece& piece : pieces_) {
    first_.push_back(first);
    touched_.emplace_back(static_cast<std::size_t>(piece.tiles_end));
    first += piece.tiles_end;
  }
}

float* TileSums::Tile(std::size_t i, std::int64_t tile) const {
  return reinterpret_cast<float*>(storage_.data()) +
         (first_[i] + tile) * tile_size_;
}

float* TileSums::tile(std::size_t i, std::int64_t tile) {
  float* sums = Tile(i, tile);
  char& touched = touched_[i][static_cast<std::size_t>(tile)];
  if (touched == 0) {
    touched = 1;
    std::fill(sums, sums + tile_size_, 0.0F);
  }
  return sums;
}

std::vector<float> TileSums::Total(std::int64_t output,
                                   std::int64_t tile) const {
  std::vector<float> total(static_cast<std::size_t>(tile_size_));
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    if (pieces_[i].output == output && tile < pieces_[i].tiles_end &&
        touched_[i][static_cast<std::size_t>(tile)] != 0) {
      const float* part = Tile(i, tile);
      for (std::size_t n = 0; n < total.size(); ++n) {
        total[n] += part[n];
      }
    }
  }
  return total;
}

}  // namespace rtpurbo::kernels::cpu
