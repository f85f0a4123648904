// Decode attention over a cache, split over positions.
//
// A thread block takes one query row of a head and a piece of the positions
// that the head may see: sinks and window of a local head, all of a dense or
// selecting one (whose mask it reads first: blocks that are not selected are
// not touched). C / 8 lanes hold a key, 8 columns each; every such team keeps
// its own running maximum, sum and output in registers. The teams are merged in
// shared memory, the pieces of a row by the thread block that finishes last, in
// a fixed order.

#include <algorithm>
#include <vector>

#include "kernels/core/check.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/rows.cuh"
#include "kernels/cuda/sparse_decode.h"

namespace rtpurbo::kernels::cuda {
namespace {

constexpr int kOwn = 8;                        // columns of a lane
constexpr std::int64_t kPiece = 512;           // positions
constexpr std::int64_t kSelectedPiece = 2048;  // where a mask leaves few
constexpr std::int64_t kMaxHeads = 256;
constexpr float kNone = -INFINITY;

// A head as the kernel sees it, and where its pieces lie among all pieces.
struct PlannedHead {
  DecodeHead head;
  std::int64_t begin;  // first position of piece 0
  std::int64_t first_piece;
  std::int64_t num_pieces;
  std::int64_t piece;     // positions
  std::int64_t sink_end;  // sinks before `begin`; piece 0 takes them
};

struct Args {
  DecodeShape shape;
  PlannedHead heads[kMaxHeads];
  std::int64_t num_pieces;  // of all heads, for one row
  float* partial;           // [T, pieces, 2 + C]
  int* done;                // [T, H]
};

struct Running {
  float top = kNone;
  float sum = 0;
  float o[kOwn] = {};
  __device__ void Scale(float new_top) {
    const float shrink = top == kNone ? 0.0F : expf(top - new_top);
    sum *= shrink;
#pragma unroll
    for (float& value : o) {
      value *= shrink;
    }
    top = new_top;
  }
};

struct Query {
  std::int64_t t;
  std::int64_t position;
  const std::int32_t* mask;  // of this row, or null
};

__device__ bool Sees(const Args& args, const PlannedHead& plan,
                     const Query& query, std::int64_t n) {
  if (n > query.position) {
    return false;
  }
  if (query.mask != nullptr) {
    const std::int64_t b = n / args.shape.block;
    return (query.mask[b / 32] >> (b % 32) & 1) != 0;
  }
  return query.position - n <= plan.head.window || n < args.shape.sinks;
}

__device__ std::int64_t SlotOf(const Args& args, const DecodeHead& head,
                               std::int64_t n) {
  const std::int64_t sinks = args.shape.ring_sinks;
  return head.ring == 0 || n < sinks
             ? n
             : sinks + (n - sinks) % (head.slots - sinks);
}

// One team visits the positions begin + team, + num_teams, ... below end, four
// at a time: all their loads are issued before the first is used. kAll: every
// one of them is visible.
template <int kLanes, bool kAll, typename T>
__device__ void Visit(const Args& args, const PlannedHead& plan,
                      const Query& query, const float (&q)[kOwn],
                      std::int64_t begin, std::int64_t end, Running* running) {
  constexpr int kTeams = kThreads / kLanes;
  constexpr int kAhead = 4;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const auto* keys = static_cast<const T*>(plan.head.key_NC);
  const auto* values = static_cast<const T*>(plan.head.value_NC);
  for (std::int64_t n0 = begin + threadIdx.x / kLanes;; n0 += kAhead * kTeams) {
    // The lanes of a warp stay together: shuffles follow.
    if (__all_sync(~0U, n0 >= end)) {
      break;
    }
    bool sees[kAhead];
    EightOf<T> key[kAhead];
    EightOf<T> value[kAhead];
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      const std::int64_t n = n0 + a * kTeams;
      sees[a] = n < end && (kAll || Sees(args, plan, query, n));
      if (sees[a]) {
        const std::int64_t at =
            SlotOf(args, plan.head, n) * args.shape.C + lane * kOwn;
        key[a] = *reinterpret_cast<const EightOf<T>*>(keys + at);
        value[a] = *reinterpret_cast<const EightOf<T>*>(values + at);
      }
    }
    float score[kAhead];
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      score[a] = kNone;
      if (sees[a]) {
        float k[kOwn];
        Unpack(key[a], k);
        score[a] = 0;
#pragma unroll
        for (int i = 0; i < kOwn; ++i) {
          score[a] = fmaf(q[i], k[i], score[a]);
        }
      }
    }
    float top = running->top;
#pragma unroll
    for (float& own : score) {
#pragma unroll
      for (int step = kLanes / 2; step > 0; step /= 2) {
        own += __shfl_xor_sync(~0U, own, step);
      }
      own *= args.shape.scale;
      top = fmaxf(top, own);
    }
    if (top == kNone) {
      continue;
    }
    running->Scale(top);
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      if (score[a] != kNone) {
        const float weight = expf(score[a] - top);
        running->sum += weight;
        float v[kOwn];
        Unpack(value[a], v);
#pragma unroll
        for (int i = 0; i < kOwn; ++i) {
          running->o[i] = fmaf(weight, v[i], running->o[i]);
        }
      }
    }
  }
}

