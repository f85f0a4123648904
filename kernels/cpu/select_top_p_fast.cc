#include "kernels/cpu/select_top_p_fast.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "kernels/core/parallel.h"
#include "kernels/cpu/vector_math.h"

namespace rtpurbo::kernels::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr std::int64_t kTile = 64;        // keys scored at once
constexpr std::int64_t kChunkKeys = 256;  // about; a chunk holds whole blocks
constexpr std::int64_t kRowsOfPiece = 64;
constexpr std::int64_t kScratchFloats = std::int64_t{1} << 22;
constexpr std::size_t kBins = 256;
constexpr float kBinsPerNat = kBins / 20.0F;
constexpr float kFixedPoint = 0x1p40F;

std::int64_t CeilDiv(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

// What is read and written in the first pass, for rows [row_begin, row_end).
struct Group {
  const Selection& selection;
  const SelectArgs& args;
  std::int64_t row_begin;
  std::int64_t row_end;
  std::int64_t num_blocks = 0;
  float* max_SMB = nullptr;  // of the rows of the group
  float* sum_SMB = nullptr;

  std::int64_t offset(std::int64_t s, std::int64_t m) const {
    return (s * (row_end - row_begin) + m - row_begin) * num_blocks;
  }
};

// s[k] = scale sum_r x[r] y[r stride + k]; `keys` is a multiple of kTile.
RTPURBO_VECTOR_CLONES
void ScoreKeys(const float* x_R, const float* y_RN, std::int64_t R,
               std::int64_t stride, std::int64_t keys, float scale,
               float* s_N) {
  for (std::int64_t k = 0; k < keys; k += kTile) {
    float sum[kTile] = {};
    for (std::int64_t r = 0; r < R; ++r) {
      const float* y = y_RN + r * stride + k;
      const float x = x_R[r];
      for (std::int64_t j = 0; j < kTile; ++j) {
        sum[j] += x * y[j];
      }
    }
    for (std::int64_t j = 0; j < kTile; ++j) {
      s_N[k + j] = scale * sum[j];
    }
  }
}

// The maximum of s and the sum of exp(s - maximum); what is -infinity adds
// nothing.
RTPURBO_VECTOR_CLONES
void ReduceBlock(const float* s_N, std::int64_t keys, float* maximum,
                 float* sum) {
  const float m =
      MaxOver(keys, [=](std::int64_t k) RTPURBO_INLINE { return s_N[k]; });
  double l = 0;
  for (std::int64_t k = 0; k < keys; k += kChunkKeys) {
    const float* s = s_N + k;
    l += SumOver(std::min(keys - k, kChunkKeys),
                 [=](std::int64_t j) RTPURBO_INLINE { return Exp(s[j] - m); });
  }
  *maximum = m;
  *sum = static_cast<float>(l);
}

// The same of kTile keys, in half the time: lanes stay in registers.
RTPURBO_VECTOR_CLONES
void ReduceTile(const float* s_N, float* maximum, float* sum) {
  float top[kTile];
  std::copy(s_N, s_N + kTile, top);
  float part[kTile];
  for (std::int64_t width = kTile / 2; width > 0; width /= 2) {
    for (std::int64_t j = 0; j < width; ++j) {
      top[j] = top[j + width] > top[j] ? top[j + width] : top[j];
    }
  }
  const float m = top[0];
  for (std::int64_t j = 0; j < kTile; ++j) {
    part[j] = Exp(s_N[j] - m);
  }
  for (std::int64_t width = kTile / 2; width > 0; width /= 2) {
    for (std::int64_t j = 0; j < width; ++j) {
      part[j] += part[j + width];
    }
  }
  *maximum = m;
  *sum = part[0];
}

// Keys of a chunk, those of all slots transposed in one walk through memory:
// y[s][r][k] = key begin + k, zero from end on.
struct Keys {
  std::int64_t begin;
  std::int64_t end;
  std::int64_t width;  // end - begin in whole tiles
  std::unique_ptr<float[]> y_SRN = nullptr;

  // A cache line more than the width, whose multiples would share few sets.
  std::int64_t stride() const { return width + kLanes; }
};

Keys TransposeKeys(const SelectArgs& args, std::int64_t begin,
                   std::int64_t end) {
  Keys keys{
      .begin = begin, .end = end, .width = CeilDiv(end - begin, kTile) * kTile};
  const std::int64_t columns = args.S * args.R;
  const std::int64_t stride = keys.stride();
  keys.y_SRN = std::make_unique_for_overwrite<float[]>(
      static_cast<std::size_t>(columns * stride));
  const float* from = args.y_NSR + begin * columns;
  for (std::int64_t k = 0; k < end - begin; ++k) {
    for (std::int64_t c = 0; c < columns; ++c) {
      keys.y_SRN[c * stride + k] = from[k * columns + c];
    }
  }
  for (std::int64_t c = 0; c < columns; ++c) {
    std::fill(&keys.y_SRN[c * stride + end - begin],
              &keys.y_SRN[c * stride + stride], 0.0F);
  }
  return keys;
}

// max and sum of blocks of `block` keys from the scores of `keys` of them, in
// which invisible keys are -infinity.
void ReduceBlocks(std::int64_t block, std::int64_t keys, const float* s_N,
                  float* max_B, float* sum_B) {
  if (block == 1) {
    std::copy(s_N, s_N + keys, max_B);
    std::fill(sum_B, sum_B + keys, 1.0F);
    return;
  }
  for (std::int64_t begin = 0; begin < keys; begin += block) {
    if (block == kTile) {  // scores come in whole tiles
      ReduceTile(s_N + begin, max_B++, sum_B++);
      continue;
    }
    ReduceBlock(s_N + begin, std::min(block, keys - begin), max_B++, sum_B++);
  }
}

// First pass over the keys from block `first` on, for row m of slot s.
void ScoreRow(const Group& group, const Keys& keys, std::int64_t first,
              std::int64_t s, std::int64_t m, float* s_N) {
  const SelectArgs& args = group.args;
  const std::int64_t visible_begin = std::max(keys.begin, args.document(m));
  const std::int64_t visible_end = std::min(keys.end, args.position(m) + 1);
  if (visible_begin >= visible_end) {
    return;
  }
  ScoreKeys(args.x_MSR + (m * args.S + s) * args.R,
            keys.y_SRN.get() + s * args.R * keys.stride(), args.R,
            keys.stride(), keys.width, group.selection.scale, s_N);
  std::fill(s_N, s_N + visible_begin - keys.begin, -kInfinity);
  std::fill(s_N + visible_end - keys.begin, s_N + keys.width, -kInfinity);
  const std::int64_t offset = group.offset(s, m) + first;
  ReduceBlocks(group.selection.block, keys.end - keys.begin, s_N,
               group.max_SMB + offset, group.sum_SMB + offset);
}

// First pass over the blocks [first, last), for rows [row_begin, row_end).
void ScoreChunk(const Group& group, std::int64_t first, std::int64_t last,
                std::int64_t row_begin, std::int64_t row_end) {
  const SelectArgs& args = group.args;
  const std::int64_t block = group.selection.block;
  const std::int64_t end =
      std::min(last * block, args.position(row_end - 1) + 1);
  if (first * block >= end) {
    return;
  }
  const Keys keys = TransposeKeys(args, first * block, end);
  std::vector<float> s_N(static_cast<std::size_t>(keys.width));
  for (std::int64_t s = 0; s < args.S; ++s) {
    for (std::int64_t m = row_begin; m < row_end; ++m) {
      ScoreRow(group, keys, first, s, m, s_N.data());
    }
  }
}

// weight[b] = sum[b] exp(max[b] - the highest max) in units of 2^-40. What is
// not a number weighs nothing.
RTPURBO_VECTOR_CLONES
void WeighBlocks(const float* max_B, const float* sum_B,
                 std::int64_t num_blocks, std::uint64_t* weight_B) {
  const float top = MaxOver(
      num_blocks, [=](std::int64_t b) RTPURBO_INLINE { return max_B[b]; });
  for (std::int64_t b = 0; b < num_blocks; ++b) {
    const float weight = Exp(max_B[b] - top) * sum_B[b] * kFixedPoint;
    weight_B[b] = weight > 0 ? static_cast<std::uint64_t>(weight) : 0;
  }
}

using Bins = std::array<std::uint64_t, kBins>;

// How many bins from the top reach `top_p` of `total`.
std::size_t BinsToKeep(const Bins& weight, std::uint64_t total, double top_p) {
  if (top_p >= 1) {
    return kBins;
  }
  const auto enough =
      static_cast<std::uint64_t>(std::ceil(top_p * static_cast<double>(total)));
  std::uint64_t sum = 0;
  std::size_t bins = 0;
  while (bins < kBins && sum < enough) {
    sum += weight[bins++];
  }
  return bins;
}

// The blocks [first, last] that a row sees, and the bits that it sets.
class Row {
 public:
  Row(const Group& group, std::int64_t s, std::int64_t m)
      : selection_(group.selection),
        position_(group.args.position(m)),
        document_(group.args.document(m)),
        first_(document_ / selection_.block),
        last_(position_ / selection_.block),
        max_(group.max_SMB + group.offset(s, m) + first_),
        sum_(group.sum_SMB + group.offset(s, m) + first_),
        mask_(group.args.mask_SMB +
              (s * group.args.M + m) *
                  MaskWords(group.args.N, selection_.block)) {
    std::fill_n(mask_, MaskWords(group.args.N, selection_.block), 0);
  }

  void Select() {
    OrderBlocks();
    if (selection_.rule == Selection::Rule::kTopP) {
      KeepTopP();
      KeepForced();
    } else {
      KeepForced();
      KeepTopK();
    }
  }
  std::int64_t kept_keys() const { return kept_keys_; }
  std::int64_t kept_blocks() const { return kept_blocks_; }

 private:
  std::size_t size() const {
    return static_cast<std::size_t>(last_ - first_ + 1);
  }
  std::int64_t VisibleEnd(std::int64_t b) const {
    return std::min((b + 1) * selection_.block, position_ + 1);
  }
  std::int64_t VisibleBegin(std::int64_t b) const {
    return std::max(b * selection_.block, document_);
  }
  std::int64_t VisibleKeys(std::int64_t b) const {
    return VisibleEnd(b) - VisibleBegin(b);
  }
  bool IsForced(std::int64_t b) const {
    return VisibleBegin(b) < document_ + selection_.sinks ||
           position_ - VisibleEnd(b) + 1 <= selection_.recent;
  }
  void Keep(std::int64_t b);
  void OrderBlocks();
  void KeepTopP();
  void KeepTopK();
  void KeepForced();

  const Selection& selection_;
  std::int64_t position_;
  std::int64_t document_;
  std::int64_t first_;
  std::int64_t last_;
  const float* max_;
  const float* sum_;
  std::int32_t* mask_;
  std::int64_t kept_keys_ = 0;
  std::int64_t kept_blocks_ = 0;
  // From block first_ on: mass over exp(highest score), in fixed point, and
  // what blocks are ordered by.
  std::vector<std::uint64_t> weight_;
  std::vector<double> order_;
};

void Row::Keep(std::int64_t b) {
  const auto bit = std::uint32_t{1} << static_cast<unsigned>(b % 32);
  const auto word = static_cast<std::uint32_t>(mask_[b / 32]);
  if ((word & bit) == 0) {
    mask_[b / 32] = static_cast<std::int32_t>(word | bit);
    kept_keys_ += VisibleKeys(b);
    ++kept_blocks_;
  }
}

void Row::OrderBlocks() {
  const bool by_mass =
      selection_.order == Selection::Order::kMass && selection_.block > 1;
  order_.resize(size());
  for (std::size_t b = 0; b < size(); ++b) {
    const double order =
        by_mass ? max_[b] + std::log(static_cast<double>(sum_[b])) : max_[b];
    order_[b] = std::isnan(order) ? -kInfinity : order;
  }
}

// Adds the weight of each bin's blocks up, then takes bins from the top.
void Row::KeepTopP() {
  weight_.resize(size());
  WeighBlocks(max_, sum_, last_ - first_ + 1, weight_.data());
  const double top = *std::max_element(order_.begin(), order_.end());
  std::vector<std::uint8_t> bin_B(size());
  Bins weight_of_bin{};
  std::uint64_t total = 0;
  for (std::size_t b = 0; b < size(); ++b) {
    const double bin = (top - order_[b]) * kBinsPerNat;
    bin_B[b] = static_cast<std::uint8_t>(bin < kBins - 1 ? bin : kBins - 1);
    weight_of_bin[bin_B[b]] += weight_[b];
    total += weight_[b];
  }
  const std::size_t bins = BinsToKeep(weight_of_bin, total, selection_.top_p);
  for (std::size_t b = 0; b < size(); ++b) {
    if (bin_B[b] < bins) {
      Keep(first_ + static_cast<std::int64_t>(b));
    }
  }
}

// Of the blocks that are not forced only the document's first may show fewer
// keys than the others: one block more than the quotient is enough.
void Row::KeepTopK() {
  const std::int64_t missing =
      std::min(selection_.top_k, position_ + 1) - kept_keys_;
  if (missing <= 0) {
    return;
  }
  std::vector<std::int64_t> rest;
  for (std::int64_t b = first_; b <= last_; ++b) {
    if (!IsForced(b)) {
      rest.push_back(b);
    }
  }
  const auto count = std::min(CeilDiv(missing, selection_.block) + 1,
                              static_cast<std::int64_t>(rest.size()));
  const auto before = [this](std::int64_t a, std::int64_t b) {
    const double order_a = order_[static_cast<std::size_t>(a - first_)];
    const double order_b = order_[static_cast<std::size_t>(b - first_)];
    return order_a != order_b ? order_a > order_b : a < b;
  };
  std::nth_element(rest.begin(), rest.begin() + count, rest.end(), before);
  std::sort(rest.begin(), rest.begin() + count, before);
  for (std::int64_t c = 0; c < count && kept_keys_ < selection_.top_k; ++c) {
    Keep(rest[static_cast<std::size_t>(c)]);
  }
}

void Row::KeepForced() {
  for (std::int64_t b = first_; b <= last_; ++b) {
    if (IsForced(b)) {
      Keep(b);
    }
  }
}

// Second pass, for row m of slot s.
void SelectRow(const Group& group, std::int64_t s, std::int64_t m) {
  Row row(group, s, m);
  row.Select();
  if (group.args.kept_SM != nullptr) {
    std::int32_t* kept = group.args.kept_SM + (s * group.args.M + m) * 2;
    kept[0] = static_cast<std::int32_t>(row.kept_keys());
    kept[1] = static_cast<std::int32_t>(row.kept_blocks());
  }
}

void SelectGroup(const Group& group) {
  const std::int64_t block = group.selection.block;
  const std::int64_t first = group.args.document(group.row_begin) / block;
  const std::int64_t per_chunk = std::max<std::int64_t>(1, kChunkKeys / block);
  const std::int64_t chunks = CeilDiv(group.num_blocks - first, per_chunk);
  const std::int64_t parts =
      CeilDiv(group.row_end - group.row_begin, kRowsOfPiece);
  ParallelFor(chunks * parts, 1, [&](std::int64_t i, std::int64_t end) {
    for (; i < end; ++i) {
      const std::int64_t begin = first + i % chunks * per_chunk;
      const std::int64_t row = group.row_begin + i / chunks * kRowsOfPiece;
      ScoreChunk(group, begin, std::min(begin + per_chunk, group.num_blocks),
                 row, std::min(row + kRowsOfPiece, group.row_end));
    }
  });
  const std::int64_t rows = group.row_end - group.row_begin;
  ParallelFor(group.args.S * rows, 1, [&](std::int64_t i, std::int64_t end) {
    for (; i < end; ++i) {
      SelectRow(group, i / rows, group.row_begin + i % rows);
    }
  });
}

std::int64_t GroupRows(const Selection& selection, const SelectArgs& args) {
  const std::int64_t row = args.S * CeilDiv(args.N, selection.block) * 2;
  return std::clamp(kScratchFloats / std::max<std::int64_t>(row, 1),
                    std::int64_t{1}, std::max<std::int64_t>(args.M, 1));
}

}  // namespace

std::int64_t SelectScratchSize(const Selection& selection,
                               const SelectArgs& args) {
  return GroupRows(selection, args) * args.S *
         CeilDiv(args.N, selection.block) * 2;
}

void SelectTopPFast(const Selection& selection, const SelectArgs& args,
                    float* scratch) {
  const std::int64_t rows = GroupRows(selection, args);
  for (std::int64_t begin = 0; begin < args.M; begin += rows) {
    Group group{.selection = selection,
                .args = args,
                .row_begin = begin,
                .row_end = std::min(begin + rows, args.M)};
    group.num_blocks = args.position(group.row_end - 1) / selection.block + 1;
    group.max_SMB = scratch;
    group.sum_SMB = scratch + args.S * rows * group.num_blocks;
    SelectGroup(group);
  }
}

}  // namespace rtpurbo::kernels::cpu
