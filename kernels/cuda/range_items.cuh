// The pattern of range attention by value, and the Hopper kernels' work items:
// a tile of 128 query rows of a head, and the key tiles it must visit.
//
// Key tiles begin at multiples of 128. An item visits the tiles of its window
// from the diagonal downwards, then the tiles that hold sinks only. Items are
// numbered longest first: dense heads, then local ones, and in each class the
// last query tile first, the heads of one key/value head side by side so that
// they share its lines in L2.

#ifndef RTPURBO_KERNELS_CUDA_RANGE_ITEMS_CUH_
#define RTPURBO_KERNELS_CUDA_RANGE_ITEMS_CUH_

#include <cstdint>

#include "kernels/cuda/range_attention.h"

namespace rtpurbo::kernels::cuda {

inline constexpr int kTile = 128;  // query rows and keys of a tile

// The pattern as kernels see it, passed by value.
struct RangeTable {
  std::int32_t window[kMaxAttentionHeads];
  std::int16_t kv_head[kMaxAttentionHeads];
  std::int16_t order[kMaxAttentionHeads];      // dense heads first
  std::int32_t row_limit[kMaxAttentionHeads];  // rows that are not selected
  const std::int32_t* document;                // null: all one document
  int num_heads;
  int num_dense;  // heads whose window covers all keys
  int num_rows;   // T
  int query_begin;
  int sinks;
  float scale;
  int num_items;
  // Selections: bits [slot][row][words], of the rows from row_limit on.
  const std::int32_t* selected;
  std::int16_t slot[kMaxAttentionHeads];  // -1: none
  int selected_rows;
  int words;
  int block;

  // Whether row t of head h sees a key.
  __device__ bool Sees(int h, int t, int key) const {
    const int position = query_begin + t;
    const int begin = Document(position);
    if (key < begin || key > position) {
      return false;
    }
    if (t >= row_limit[h]) {
      const std::int64_t row =
          std::int64_t{slot[h]} * selected_rows + (t - row_limit[h]);
      const int bit = key / block;
      return (selected[row * words + bit / 32] >> (bit % 32) & 1) != 0;
    }
    return position - key <= window[h] || key < begin + sinks;
  }
  __device__ int Document(int position) const {
    return document == nullptr ? 0 : document[position];
  }
};

RangeTable MakeRangeTable(const RangeShape& shape);
int NumMultiprocessors();
bool IsHopper();  // the running device

struct RangeItem {
  int head;
  int row;    // first query row
  int first;  // its position
  int last;   // position of the last row that exists
  int window;
  int document;  // of the first row
  int last_document;
  int low;         // lowest key that a window reaches
  int high_tile;   // of the diagonal
  int num_window;  // tiles
  int sink_tile;
  int num_tiles;

  __device__ RangeItem(const RangeTable& table, int index) {
    const int num_query_tiles = (table.num_rows + kTile - 1) / kTile;
    const int dense_items = table.num_dense * num_query_tiles;
    const bool dense = index < dense_items;
    const int heads =
        dense ? table.num_dense : table.num_heads - table.num_dense;
    const int place = dense ? index : index - dense_items;
    head = table.order[place % heads + (dense ? 0 : table.num_dense)];
    row = (num_query_tiles - 1 - place / heads) * kTile;
    first = table.query_begin + row;
    last = table.query_begin + min(row + kTile, table.num_rows) - 1;
    window = table.window[head];
    document = table.Document(first);
    last_document = table.Document(last);
    low = max(document, first - window);
    high_tile = last / kTile;
    const int low_tile = low / kTile;
    num_window = high_tile - low_tile + 1;
    sink_tile = document / kTile;
    const int sink_end =
        table.sinks == 0
            ? sink_tile
            : min(low_tile, (document + table.sinks - 1) / kTile + 1);
    num_tiles = num_window + max(0, sink_end - sink_tile);
  }

  // The first key of the n-th tile.
  __device__ int Key(int n) const {
    return kTile *
           (n < num_window ? high_tile - n : sink_tile + n - num_window);
  }
  // Whether some row of the item may not see some key of the tile at `key`.
  __device__ bool Partial(int key) const {
    return key + kTile - 1 > first || key < last - window ||
           key < last_document;
  }
  // Whether the tile holds keys that no row sees; they may hold anything.
  __device__ bool HasInvisible(int key) const {
    return key < low || key + kTile - 1 > last;
  }
  __device__ bool Visible(int key, int sinks) const {
    return (key >= low && key <= last) ||
           (key >= document && key < document + sinks);
  }
};

// The keys that one row sees, as bounds relative to a tile and a lane.
struct RowBounds {
  int position;
  int left;
  int document;

  __device__ RowBounds(const RangeTable& table, const RangeItem& item, int i)
      : position(i), document(table.Document(min(i, item.last))) {
    left = max(document, i - item.window);
  }
  __device__ bool Sees(int key, int sinks) const {
    return key <= position &&
           (key >= left || (key >= document && key < document + sinks));
  }
};

}  // namespace rtpurbo::kernels::cuda

#endif  // RTPURBO_KERNELS_CUDA_RANGE_ITEMS_CUH_