// The teams of the block, in order, into partial: maximum, sum, output.
template <int kLanes>
__device__ void MergeTeams(const Running& own, float* partial) {
  constexpr int kTeams = kThreads / kLanes;
  __shared__ float top[kTeams];
  __shared__ float sum[kTeams];
  __shared__ float o[kTeams][kLanes * kOwn + 1];
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const int team = static_cast<int>(threadIdx.x) / kLanes;
  if (lane == 0) {
    top[team] = own.top;
    sum[team] = own.sum;
  }
#pragma unroll
  for (int i = 0; i < kOwn; ++i) {
    o[team][lane * kOwn + i] = own.o[i];
  }
  __syncthreads();
  float high = kNone;
  for (const float value : top) {
    high = fmaxf(high, value);
  }
  for (int c = static_cast<int>(threadIdx.x); c < kLanes * kOwn + 1;
       c += kThreads) {
    float total = 0;
    for (int n = 0; n < kTeams; ++n) {
      const float weight = top[n] == kNone ? 0.0F : expf(top[n] - high);
      total += weight * (c < kLanes * kOwn ? o[n][c] : sum[n]);
    }
    partial[c < kLanes * kOwn ? 2 + c : 1] = total;
  }
  if (threadIdx.x == 0) {
    partial[0] = high;
  }
}

constexpr int kCombined = 1024;  // pieces whose weights are held at once

// exp(own maximum - top) of each piece; returns the row's sum over them.
__device__ float PieceWeights(const float* first, std::int64_t size, int count,
                              float top, float* weight) {
  float sum = 0;
  for (int p = static_cast<int>(threadIdx.x); p < count; p += kThreads) {
    const float own = __ldcg(first + p * size);
    weight[p] = own == kNone ? 0.0F : expf(own - top);
    sum += weight[p] * __ldcg(first + p * size + 1);
  }
  return BlockReduce(sum, Sum{});
}

