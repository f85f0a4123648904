// How attention is cut for the tiled kernels of the CPU: query rows into
// panels, keys into tiles of 64, and which keys of a tile each row of a panel
// sees.
//
// A panel holds up to 24 rows (position, query head) that read one key/value
// head: heads that see by one rule share each tile of keys. A tile that no row
// of the panel sees is not visited. What a row sees of a tile is 64 bits, so
// dense, local, packed and selected rows differ in those bits alone.

#ifndef RTPURBO_KERNELS_CPU_ATTENTION_TILES_H_
#define RTPURBO_KERNELS_CPU_ATTENTION_TILES_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "kernels/attention_view.h"
#include "kernels/core/context.h"
#include "kernels/core/parallel.h"
#include "kernels/core/tensor.h"
#include "kernels/cpu/tile_math.h"

namespace rtpurbo::kernels::cpu {

inline constexpr std::int64_t kPanelStrips = 4;
inline constexpr std::int64_t kPanelRows = kPanelStrips * kStripRows;

// The keys that a row sees: [begin, sink_end) and [window_begin, end), or, if
// `bits` is not null, those of [begin, end) whose block is set.
struct RowKeys {
  std::int64_t begin = 0;
  std::int64_t sink_end = 0;
  std::int64_t window_begin = 0;
  std::int64_t end = 0;
  const std::int32_t* bits = nullptr;
  std::int64_t block = 1;

  // Bit n says whether key kTileKeys * tile + n is seen.
  std::uint64_t SeenInTile(std::int64_t tile) const;
};
RowKeys KeysOf(const AttentionView& view, std::int64_t h, std::int64_t t);

// What the rows of a panel see of one tile; rows that are not there see
// nothing.
struct TileSeen {
  std::int64_t tile = 0;
  std::array<std::uint64_t, kPanelRows> row = {};
};

// Up to kPanelRows query rows.
struct Panel {
  int num_rows = 0;
  std::array<std::int64_t, kPanelRows> head = {};
  std::array<std::int64_t, kPanelRows> token = {};
  std::array<RowKeys, kPanelRows> keys = {};

  std::int64_t num_strips() const {
    return (num_rows + kStripRows - 1) / kStripRows;
  }
  void Add(std::int64_t h, std::int64_t t, const RowKeys& row_keys);
  // Calls fn for each tile that a row sees, in order.
  void ForEachTile(const std::function<void(const TileSeen& seen)>& fn) const;
  // Tiles that ForEachTile() visits.
  std::int64_t NumTiles() const;
};

// The panels of a pattern, from the last position to the first: those that see
// the most keys, if attention is dense, are worked on first.
class AttentionPlan {
 public:
  explicit AttentionPlan(const AttentionView& view);

  std::int64_t num_panels() const {
    return static_cast<std::int64_t>(panels_.size());
  }
  // The key/value head of panel i, and its rows.
  std::int64_t kv_head(std::int64_t i) const { return group(i).g; }
  Panel panel(std::int64_t i) const;
  // Which tiles of which key/value head are visited: [G, tiles].
  std::vector<char> VisitedTiles() const;

 private:
  // Heads that read one key/value head and see by one rule, at some rows.
  struct Group {
    std::int64_t g;
    std::int64_t begin;
    std::int64_t end;
    std::vector<std::int64_t> heads;

    std::int64_t num_rows() const {
      return (end - begin) * static_cast<std::int64_t>(heads.size());
    }
  };
  // Rows of a group, position by position and head by head, from `first`.
  struct Piece {
    std::size_t group;
    std::int64_t first;
    std::int64_t token;
  };

  void AddGroups(std::int64_t begin, std::int64_t end);
  const Group& group(std::int64_t i) const {
    return groups_[panels_[static_cast<std::size_t>(i)].group];
  }

  AttentionView view_;
  std::vector<Group> groups_;
  std::vector<Piece> panels_;
};

constexpr std::int64_t NumTiles(std::int64_t num_keys) {
  return (num_keys + kTileKeys - 1) / kTileKeys;
}
constexpr std::int64_t PadTo(std::int64_t multiple, std::int64_t n) {
  return (n + multiple - 1) / multiple * multiple;
}

// Where a [N, G, C] operand lies when it is packed: tile by tile, in f32, as a
// matrix whose columns are cut into slabs of two vectors. A product reads one
// slab from end to end.
//
// The matrix is [64 keys, C], with C padded to whole vectors by zeros, or its
// transpose [C, 64 keys].
struct TileLayout {
  std::int64_t N;
  std::int64_t G;
  std::int64_t C;
  bool transposed;

