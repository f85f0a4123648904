// Which pairs of a tile are visible, and the tiles that a query tile walks:
// the masks of range attention on any card (range_tiles.cuh).

#ifndef RTPURBO_KERNELS_CUDA_RANGE_VISIBLE_CUH_
#define RTPURBO_KERNELS_CUDA_RANGE_VISIBLE_CUH_

#include "kernels/cuda/range_tiles.cuh"

namespace rtpurbo::kernels::cuda {

// Bit 4 a + b of the result: this thread's pair (a, b) is visible. `along_rows`
// tells whether the thread's rows are query rows (else they are keys).
__device__ inline unsigned VisiblePairs(const RangeTable& table, int head,
                                        int row, int end_row, int key,
                                        int end_key, bool along_rows) {
  const int y = static_cast<int>(threadIdx.x) / kLanes * kOwn;
  const int x = static_cast<int>(threadIdx.x) % kLanes;
  unsigned bits = 0;
  for (int a = 0; a < kOwn; ++a) {
    for (int b = 0; b < kOwn; ++b) {
      const int up = y + a;
      const int right = x + kLanes * b;
      const int t = row + (along_rows ? up : right);
      const int j = key + (along_rows ? right : up);
      if (t < end_row && j < end_key && table.Sees(head, t, j)) {
        bits |= 1U << (kOwn * a + b);
      }
    }
  }
  return bits;
}

// Zeroes the key rows of `tile` that no thread of the block has as a column
// that is visible to one of its rows.
template <int kWidth>
__device__ inline void ZeroUnseen(unsigned visible, int* seen,
                                  Tile<kWidth>* tile) {
  const int x = static_cast<int>(threadIdx.x) % kLanes;
  if (threadIdx.x < kSide) {
    seen[threadIdx.x] = 0;
  }
  __syncthreads();
  for (int b = 0; b < kOwn; ++b) {
    if ((visible >> b & 0x1111U) != 0) {
      seen[x + kLanes * b] = 1;  // all writers write the same
    }
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < kSide * kWidth;
       i += kThreads) {
    if (seen[i / kWidth] == 0) {
      tile->rows[i / kWidth][i % kWidth] = 0;
    }
  }
  __syncthreads();
}

// The key tiles of a query tile: from the first key that a row's window,
// document or selection can reach; the sinks' tiles before that.
struct KeyWalk {
  int sink_end;
  int low;
  int high;
  int tile;
  __device__ KeyWalk(const RangeTable& table, int head, int row, int end_row) {
    const int first = table.query_begin + row;
    const int begin = table.Document(first);
    const bool selects = end_row > table.row_limit[head];
    low = (selects ? begin : max(begin, first - table.window[head])) / kSide;
    high = (table.query_begin + end_row - 1) / kSide;
    tile = begin / kSide;
    sink_end = table.sinks > 0 ? (begin + table.sinks - 1) / kSide : -1;
    if (tile > sink_end) {
      tile = low;
    }
  }
  __device__ void Next() {
    ++tile;
    if (tile > sink_end && tile < low) {
      tile = low;
    }
  }
};

}  // namespace rtpurbo::kernels::cuda

#endif  // RTPURBO_KERNELS_CUDA_RANGE_VISIBLE_CUH_