// All pieces of a row and head. Columns side by side; the threads that share a
// column take every so many pieces each, and are added up in order.
template <typename T>
__device__ void Combine(const Args& args, const PlannedHead& plan,
                        const Query& query, std::int64_t h,
                        T* __restrict__ o_THC, float* __restrict__ lse_HT) {
  __shared__ float weight[kCombined];
  __shared__ float partial[kThreads];
  const int C = static_cast<int>(args.shape.C);
  const int column = static_cast<int>(threadIdx.x) % C;
  const int share = static_cast<int>(threadIdx.x) / C;
  const int shares = kThreads / C;
  const std::int64_t size = 2 + args.shape.C;
  const float* first =
      args.partial + (query.t * args.num_pieces + plan.first_piece) * size;
  float top = kNone;
  for (std::int64_t p = threadIdx.x; p < plan.num_pieces; p += kThreads) {
    top = fmaxf(top, __ldcg(first + p * size));
  }
  top = BlockReduce(top, Max{});
  float sum = 0;
  float o = 0;
  for (std::int64_t begin = 0; begin < plan.num_pieces; begin += kCombined) {
    const float* chunk = first + begin * size;
    const int count =
        static_cast<int>(min(plan.num_pieces - begin, std::int64_t{kCombined}));
    sum += PieceWeights(chunk, size, count, top, weight);
#pragma unroll 8
    for (int p = share; p < count; p += shares) {
      o = fmaf(weight[p], __ldcg(chunk + p * size + 2 + column), o);
    }
    __syncthreads();  // before the next weights
  }
  partial[threadIdx.x] = o;
  __syncthreads();
  if (share == 0) {
    for (int other = 1; other < shares; ++other) {
      o += partial[other * C + column];
    }
    Store(sum > 0 ? o / sum : 0.0F,
          o_THC + (query.t * args.shape.H + h) * C + column);
  }
  if (threadIdx.x == 0) {
    lse_HT[h * args.shape.T + query.t] = sum > 0 ? top + logf(sum) : kNone;
  }
}

template <int kLanes, typename T>
__global__ void DecodeKernel(const __grid_constant__ Args args,
                             const T* __restrict__ q_THC, T* __restrict__ o_THC,
                             float* __restrict__ lse_HT) {
  __shared__ bool is_last;
  const std::int64_t piece = blockIdx.x;
  std::int64_t h = 0;
  while (h + 1 < args.shape.H && args.heads[h + 1].first_piece <= piece) {
    ++h;
  }
  const PlannedHead plan = args.heads[h];
  const std::int64_t t = blockIdx.y;
  const std::int64_t row = t - (args.shape.T - args.shape.selected_rows);
  const Query query = {
      t, args.shape.length - args.shape.T + t,
      plan.head.slot < 0 || row < 0
          ? nullptr
          : args.shape.selected_SMB +
                (plan.head.slot * args.shape.selected_rows + row) *
                    args.shape.words};
  float q[kOwn];
  Unpack(*reinterpret_cast<const EightOf<T>*>(
             q_THC + (t * args.shape.H + h) * args.shape.C +
             threadIdx.x % kLanes * kOwn),
         q);
  const std::int64_t place = piece - plan.first_piece;
  const std::int64_t begin = plan.begin + place * plan.piece;
  const std::int64_t end = min(begin + plan.piece, query.position + 1);
  Running running;
  if (place == 0) {
    Visit<kLanes, false, T>(args, plan, query, q, 0, plan.sink_end, &running);
  }
  if (query.mask == nullptr) {
    Visit<kLanes, false, T>(args, plan, query, q, begin, end, &running);
  } else {
    const std::int64_t block = args.shape.block;
    for (std::int64_t b = begin / block; b * block < end; ++b) {
      if ((query.mask[b / 32] >> (b % 32) & 1) != 0) {
        Visit<kLanes, true, T>(args, plan, query, q, max(begin, b * block),
                               min(end, (b + 1) * block), &running);
      }
    }
  }
  MergeTeams<kLanes>(running, args.partial + (t * args.num_pieces + piece) *
                                                 (2 + args.shape.C));
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    const int before = atomicAdd(&args.done[t * args.shape.H + h], 1);
    is_last = before == static_cast<int>(plan.num_pieces) - 1;
    __threadfence();
  }
  __syncthreads();
  if (is_last) {
    Combine(args, plan, query, h, o_THC, lse_HT);
  }
}

