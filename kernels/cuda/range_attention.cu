// Range attention forward on any card; range_tiles.cuh says how.

#include "kernels/cuda/range_tiles.cuh"
#include "kernels/cuda/range_visible.cuh"

namespace rtpurbo::kernels::cuda {
namespace {

constexpr float kNone = -INFINITY;

__device__ float LaneMax(float value) {
  for (int step = kLanes / 2; step > 0; step /= 2) {
    value = fmaxf(value, __shfl_xor_sync(~0U, value, step));
  }
  return value;
}
__device__ float LaneSum(float value) {
  for (int step = kLanes / 2; step > 0; step /= 2) {
    value += __shfl_xor_sync(~0U, value, step);
  }
  return value;
}

template <int kWidth, typename T>
__global__ void ForwardKernel(const __grid_constant__ RangeTable table,
                              Part part, Pointers<T> in, T* __restrict__ o,
                              float* __restrict__ lse) {
  extern __shared__ char memory[];
  auto& shared = *reinterpret_cast<QueryShared<kWidth>*>(memory);
  const int head = static_cast<int>(blockIdx.y);
  const int row =
      part.FirstRow(table, head) + static_cast<int>(blockIdx.x) * kSide;
  if (!part.Has(table, head) || row >= table.num_rows) {
    return;
  }
  const int end_row = min(row + kSide, table.num_rows);
  const int y = static_cast<int>(threadIdx.x) / kLanes * kOwn;
  const int x = static_cast<int>(threadIdx.x) % kLanes;
  float sum[kOwn][kWidth / kLanes] = {};
  float top[kOwn];
  float total[kOwn] = {};
  for (float& value : top) {
    value = kNone;
  }
  LoadTile(in.q, table.num_heads, head, part.width, row, end_row, &shared.q);
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
    ZeroUnseen(visible, shared.seen, &shared.v);
    float s[kOwn][kOwn];
    Product(shared.q, shared.k, s);
#pragma unroll
    for (int a = 0; a < kOwn; ++a) {
      float high = kNone;
#pragma unroll
      for (int b = 0; b < kOwn; ++b) {
        const bool sees = (visible >> (kOwn * a + b) & 1U) != 0;
        s[a][b] = sees ? s[a][b] * table.scale : kNone;
        high = fmaxf(high, s[a][b]);
      }
      high = fmaxf(top[a], LaneMax(high));
      const float shift = high == kNone ? 0.0F : high;
      const float shrink = expf(top[a] - shift);
      float added = 0;
#pragma unroll
      for (int b = 0; b < kOwn; ++b) {
        const float weight = expf(s[a][b] - shift);
        shared.w.rows[y + a][x + kLanes * b] = weight;
        added += weight;
      }
      total[a] = total[a] * shrink + LaneSum(added);
      top[a] = high;
#pragma unroll
      for (float& value : sum[a]) {
        value *= shrink;
      }
    }
    __syncthreads();
    AddProduct(shared.w, shared.v, sum);
    __syncthreads();
  }
#pragma unroll
  for (int a = 0; a < kOwn; ++a) {
    const std::int64_t t = row + y + a;
    if (t >= end_row) {
      continue;
    }
    const float inverse = total[a] > 0 ? 1.0F / total[a] : 0.0F;
    for (int n = 0; n < kWidth / kLanes; ++n) {
      const int c = x + kLanes * n;
      if (c < part.width) {
        Store(sum[a][n] * inverse,
              o + (t * table.num_heads + head) * part.width + c);
      }
    }
    if (x == 0) {
      lse[std::int64_t{head} * table.num_rows + t] =
          total[a] > 0 ? top[a] + logf(total[a]) : kNone;
    }
  }
}

}  // namespace

template <typename T>
void RangeAttentionForward(const RangeShape& shape, bool selected_only,
                           const T* q_THC, const T* k_NGC, const T* v_NGC,
                           T* o_THC, float* lse_HT, void* stream) {
  const RangeTable table = MakeRangeTable(shape);
  const Pointers<T> in = {q_THC, k_NGC, v_NGC, nullptr, nullptr, nullptr};
  const std::int64_t rows = selected_only ? shape.selected_rows : shape.T;
  DispatchWidth(shape.C, [&]<int kWidth>() {
    LaunchTiles(ForwardKernel<kWidth, T>, NumTiles(rows), shape.H,
                sizeof(QueryShared<kWidth>), stream, table,
                MakePart(shape, selected_only), in, o_THC, lse_HT);
  });
}

using B = BFloat16;
template void RangeAttentionForward(const RangeShape&, bool, const float*,
                                    const float*, const float*, float*, float*,
                                    void*);
template void RangeAttentionForward(const RangeShape&, bool, const B*, const B*,
                                    const B*, B*, float*, void*);

}  // namespace rtpurbo::kernels::cuda
