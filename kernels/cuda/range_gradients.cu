// Range attention backward on any card; range_tiles.cuh says how.

#include "kernels/cuda/range_tiles.cuh"
#include "kernels/cuda/range_visible.cuh"

namespace rtpurbo::kernels::cuda {
namespace {

// delta_i = do_i.o_i; a warp a row.
template <typename T>
__global__ void DeltaKernel(std::int64_t rows, int heads, int width,
                            const T* __restrict__ o, const T* __restrict__ d_o,
                            float* __restrict__ delta) {
  const std::int64_t index =
      (std::int64_t{blockIdx.x} * kThreads + threadIdx.x) / 32;
  if (index >= rows * heads) {
    return;
  }
  float sum = 0;
  for (int c = static_cast<int>(threadIdx.x) % 32; c < width; c += 32) {
    sum += Load(o + index * width + c) * Load(d_o + index * width + c);
  }
  for (int step = 16; step > 0; step /= 2) {
    sum += __shfl_xor_sync(~0U, sum, step);
  }
  if (threadIdx.x % 32 == 0) {
    delta[index % heads * rows + index / heads] = sum;
  }
}

// S and dP of this thread become A (if `weights`) and dS.
__device__ void Gradients(const RangeTable& table, unsigned visible, int head,
                          int row, bool along_rows, const float* lse,
                          const float* delta, float (&s)[kOwn][kOwn],
                          float (&dp)[kOwn][kOwn]) {
  const int y = static_cast<int>(threadIdx.x) / kLanes * kOwn;
  const int x = static_cast<int>(threadIdx.x) % kLanes;
#pragma unroll
  for (int a = 0; a < kOwn; ++a) {
#pragma unroll
    for (int b = 0; b < kOwn; ++b) {
      const bool sees = (visible >> (kOwn * a + b) & 1U) != 0;
      const std::int64_t t = std::int64_t{head} * table.num_rows + row +
                             (along_rows ? y + a : x + kLanes * b);
      s[a][b] = sees ? expf(s[a][b] * table.scale - lse[t]) : 0.0F;
      dp[a][b] = sees ? s[a][b] * (dp[a][b] - delta[t]) : 0.0F;
    }
  }
}

__device__ void StoreOwn(const float (&s)[kOwn][kOwn], Tile<kSide>* tile) {
  const int y = static_cast<int>(threadIdx.x) / kLanes * kOwn;
  const int x = static_cast<int>(threadIdx.x) % kLanes;
#pragma unroll
  for (int a = 0; a < kOwn; ++a) {
#pragma unroll
    for (int b = 0; b < kOwn; ++b) {
      tile->rows[y + a][x + kLanes * b] = s[a][b];
    }
  }
}

template <int kWidth, typename T>
__global__ void QueryGradKernel(const __grid_constant__ RangeTable table,
                                Part part, Pointers<T> in, T* __restrict__ dq) {
  extern __shared__ char memory[];
  auto& shared = *reinterpret_cast<QueryShared<kWidth>*>(memory);
  const int head = static_cast<int>(blockIdx.y);
  const int row =
      part.FirstRow(table, head) + static_cast<int>(blockIdx.x) * kSide;
  if (!part.Has(table, head) || row >= table.num_rows) {
    return;
  }
  const int end_row = min(row + kSide, table.num_rows);
  float sum[kOwn][kWidth / kLanes] = {};
  LoadTile(in.q, table.num_heads, head, part.width, row, end_row, &shared.q);
  LoadTile(in.d_o, table.num_heads, head, part.width, row, end_row,
           &shared.d_o);
  for (KeyWalk walk(table, head, row, end_row); walk.tile <= walk.high;
       walk.Next()) {
    const int key = walk.tile * kSide;
    const unsigned visible =
        VisiblePairs(table, head, row, end_row, key, part.num_keys, true);
    if (__syncthreads_or(static_cast<int>(visible)) == 0) {
      continue;
    }
    const int kv = table.kv_head[head];
    LoadTile(in.k, part.num_groups, kv, part.width, key, part.num_keys,
             &shared.k);
    LoadTile(in.v, part.num_groups, kv, part.width, key, part.num_keys,
             &shared.v);
    ZeroUnseen(visible, shared.seen, &shared.k);
    float s[kOwn][kOwn];
    float dp[kOwn][kOwn];
    Product(shared.q, shared.k, s);
    Product(shared.d_o, shared.v, dp);
    Gradients(table, visible, head, row, true, in.lse, in.delta, s, dp);
    StoreOwn(dp, &shared.w);
    __syncthreads();
    AddProduct(shared.w, shared.k, sum);
    __syncthreads();
  }
  WriteTile<kWidth>(sum, table.scale, table.num_heads, head, part.width, row,
                    end_row, dq);
}

template <int kWidth>
struct KeyShared {
  Tile<kWidth> k, v, q, d_o;
  Tile<kSide> w;
};

template <int kWidth, typename T>
__global__ void KeyGradKernel(const __grid_constant__ RangeTable table,
                              Part part, Pointers<T> in, T* __restrict__ dk,
                              T* __restrict__ dv) {
  extern __shared__ char memory[];
  auto& shared = *reinterpret_cast<KeyShared<kWidth>*>(memory);
  const int kv = static_cast<int>(blockIdx.y);
  const int key = static_cast<int>(blockIdx.x) * kSide;
  const int end_key = min(key + kSide, part.num_keys);
  float dk_sum[kOwn][kWidth / kLanes] = {};
  float dv_sum[kOwn][kWidth / kLanes] = {};
  LoadTile(in.k, part.num_groups, kv, part.width, key, end_key, &shared.k);
  LoadTile(in.v, part.num_groups, kv, part.width, key, end_key, &shared.v);
  for (int head = 0; head < table.num_heads; ++head) {
    if (table.kv_head[head] != kv || !part.Has(table, head)) {
      continue;
    }
    const int begin = part.FirstRow(table, head);
    const int diagonal = max(key - table.query_begin, begin);
    for (int row = begin + (diagonal - begin) / kSide * kSide;
         row < table.num_rows; row += kSide) {
      const int end_row = min(row + kSide, table.num_rows);
      const unsigned visible =
          VisiblePairs(table, head, row, end_row, key, end_key, false);
      if (__syncthreads_or(static_cast<int>(visible)) == 0) {
        continue;
      }
      LoadTile(in.q, table.num_heads, head, part.width, row, end_row,
               &shared.q);
      LoadTile(in.d_o, table.num_heads, head, part.width, row, end_row,
               &shared.d_o);
      __syncthreads();
      float s[kOwn][kOwn];
      float dp[kOwn][kOwn];
      Product(shared.k, shared.q, s);
      Product(shared.v, shared.d_o, dp);
      Gradients(table, visible, head, row, false, in.lse, in.delta, s, dp);
      StoreOwn(s, &shared.w);
      __syncthreads();
      AddProduct(shared.w, shared.d_o, dv_sum);
      __syncthreads();
      StoreOwn(dp, &shared.w);
      __syncthreads();
      AddProduct(shared.w, shared.q, dk_sum);
      __syncthreads();
    }
  }
  if (dk != nullptr) {
    WriteTile<kWidth>(dk_sum, table.scale, part.num_groups, kv, part.width, key,
                      end_key, dk, part.selected_only);
  }
  if (dv != nullptr) {
    WriteTile<kWidth>(dv_sum, 1.0F, part.num_groups, kv, part.width, key,
                      end_key, dv, part.selected_only);
  }
}

}  // namespace

template <typename T>
void RangeAttentionBackward(const RangeShape& shape, bool selected_only,
                            const RangeGradInputs<T>& in, float* delta_HT,
                            T* dq_THC, T* dk_NGC, T* dv_NGC, void* stream) {
  const RangeTable table = MakeRangeTable(shape);
  const Pointers<T> pointers = {in.q_THC,  in.k_NGC,  in.v_NGC,
                                in.do_THC, in.lse_HT, delta_HT};
  const Part part = MakePart(shape, selected_only);
  const std::int64_t rows = selected_only ? shape.selected_rows : shape.T;
  constexpr int kWarps = kThreads / 32;
  Launch(DeltaKernel<T>, (shape.T * shape.H + kWarps - 1) / kWarps, stream,
         shape.T, shape.H, shape.C, in.o_THC, in.do_THC, delta_HT);
  DispatchWidth(shape.C, [&]<int kWidth>() {
    if (dq_THC != nullptr) {
      LaunchTiles(QueryGradKernel<kWidth, T>, NumTiles(rows), shape.H,
                  sizeof(QueryShared<kWidth>), stream, table, part, pointers,
                  dq_THC);
    }
    if (dk_NGC != nullptr || dv_NGC != nullptr) {
      LaunchTiles(KeyGradKernel<kWidth, T>, NumTiles(shape.N), shape.G,
                  sizeof(KeyShared<kWidth>), stream, table, part, pointers,
                  dk_NGC, dv_NGC);
    }
  });
}

using B = BFloat16;
template void RangeAttentionBackward(const RangeShape&, bool,
                                     const RangeGradInputs<float>&, float*,
                                     float*, float*, float*, void*);
template void RangeAttentionBackward(const RangeShape&, bool,
                                     const RangeGradInputs<B>&, float*, B*, B*,
                                     B*, void*);

}  // namespace rtpurbo::kernels::cuda
