// Range attention on any card: plain f32 arithmetic on tiles in shared memory.
//
// A block of 16 x 16 threads works on 64 query rows x 64 keys; a thread has
// rows 4 y .. 4 y + 3 and columns x + 16 n. The forward and dq own a query tile
// and walk its key tiles upwards; dk and dv own a key tile and walk, head by
// head of the group, the query tiles upwards. No atomics: the order of sums is
// fixed. Tiles without a visible pair are skipped by a vote. Keys that no row
// of a tile sees are zeroed in shared memory, for they may hold NaN.

#ifndef RTPURBO_KERNELS_CUDA_RANGE_TILES_CUH_
#define RTPURBO_KERNELS_CUDA_RANGE_TILES_CUH_

#include "kernels/core/check.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/range_attention.h"
#include "kernels/cuda/range_items.cuh"

namespace rtpurbo::kernels::cuda {

inline constexpr int kSide = 64;   // rows and keys of a tile
inline constexpr int kLanes = 16;  // threads along a side
inline constexpr int kOwn = kSide / kLanes;

template <typename T>
struct Pointers {
  const T* q;
  const T* k;
  const T* v;
  const T* d_o;
  const float* lse;
  const float* delta;
};

// Which rows and heads a launch covers.
struct Part {
  int num_groups;  // G
  int num_keys;    // N
  int width;       // C
  bool selected_only;
  __device__ int FirstRow(const RangeTable& table, int head) const {
    return selected_only ? table.row_limit[head] : 0;
  }
  __device__ bool Has(const RangeTable& table, int head) const {
    return !selected_only || table.slot[head] >= 0;
  }
};

// kSide rows of kWidth floats, each row one float longer than needed so that
// the threads of a warp hit different banks.
template <int kWidth>
struct Tile {
  float rows[kSide][kWidth + 1];
};

// rows [first, first + kSide) of head `head` of x: [rows, heads, width]; zeros
// beyond `end` and beyond width.
template <int kWidth, typename T>
__device__ inline void LoadTile(const T* __restrict__ x, int heads, int head,
                                int width, int first, int end,
                                Tile<kWidth>* tile) {
  for (int i = static_cast<int>(threadIdx.x); i < kSide * kWidth;
       i += kThreads) {
    const int row = i / kWidth;
    const int c = i % kWidth;
    const bool exists = first + row < end && c < width;
    tile->rows[row][c] =
        exists
            ? Load(x + (std::int64_t{first + row} * heads + head) * width + c)
            : 0.0F;
  }
}

// s[a][b] = row (4 y + a) of `a` times row (x + 16 b) of `b`.
template <int kWidth>
__device__ inline void Product(const Tile<kWidth>& rows,
                               const Tile<kWidth>& columns,
                               float (&s)[kOwn][kOwn]) {
  const int y = static_cast<int>(threadIdx.x) / kLanes * kOwn;
  const int x = static_cast<int>(threadIdx.x) % kLanes;
#pragma unroll
  for (int a = 0; a < kOwn; ++a) {
#pragma unroll
    for (int b = 0; b < kOwn; ++b) {
      s[a][b] = 0;
    }
  }
  for (int c = 0; c < kWidth; ++c) {
    float row[kOwn];
    float column[kOwn];
#pragma unroll
    for (int n = 0; n < kOwn; ++n) {
      row[n] = rows.rows[y + n][c];
      column[n] = columns.rows[x + kLanes * n][c];
    }
#pragma unroll
    for (int a = 0; a < kOwn; ++a) {
#pragma unroll
      for (int b = 0; b < kOwn; ++b) {
        s[a][b] = fmaf(row[a], column[b], s[a][b]);
      }
    }
  }
}

// sum[a][n] += sum_j w[4 y + a][j] v[j][x + 16 n].
template <int kWidth>
__device__ inline void AddProduct(const Tile<kSide>& w, const Tile<kWidth>& v,
                                  float (&sum)[kOwn][kWidth / kLanes]) {
  const int y = static_cast<int>(threadIdx.x) / kLanes * kOwn;
  const int x = static_cast<int>(threadIdx.x) % kLanes;
  for (int j = 0; j < kSide; ++j) {
#pragma unroll
    for (int n = 0; n < kWidth / kLanes; ++n) {
      const float value = v.rows[j][x + kLanes * n];
#pragma unroll
      for (int a = 0; a < kOwn; ++a) {
        sum[a][n] = fmaf(w.rows[y + a][j], value, sum[a][n]);
      }
    }
  }
}

// x[first + 4 y + a] of head `head` becomes `scale` sum[a], or is added to.
template <int kWidth, typename T>
__device__ void WriteTile(const float (&sum)[kOwn][kWidth / kLanes],
                          float scale, int heads, int head, int width,
                          int first, int end, T* __restrict__ out,
                          bool add = false) {
  const int y = static_cast<int>(threadIdx.x) / kLanes * kOwn;
  const int x = static_cast<int>(threadIdx.x) % kLanes;
#pragma unroll
  for (int a = 0; a < kOwn; ++a) {
#pragma unroll
    for (int n = 0; n < kWidth / kLanes; ++n) {
      const std::int64_t row = first + y + a;
      const int c = x + kLanes * n;
      if (row < end && c < width) {
        T* to = out + (row * heads + head) * width + c;
        Store(sum[a][n] * scale + (add ? Load(to) : 0.0F), to);
      }
    }
  }
}

template <int kWidth>
struct QueryShared {
  Tile<kWidth> q, k, v, d_o;
  Tile<kSide> w;
  int seen[kSide];
};

template <typename... Params, typename... Args>
void LaunchTiles(void (*kernel)(Params...), std::int64_t tiles, int heads,
                 int shared_bytes, void* stream, Args... args) {
  if (tiles == 0 || heads == 0) {
    return;
  }
  CHECK(cudaFuncSetAttribute(kernel,
                             cudaFuncAttributeMaxDynamicSharedMemorySize,
                             shared_bytes) == cudaSuccess)
      << "this card has too little shared memory for range attention";
  const dim3 grid(static_cast<unsigned>(tiles), static_cast<unsigned>(heads));
  kernel<<<grid, kThreads, static_cast<std::size_t>(shared_bytes),
           static_cast<cudaStream_t>(stream)>>>(args...);
  CheckLaunch();
}

inline Part MakePart(const RangeShape& shape, bool selected_only) {
  return {shape.G, static_cast<int>(shape.N), shape.C, selected_only};
}

inline std::int64_t NumTiles(std::int64_t rows) {
  return (rows + kSide - 1) / kSide;
}

// Calls fn.operator()<kWidth>() with the least tile width that holds C.
template <typename Fn>
void DispatchWidth(int width, Fn fn) {
  CHECK(width <= 128) << "head width " << width << ": at most 128 on CUDA";
  if (width <= 32) {
    fn.template operator()<32>();
  } else if (width <= 64) {
    fn.template operator()<64>();
  } else {
    fn.template operator()<128>();
  }
}

}  // namespace rtpurbo::kernels::cuda

#endif  // RTPURBO_KERNELS_CUDA_RANGE_TILES_CUH_
