// Packs what alignment KL reads on Hopper.

#include <algorithm>
#include <limits>

#include "kernels/cuda/alignment_kl_sm90.cuh"
#include "kernels/cuda/launch.cuh"

namespace rtpurbo::kernels::cuda {
namespace {

constexpr std::int32_t kBehindAll = std::numeric_limits<std::int32_t>::max();

__device__ int Document(const std::int32_t* document_N, int position) {
  return document_N == nullptr ? 0 : document_N[position];
}

// The first row at `position` or behind it.
__device__ int FirstRowFrom(const std::int32_t* row_M, int M, int position) {
  int low = 0;
  int high = M;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (row_M[middle] < position) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

__device__ void PutHalves(float value, int column, BFloat16* row) {
  const __nv_bfloat16 high = __float2bfloat16_rn(value);
  auto* to = reinterpret_cast<__nv_bfloat16*>(row);
  to[column] = high;
  to[column + kHalves / 2] =
      __float2bfloat16_rn(value - __bfloat162float(high));
}

// Columns of halves, 16 a row; those from R on are zeros.
template <typename Exists>
void PackHalves(const float* x, std::int64_t rows, int R, BFloat16* packed,
                void* stream, Exists exists) {
  constexpr int kColumns = kHalves / 2;
  ForEach(rows * kColumns, stream, [=] __device__(std::int64_t i) {
    const std::int64_t row = i / kColumns;
    const int column = static_cast<int>(i % kColumns);
    const bool is = column < R && exists(row);
    PutHalves(is ? x[row * R + column] : 0.0F, column, packed + row * kHalves);
  });
}

void PackRowFacts(const AlignmentShape& shape, const AlignmentHeads& heads,
                  const AlignmentPointers<BFloat16>& in,
                  const PackedAlignment& packed, void* stream) {
  const std::int64_t rows = std::int64_t{packed.row_tiles} * kTile;
  ForEach(shape.S * rows, stream,
          [=, s = shape, h = heads, p = packed] __device__(std::int64_t i) {
            const std::int64_t slot = i / rows;
            const std::int64_t m = i % rows;
            AlignmentRows& tile = p.rows[i / kTile];
            const int at = static_cast<int>(i % kTile);
            const bool exists = m < s.M;
            const int position = exists ? in.row_M[m] : -1;
            tile.position[at] = position;
            tile.document[at] =
                exists ? Document(s.document_N, position) : kBehindAll;
            tile.full[at] = exists ? in.lse_HT[h.head[slot] * s.queries +
                                               position - s.query_begin] *
                                         kLog2E
                                   : 0;
            tile.proj[at] = 0;
          });
}

void PackSpans(const AlignmentShape& shape, const std::int32_t* row_M,
               const PackedAlignment& packed, void* stream) {
  ForEach(packed.row_tiles, stream,
          [=, s = shape, p = packed] __device__(std::int64_t i) {
            const int last =
                min(static_cast<int>(i + 1) * kTile, static_cast<int>(s.M)) - 1;
            p.keys[i] = {Document(s.document_N, row_M[i * kTile]) / kTile,
                         row_M[last] / kTile + 1};
          });
  ForEach(packed.key_tiles, stream,
          [=, s = shape, p = packed] __device__(std::int64_t i) {
            const int M = static_cast<int>(s.M);
            const int begin =
                FirstRowFrom(row_M, M, static_cast<int>(i) * kTile);
            // Documents rise with the rows: those of rows that see a key begin
            // before the tile's end.
            int end = M;
            for (int low = begin; low < end;) {
              const int middle = (low + end) / 2;
              if (Document(s.document_N, row_M[middle]) < (i + 1) * kTile) {
                low = middle + 1;
              } else {
                end = middle;
              }
            }
            p.seeing[i] = begin < end
                              ? TileSpan{begin / kTile, (end - 1) / kTile + 1}
                              : TileSpan{0, 0};
          });
}

}  // namespace

PackedAlignment PlacePacked(const AlignmentShape& shape, void* workspace,
                            std::int64_t* num_bytes) {
  constexpr std::int64_t kAlignment = 256;
  std::int64_t used = 0;
  const auto place = [&]<typename T>(T** to, std::int64_t count) {
    *to = reinterpret_cast<T*>(static_cast<char*>(workspace) + used);
    const std::int64_t bytes = count * static_cast<std::int64_t>(sizeof(T));
    used += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  };
  PackedAlignment packed = {};
  packed.row_tiles = static_cast<int>((shape.M + kTile - 1) / kTile);
  packed.key_tiles = static_cast<int>((shape.T + kTile - 1) / kTile);
  place(&packed.q_MSC, shape.M * shape.S * shape.C);
  place(&packed.x_MSX, shape.M * shape.S * kHalves);
  place(&packed.y_TSX, shape.T * shape.S * kHalves);
  place(&packed.rows, shape.S * packed.row_tiles);
  place(&packed.keys, packed.row_tiles);
  place(&packed.seeing, packed.key_tiles);
  *num_bytes = used;
  return packed;
}

void PackAlignment(const AlignmentShape& shape, const AlignmentHeads& heads,
                   const AlignmentPointers<BFloat16>& in,
                   const PackedAlignment& packed, cudaStream_t stream) {
  const int R = static_cast<int>(shape.R);
  const int S = static_cast<int>(shape.S);
  const int M = static_cast<int>(shape.M);
  // Eight columns of q at a time.
  const std::int64_t pieces = shape.C / 8;
  ForEach(shape.M * shape.S * pieces, stream,
          [=, s = shape, h = heads, p = packed] __device__(std::int64_t i) {
            const std::int64_t row = i / pieces;  // m S + slot
            const std::int64_t from =
                ((in.row_M[row / S] - s.query_begin) * s.H + h.head[row % S]) *
                    pieces +
                i % pieces;
            reinterpret_cast<uint4*>(p.q_MSC)[i] =
                reinterpret_cast<const uint4*>(in.q_THC)[from];
          });
  PackHalves(in.x_MSR, shape.M * S, R, packed.x_MSX, stream,
             [] __device__(std::int64_t /*row*/) { return true; });
  const std::int32_t* row_M = in.row_M;
  const std::int32_t* document_N = shape.document_N;
  PackHalves(in.y_TSR, shape.T * S, R, packed.y_TSX, stream,
             [=] __device__(std::int64_t row) {
               const int key = static_cast<int>(row / S);
               const int first = FirstRowFrom(row_M, M, key);
               return first < M && Document(document_N, row_M[first]) <= key;
             });
  PackRowFacts(shape, heads, in, packed, stream);
  PackSpans(shape, in.row_M, packed, stream);
}

}  // namespace rtpurbo::kernels::cuda
