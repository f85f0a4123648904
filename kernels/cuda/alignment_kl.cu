// KL of attention rows to projected rows, on the tiles of range_tiles.cuh.
//
// Row kernel: a block owns 64 rows of a slot. It walks the keys twice: first
// for the log-sum of the projected scores, then for KL and dx. Key kernel: a
// block owns 64 keys of a slot and walks the rows that see one of them, in
// order, for dy. Nothing is summed by atomics.

#include <algorithm>
#include <type_traits>

#include "kernels/cuda/alignment_kl.h"
#include "kernels/cuda/alignment_kl_sm90.cuh"
#include "kernels/cuda/range_tiles.cuh"
#include "kernels/cuda/range_visible.cuh"

namespace rtpurbo::kernels::cuda {
namespace {

constexpr int kMaxSlots = 256;
constexpr float kNone = -INFINITY;

template <typename T>
struct Args {
  AlignmentShape shape;
  AlignmentPointers<T> in;
  std::int16_t head[kMaxSlots];
  std::int16_t kv_head[kMaxSlots];

  __device__ int Document(int position) const {
    return shape.document_N == nullptr ? 0 : shape.document_N[position];
  }
};

template <int kWidth, int kProjected>
struct Shared {
  Tile<kWidth> q, k;
  Tile<kProjected> x, y;
  Tile<kSide> w;
  int position[kSide];  // of the rows; -1 beyond the last
  int document[kSide];
  float lse_full[kSide];
  float lse_proj[kSide];
};

// Loads q, x and what is known of the rows [first, first + kSide) of slot s.
template <int kWidth, int kProjected, typename T>
__device__ void LoadRows(const Args<T>& args, int s, int first,
                         Shared<kWidth, kProjected>* shared) {
  const auto& shape = args.shape;
  const int head = args.head[s];
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < kSide) {
    const bool exists = first + thread < shape.M;
    const int position = exists ? args.in.row_M[first + thread] : -1;
    shared->position[thread] = position;
    shared->document[thread] = exists ? args.Document(position) : 0;
    shared->lse_full[thread] =
        exists
            ? args.in
                  .lse_HT[head * shape.queries + position - shape.query_begin]
            : 0.0F;
  }
  __syncthreads();
  for (int i = thread; i < kSide * kWidth; i += kThreads) {
    const std::int64_t position = shared->position[i / kWidth];
    const int c = i % kWidth;
    shared->q.rows[i / kWidth][c] =
        position >= 0 && c < shape.C
            ? Load(args.in.q_THC +
                   ((position - shape.query_begin) * shape.H + head) * shape.C +
                   c)
            : 0.0F;
  }
  LoadTile(args.in.x_MSR, static_cast<int>(shape.S), s,
           static_cast<int>(shape.R), first, static_cast<int>(shape.M),
           &shared->x);
}

template <int kWidth, int kProjected, typename T>
__device__ void LoadKeys(const Args<T>& args, int s, int key, bool full,
                         Shared<kWidth, kProjected>* shared) {
  const auto& shape = args.shape;
  const int end = static_cast<int>(shape.T);
  if (full) {
    LoadTile(args.in.k_TGC, static_cast<int>(shape.G), args.kv_head[s],
             static_cast<int>(shape.C), key, end, &shared->k);
  }
  LoadTile(args.in.y_TSR, static_cast<int>(shape.S), s,
           static_cast<int>(shape.R), key, end, &shared->y);
}

template <typename S>
__device__ bool Sees(const S& shared, int row, int key) {
  return key <= shared.position[row] && key >= shared.document[row];
}

// Zeros the projected keys of the tile that none of the rows sees: they may
// hold NaN, and 0 x NaN would spoil a sum over keys.
template <int kWidth, int kProjected>
__device__ void ZeroUnseen(int key, int rows,
                           Shared<kWidth, kProjected>* shared) {
  const int n = static_cast<int>(threadIdx.x);
  if (n >= kSide) {
    return;
  }
  for (int row = 0; row < rows; ++row) {
    if (Sees(*shared, row, key + n)) {
      return;
    }
  }
  for (float& value : shared->y.rows[n]) {
    value = 0;
  }
}

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

// KL terms of this thread's pair, and a_proj - a_full.
struct Pair {
  float kl;
  float grad;
};
__device__ Pair Compare(float z, float p, float lse_full, float lse_proj) {
  const float full = z - lse_full;
  const float projected = p - lse_proj;
  const float weight = expf(full);
  return {weight * (full - projected), expf(projected) - weight};
}

template <int kWidth, int kProjected, typename T>
__global__ void RowKernel(const __grid_constant__ Args<T> args,
                          float* __restrict__ lse_SM, float* __restrict__ kl_SM,
                          float* __restrict__ dx_MSR) {
  extern __shared__ char memory[];
  auto& shared = *reinterpret_cast<Shared<kWidth, kProjected>*>(memory);
  const auto& shape = args.shape;
  const int s = static_cast<int>(blockIdx.y);
  // The last rows see most keys: they start first.
  const int first = static_cast<int>(gridDim.x - 1 - blockIdx.x) * kSide;
  const int last = min(first + kSide, static_cast<int>(shape.M)) - 1;
  const int y = static_cast<int>(threadIdx.x) / kLanes * kOwn;
  const int x = static_cast<int>(threadIdx.x) % kLanes;
  LoadRows(args, s, first, &shared);
  __syncthreads();
  const int begin = shared.document[0] / kSide * kSide;
  const int end = shared.position[last - first] + 1;
  float top[kOwn];
  float sum[kOwn] = {};
  for (float& value : top) {
    value = kNone;
  }
  for (int key = begin; key < end; key += kSide) {
    LoadKeys(args, s, key, false, &shared);
    __syncthreads();
    float p[kOwn][kOwn];
    Product(shared.x, shared.y, p);
    for (int a = 0; a < kOwn; ++a) {
      float high = top[a];
      for (int b = 0; b < kOwn; ++b) {
        p[a][b] = Sees(shared, y + a, key + x + kLanes * b)
                      ? p[a][b] * shape.scale
                      : kNone;
        high = fmaxf(high, p[a][b]);
      }
      if (high != kNone) {
        sum[a] *= expf(top[a] - high);
        for (int b = 0; b < kOwn; ++b) {
          sum[a] += expf(p[a][b] - high);
        }
        top[a] = high;
      }
    }
    __syncthreads();
  }
  for (int a = 0; a < kOwn; ++a) {
    const float high = LaneMax(top[a]);
    const float total =
        LaneSum(top[a] == kNone ? 0.0F : sum[a] * expf(top[a] - high));
    if (x == 0) {
      shared.lse_proj[y + a] = high + logf(total);
      if (first + y + a <= last) {
        lse_SM[s * shape.M + first + y + a] = high + logf(total);
      }
    }
  }
  __syncthreads();
  float kl[kOwn] = {};
  float dx[kOwn][kProjected / kLanes] = {};
  for (int key = begin; key < end; key += kSide) {
    LoadKeys(args, s, key, true, &shared);
    __syncthreads();
    float z[kOwn][kOwn];
    float p[kOwn][kOwn];
    Product(shared.q, shared.k, z);
    Product(shared.x, shared.y, p);
    for (int a = 0; a < kOwn; ++a) {
      for (int b = 0; b < kOwn; ++b) {
        Pair pair = {0, 0};
        if (Sees(shared, y + a, key + x + kLanes * b)) {
          pair = Compare(z[a][b] * shape.scale, p[a][b] * shape.scale,
                         shared.lse_full[y + a], shared.lse_proj[y + a]);
        }
        kl[a] += pair.kl;
        shared.w.rows[y + a][x + kLanes * b] = pair.grad;
      }
    }
    __syncthreads();
    if (key + kSide - 1 > shared.position[0] ||
        key < shared.document[last - first]) {
      ZeroUnseen(key, last - first + 1, &shared);
      __syncthreads();
    }
    AddProduct(shared.w, shared.y, dx);
    __syncthreads();
  }
  for (int a = 0; a < kOwn; ++a) {
    const float total = LaneSum(kl[a]);
    if (x == 0 && first + y + a <= last) {
      kl_SM[s * shape.M + first + y + a] = total;
    }
  }
  if (dx_MSR != nullptr) {
    WriteTile<kProjected>(dx, shape.scale * shape.grad_scale,
                          static_cast<int>(shape.S), s,
                          static_cast<int>(shape.R), first, last + 1, dx_MSR);
  }
}

template <int kWidth, int kProjected, typename T>
__global__ void KeyKernel(const __grid_constant__ Args<T> args,
                          const float* __restrict__ lse_SM,
                          float* __restrict__ dy_TSR) {
  extern __shared__ char memory[];
  auto& shared = *reinterpret_cast<Shared<kWidth, kProjected>*>(memory);
  const auto& shape = args.shape;
  const int s = static_cast<int>(blockIdx.y);
  const int key = static_cast<int>(blockIdx.x) * kSide;
  const int rows = static_cast<int>(shape.M);
  const int y = static_cast<int>(threadIdx.x) / kLanes * kOwn;
  const int x = static_cast<int>(threadIdx.x) % kLanes;
  float dy[kOwn][kProjected / kLanes] = {};
  LoadKeys(args, s, key, true, &shared);
  for (int first = 0; first < rows; first += kSide) {
    const int last = min(first + kSide, rows) - 1;
    // Positions rise with the row, and so do documents.
    if (args.in.row_M[last] < key ||
        args.Document(args.in.row_M[first]) >= key + kSide) {
      continue;
    }
    LoadRows(args, s, first, &shared);
    if (threadIdx.x < kSide) {
      const int row = first + static_cast<int>(threadIdx.x);
      shared.lse_proj[threadIdx.x] =
          row < rows ? lse_SM[s * shape.M + row] : 0.0F;
    }
    __syncthreads();
    float z[kOwn][kOwn];
    float p[kOwn][kOwn];
    Product(shared.k, shared.q, z);
    Product(shared.y, shared.x, p);
    for (int a = 0; a < kOwn; ++a) {
      for (int b = 0; b < kOwn; ++b) {
        const int row = x + kLanes * b;
        float grad = 0;
        if (Sees(shared, row, key + y + a)) {
          grad = Compare(z[a][b] * shape.scale, p[a][b] * shape.scale,
                         shared.lse_full[row], shared.lse_proj[row])
                     .grad;
        }
        shared.w.rows[y + a][row] = grad;
      }
    }
    __syncthreads();
    AddProduct(shared.w, shared.x, dy);
    __syncthreads();
  }
  WriteTile<kProjected>(dy, shape.scale * shape.grad_scale,
                        static_cast<int>(shape.S), s, static_cast<int>(shape.R),
                        key, static_cast<int>(shape.T), dy_TSR);
}

template <int kWidth, int kProjected, typename T>
void Run(const Args<T>& args, float* lse_SM, float* kl_SM, float* dx_MSR,
         float* dy_TSR, void* stream) {
  constexpr int kBytes = sizeof(Shared<kWidth, kProjected>);
  const int slots = static_cast<int>(args.shape.S);
  LaunchTiles(RowKernel<kWidth, kProjected, T>, NumTiles(args.shape.M), slots,
              kBytes, stream, args, lse_SM, kl_SM, dx_MSR);
  if (dy_TSR != nullptr) {
    LaunchTiles(KeyKernel<kWidth, kProjected, T>, NumTiles(args.shape.T), slots,
                kBytes, stream, args, static_cast<const float*>(lse_SM),
                dy_TSR);
  }
}

}  // namespace

