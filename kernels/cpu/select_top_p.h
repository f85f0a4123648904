// The selection of kernels/select_top_p.h by sorting, in double: the smallest
// set of blocks that holds a share p of the mass, and nothing more than the
// forced blocks besides. The definition that the histogram is tested against.

#ifndef RTPURBO_KERNELS_CPU_SELECT_TOP_P_H_
#define RTPURBO_KERNELS_CPU_SELECT_TOP_P_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/range_attention.h"
#include "kernels/select_top_p.h"

namespace rtpurbo::kernels::cpu {

// What SelectTopP() computes on, as pointers. document_N and kept_SM may be
// null.
struct SelectArgs {
  std::int64_t M;
  std::int64_t N;
  std::int64_t S;
  std::int64_t R;
  std::int64_t query_begin;
  const float* x_MSR;
  const float* y_NSR;
  const std::int32_t* document_N;
  std::int32_t* mask_SMB;
  std::int32_t* kept_SM;

  std::int64_t position(std::int64_t m) const { return query_begin + m; }
  std::int64_t document(std::int64_t m) const {
    return document_N == nullptr ? 0 : document_N[position(m)];
  }
};

struct ScoredBlock {
  std::int64_t index;
  std::int64_t keys;  // visible ones
  double maximum;
  double log_mass;
  bool forced;
};

// The blocks that row m sees, in order of index.
inline std::vector<ScoredBlock> ScoreBlocks(const Selection& selection,
                                            const SelectArgs& args,
                                            std::int64_t s, std::int64_t m) {
  const std::int64_t i = args.position(m);
  const std::int64_t d = args.document(m);
  const float* x = args.x_MSR + (m * args.S + s) * args.R;
  std::vector<ScoredBlock> blocks;
  for (std::int64_t n = d; n <= i;) {
    ScoredBlock block{n / selection.block, 0, 0, 0, false};
    std::vector<double> scores;
    for (; n <= i && n / selection.block == block.index; ++n) {
      const float* y = args.y_NSR + (n * args.S + s) * args.R;
      double sum = 0;
      for (std::int64_t r = 0; r < args.R; ++r) {
        sum += static_cast<double>(x[r]) * y[r];
      }
      scores.push_back(selection.scale * sum);
      block.forced |= n < d + selection.sinks || i - n <= selection.recent;
    }
    block.keys = static_cast<std::int64_t>(scores.size());
    block.maximum = *std::max_element(scores.begin(), scores.end());
    double mass = 0;
    for (const double score : scores) {
      mass += std::exp(score - block.maximum);
    }
    block.log_mass = block.maximum + std::log(mass);
    blocks.push_back(block);
  }
  return blocks;
}

inline double MassRelativeTo(double top, const ScoredBlock& block) {
  return std::exp(block.log_mass - top);
}

inline double TopLogMass(const std::vector<ScoredBlock>& blocks) {
  double top = -std::numeric_limits<double>::infinity();
  for (const ScoredBlock& block : blocks) {
    top = std::max(top, block.log_mass);
  }
  return top;
}

// The blocks that are kept. Sorts `blocks` by the order in which they are
// taken.
inline std::vector<ScoredBlock> KeepBlocks(const Selection& selection,
                                           std::vector<ScoredBlock>* blocks) {
  const bool by_mass = selection.order == Selection::Order::kMass;
  const bool by_count = selection.rule == Selection::Rule::kTopK;
  const double top = TopLogMass(*blocks);
  double total = 0;
  for (const ScoredBlock& block : *blocks) {
    total += MassRelativeTo(top, block);
  }
  std::stable_sort(blocks->begin(), blocks->end(),
                   [&](const ScoredBlock& a, const ScoredBlock& b) {
                     if (by_count && a.forced != b.forced) {
                       return a.forced;
                     }
                     return by_mass ? a.log_mass > b.log_mass
                                    : a.maximum > b.maximum;
                   });
  std::vector<ScoredBlock> kept;
  double mass = 0;
  std::int64_t keys = 0;
  for (const ScoredBlock& block : *blocks) {
    const bool full =
        by_count ? keys >= selection.top_k
                 : selection.top_p < 1 && mass >= selection.top_p * total;
    if (!full || block.forced) {
      kept.push_back(block);
    }
    mass += MassRelativeTo(top, block);
    keys += block.keys;
  }
  return kept;
}

inline void SelectTopP(const Selection& selection, const SelectArgs& args) {
  const std::int64_t words = MaskWords(args.N, selection.block);
  for (std::int64_t row = 0; row < args.S * args.M; ++row) {
    std::vector<ScoredBlock> blocks =
        ScoreBlocks(selection, args, row / args.M, row % args.M);
    std::int32_t* mask = args.mask_SMB + row * words;
    std::fill(mask, mask + words, 0);
    std::int64_t keys = 0;
    const std::vector<ScoredBlock> kept = KeepBlocks(selection, &blocks);
    for (const ScoredBlock& block : kept) {
      const auto bit = std::uint32_t{1}
                       << static_cast<unsigned>(block.index % 32);
      std::int32_t& word = mask[block.index / 32];
      word = static_cast<std::int32_t>(static_cast<std::uint32_t>(word) | bit);
      keys += block.keys;
    }
    if (args.kept_SM != nullptr) {
      args.kept_SM[row * 2] = static_cast<std::int32_t>(keys);
      args.kept_SM[row * 2 + 1] = static_cast<std::int32_t>(kept.size());
    }
  }
}

}  // namespace rtpurbo::kernels::cpu

#endif  // RTPURBO_KERNELS_CPU_SELECT_TOP_P_H_