  std::int64_t width() const { return PadTo(TileLanes(), C); }
  std::int64_t tile_size() const {
    return kTileKeys * (transposed ? C : width());
  }
  std::int64_t size() const { return G * NumTiles(N) * tile_size(); }
  std::int64_t offset(std::int64_t g, std::int64_t tile) const {
    return (g * NumTiles(N) + tile) * tile_size();
  }
};

// Packs one tile; rows after the last key become zeros.
template <typename T>
void PackTile(const TileLayout& layout, const T* x_NGC, std::int64_t g,
              std::int64_t tile, float* to) {
  const std::int64_t slab = 2 * TileLanes();
  const std::int64_t first = tile * kTileKeys;
  const std::int64_t keys = std::min(kTileKeys, layout.N - first);
  const T* from = x_NGC + (first * layout.G + g) * layout.C;
  const std::int64_t stride = layout.G * layout.C;
  std::fill(to, to + layout.tile_size(), 0.0F);
  if (layout.transposed) {
    for (std::int64_t n = 0; n < keys; ++n) {
      float* column = to + n / slab * slab * layout.C + n % slab;
      for (std::int64_t c = 0; c < layout.C; ++c) {
        column[c * slab] = static_cast<float>(from[n * stride + c]);
      }
    }
    return;
  }
  for (std::int64_t begin = 0; begin < layout.C; begin += slab) {
    const std::int64_t row = std::min(slab, layout.width() - begin);
    const std::int64_t count = std::min(slab, layout.C - begin);
    for (std::int64_t n = 0; n < keys; ++n) {
      for (std::int64_t c = 0; c < count; ++c) {
        to[begin * kTileKeys + n * row + c] =
            static_cast<float>(from[n * stride + begin + c]);
      }
    }
  }
}

// Packs the tiles of `visited` ([G, tiles]).
template <typename T>
void PackTiles(const TileLayout& layout, const T* x_NGC,
               const std::vector<char>& visited, float* packed) {
  const std::int64_t tiles = NumTiles(layout.N);
  ParallelFor(layout.G * tiles, 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      if (visited[static_cast<std::size_t>(i)] != 0) {
        PackTile(layout, x_NGC, i / tiles, i % tiles,
                 packed + i * layout.tile_size());
      }
    }
  });
}

// Packed tiles of one operand, as long as this lives.
class PackedTiles {
 public:
  template <typename T>
  PackedTiles(const ExecContext& ctx, const TileLayout& layout, const T* x_NGC,
              const std::vector<char>& visited)
      : layout_(layout),
        storage_(ctx.Tagged("workspace"),
                 layout.size() * static_cast<std::int64_t>(sizeof(float))) {
    PackTiles(layout, x_NGC, visited, floats());
  }
  const float* tile(std::int64_t g, std::int64_t tile) const {
    return floats() + layout_.offset(g, tile);
  }

 private:
  float* floats() const { return reinterpret_cast<float*>(storage_.data()); }

  TileLayout layout_;
  Storage storage_;
};

// Rows of [T, H, C] times `factor`, padded; rows that are not there are zeros.
template <typename T>
void PackRows(const AttentionView& view, const Panel& panel, const T* x_THC,
              float factor, std::int64_t width, float* to) {
  std::fill(to, to + kPanelRows * width, 0.0F);
  for (int r = 0; r < panel.num_rows; ++r) {
    const auto at = static_cast<std::size_t>(r);
    const T* x_C = x_THC + view.row(panel.head[at], panel.token[at]);
    for (std::int64_t c = 0; c < view.C; ++c) {
      to[r * width + c] = static_cast<float>(x_C[c]) * factor;
    }
  }
}

}  // namespace rtpurbo::kernels::cpu

#endif  // RTPURBO_KERNELS_CPU_ATTENTION_TILES_H_