// Pieces begin at the first position that the first new row's window reaches;
// a head with a mask may see all.
std::vector<PlannedHead> Plan(const DecodeShape& shape,
                              const DecodeHead* heads_H) {
  std::vector<PlannedHead> plan;
  std::int64_t pieces = 0;
  const std::int64_t first = shape.length - shape.T;
  for (std::int64_t h = 0; h < shape.H; ++h) {
    const DecodeHead& head = heads_H[h];
    const bool selects = head.slot >= 0 && shape.selected_rows > 0;
    const std::int64_t begin =
        selects ? 0 : std::max<std::int64_t>(0, first - head.window);
    const std::int64_t piece = selects ? kSelectedPiece : kPiece;
    const std::int64_t count = (shape.length - begin + piece - 1) / piece;
    plan.push_back(
        {head, begin, pieces, count, piece, std::min(begin, shape.sinks)});
    pieces += count;
  }
  return plan;
}

struct Sizes {
  std::int64_t done, partial;
};
Sizes SizesOf(const DecodeShape& shape, const std::vector<PlannedHead>& plan) {
  constexpr std::int64_t kAlignment = 256;
  const std::int64_t done = shape.T * shape.H * std::int64_t{sizeof(int)};
  const std::int64_t pieces =
      plan.empty() ? 0 : plan.back().first_piece + plan.back().num_pieces;
  return {(done + kAlignment - 1) / kAlignment * kAlignment,
          shape.T * pieces * (2 + shape.C) * std::int64_t{sizeof(float)}};
}

}  // namespace

std::int64_t DecodeWorkspace(const DecodeShape& shape,
                             const DecodeHead* heads_H) {
  const Sizes sizes = SizesOf(shape, Plan(shape, heads_H));
  return sizes.done + sizes.partial;
}

template <typename T>
void SparseDecode(const DecodeShape& shape, const DecodeHead* heads_H,
                  const T* q_THC, T* o_THC, float* lse_HT, void* workspace,
                  void* stream) {
  if (shape.T == 0 || shape.H == 0) {
    return;
  }
  const std::vector<PlannedHead> plan = Plan(shape, heads_H);
  const Sizes sizes = SizesOf(shape, plan);
  auto* bytes = static_cast<char*>(workspace);
  CHECK(shape.H <= kMaxHeads) << shape.H << " query heads";
  Args args = {};
  args.shape = shape;
  std::copy(plan.begin(), plan.end(), args.heads);
  args.num_pieces = plan.back().first_piece + plan.back().num_pieces;
  args.partial = reinterpret_cast<float*>(bytes + sizes.done);
  args.done = reinterpret_cast<int*>(bytes);
  const auto queue = static_cast<cudaStream_t>(stream);
  CHECK(cudaMemsetAsync(args.done, 0, static_cast<std::size_t>(sizes.done),
                        queue) == cudaSuccess);
  const auto kernel = shape.C == 8     ? DecodeKernel<1, T>
                      : shape.C == 16  ? DecodeKernel<2, T>
                      : shape.C == 32  ? DecodeKernel<4, T>
                      : shape.C == 64  ? DecodeKernel<8, T>
                      : shape.C == 128 ? DecodeKernel<16, T>
                      : shape.C == 256 ? DecodeKernel<32, T>
                                       : nullptr;
  CHECK(kernel != nullptr)
      << "head width " << shape.C
      << ": decoding on CUDA takes a power of two from 8 to 256";
  const dim3 grid(static_cast<unsigned>(args.num_pieces),
                  static_cast<unsigned>(shape.T));
  kernel<<<grid, kThreads, 0, queue>>>(args, q_THC, o_THC, lse_HT);
  CheckLaunch();
}

using B = BFloat16;
template void SparseDecode(const DecodeShape&, const DecodeHead*, const float*,
                           float*, float*, void*, void*);
template void SparseDecode(const DecodeShape&, const DecodeHead*, const B*, B*,
                           float*, void*, void*);

}  // namespace rtpurbo::kernels::cuda