std::int64_t AlignmentWorkspace(const AlignmentShape& shape) {
  std::int64_t packed = 0;
  PlacePacked(shape, nullptr, &packed);
  return std::max(packed,
                  shape.S * shape.M * static_cast<std::int64_t>(sizeof(float)));
}

template <typename T>
void AlignmentKl(const AlignmentShape& shape, const AlignmentPointers<T>& in,
                 void* workspace, float* kl_SM, float* dx_MSR, float* dy_TSR,
                 void* stream) {
  CHECK(shape.S <= kMaxSlots) << shape.S << " retrieval heads of a layer";
  CHECK(shape.R <= 64) << "projection width " << shape.R
                       << ": at most 64 on CUDA";
  if constexpr (std::is_same_v<T, BFloat16>) {
    if (HasAlignmentKlSm90(shape, in)) {
      return AlignmentKlSm90(shape, in, workspace, kl_SM, dx_MSR, dy_TSR,
                             stream);
    }
  }
  auto* lse_SM = static_cast<float*>(workspace);
  Args<T> args = {shape, in, {}, {}};
  for (std::int64_t s = 0; s < shape.S; ++s) {
    args.head[s] = static_cast<std::int16_t>(shape.head_S[s]);
    args.kv_head[s] =
        static_cast<std::int16_t>(shape.kv_head_H[shape.head_S[s]]);
  }
  DispatchWidth(static_cast<int>(shape.C), [&]<int kWidth>() {
    if (shape.R <= 16) {
      Run<kWidth, 16>(args, lse_SM, kl_SM, dx_MSR, dy_TSR, stream);
    } else {
      Run<kWidth, 64>(args, lse_SM, kl_SM, dx_MSR, dy_TSR, stream);
    }
  });
}

using F = float;
template void AlignmentKl(const AlignmentShape&, const AlignmentPointers<F>&,
                          void*, F*, F*, F*, void*);
template void AlignmentKl(const AlignmentShape&,
                          const AlignmentPointers<BFloat16>&, void*, F*, F*, F*,
                          void*);

}  // namespace rtpurbo::kernels::cuda
