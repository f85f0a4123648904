// Rows to select blocks for, and what is asked of every selection.

#ifndef RTPURBO_TESTS_KERNELS_SELECT_TOP_P_CASES_H_
#define RTPURBO_TESTS_KERNELS_SELECT_TOP_P_CASES_H_

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "kernels/cpu/select_top_p.h"
#include "kernels/range_attention.h"
#include "kernels/select_top_p.h"
#include "tests/device_test.h"

namespace rtpurbo::testing {

using kernels::Selection;
using kernels::cpu::ScoredBlock;
using kernels::cpu::SelectArgs;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr double kSlack = 1e-5;
constexpr double kBinWidth = 20.0 / 256 + 1e-4;

struct Problem {
  std::int64_t M = 1;
  std::int64_t N = 1;
  std::int64_t S = 1;
  std::int64_t R = 1;
  std::int64_t query_begin = 0;
  std::vector<float> x_MSR = {};
  std::vector<float> y_NSR = {};
  std::vector<std::int32_t> document_N = {};
};

struct Result {
  std::vector<std::int32_t> mask_SMB;
  std::vector<std::int32_t> kept_SM;

  bool operator==(const Result&) const = default;
};

// The last M of N positions, with scores of about `deviation`.
inline Problem RandomProblem(std::int64_t M, std::int64_t N, std::int64_t S,
                             std::int64_t R, float deviation) {
  Problem problem{.M = M, .N = N, .S = S, .R = R, .query_begin = N - M};
  problem.x_MSR = Normal(M * S * R, 1);
  problem.y_NSR = Normal(N * S * R, 2);
  for (float& y : problem.y_NSR) {
    y *= deviation / std::sqrt(static_cast<float>(R));
  }
  return problem;
}

// One row at the end that scores each key as told.
inline Problem WithScores(const std::vector<float>& score_N) {
  const auto N = static_cast<std::int64_t>(score_N.size());
  Problem problem{.N = N, .query_begin = N - 1};
  problem.x_MSR = {1};
  problem.y_NSR = score_N;
  return problem;
}

inline SelectArgs Args(const Problem& problem, Result* result) {
  return {.M = problem.M,
          .N = problem.N,
          .S = problem.S,
          .R = problem.R,
          .query_begin = problem.query_begin,
          .x_MSR = problem.x_MSR.data(),
          .y_NSR = problem.y_NSR.data(),
          .document_N =
              problem.document_N.empty() ? nullptr : problem.document_N.data(),
          .mask_SMB = result->mask_SMB.data(),
          .kept_SM = result->kept_SM.data()};
}

inline Result Poisoned(const Selection& selection, const Problem& problem) {
  const auto rows = static_cast<std::size_t>(problem.S * problem.M);
  const auto words =
      static_cast<std::size_t>(kernels::MaskWords(problem.N, selection.block));
  return {std::vector<std::int32_t>(rows * words, -1),
          std::vector<std::int32_t>(rows * 2, -1)};
}

inline Result SelectOn(const ExecContext& ctx, const Selection& selection,
                       const Problem& problem) {
  const Result poisoned = Poisoned(selection, problem);
  const auto& [M, N, S, R, query_begin, x, y, documents] = problem;
  Tensor mask = FromHost(ctx, poisoned.mask_SMB,
                         {S, M, kernels::MaskWords(N, selection.block)});
  Tensor kept = FromHost(ctx, poisoned.kept_SM, {S, M, 2});
  kernels::SelectTopP(
      ctx, selection, FromHost(ctx, x, {M, S, R}), FromHost(ctx, y, {N, S, R}),
      query_begin, documents.empty() ? Tensor() : FromHost(ctx, documents, {N}),
      &mask, &kept);
  return {ToHost<std::int32_t>(ctx, mask), ToHost<std::int32_t>(ctx, kept)};
}

inline Result Select(const Selection& selection, const Problem& problem) {
  const auto device = *Device::Open(DeviceType::kCpu);
  return SelectOn(device->ctx(), selection, problem);
}

inline Result SelectBySorting(const Selection& selection,
                              const Problem& problem) {
  Result result = Poisoned(selection, problem);
  kernels::cpu::SelectTopP(selection, Args(problem, &result));
  return result;
}

// Set bits of row (s, m).
inline std::set<std::int64_t> Kept(const Selection& selection,
                                   const Problem& problem, const Result& result,
                                   std::int64_t s = 0, std::int64_t m = 0) {
  const std::int64_t words = kernels::MaskWords(problem.N, selection.block);
  std::set<std::int64_t> blocks;
  for (std::int64_t b = 0; b < words * 32; ++b) {
    const std::size_t word = (s * problem.M + m) * words + b / 32;
    if ((static_cast<std::uint32_t>(result.mask_SMB[word]) >> (b % 32)) & 1U) {
      blocks.insert(b);
    }
  }
  return blocks;
}

inline double Order(const Selection& selection, const ScoredBlock& block) {
  return selection.order == Selection::Order::kMass ? block.log_mass
                                                    : block.maximum;
}

// What the scan alone keeps at the least, were it to stop at `top_p`.
inline std::vector<ScoredBlock> Minimum(Selection selection,
                                        std::vector<ScoredBlock> blocks,
                                        double top_p) {
  selection.top_p = top_p;
  for (ScoredBlock& block : blocks) {
    block.forced = false;
  }
  return kernels::cpu::KeepBlocks(selection, &blocks);
}

inline double Mass(const std::vector<ScoredBlock>& blocks,
                   const std::set<std::int64_t>& among) {
  const double top = kernels::cpu::TopLogMass(blocks);
  double kept = 0;
  double total = 0;
  for (const ScoredBlock& block : blocks) {
    const double mass = kernels::cpu::MassRelativeTo(top, block);
    total += mass;
    kept += among.count(block.index) != 0 ? mass : 0;
  }
  return kept / total;
}

// Blocks that must be kept are, and what is kept besides lies in the bin where
// the scan stopped.
inline void ExpectMinimal(const Selection& selection,
                          const std::vector<ScoredBlock>& blocks,
                          const std::set<std::int64_t>& kept) {
  double lowest = std::numeric_limits<double>::infinity();
  double highest = -lowest;
  for (const ScoredBlock& block :
       Minimum(selection, blocks, selection.top_p * (1 + kSlack))) {
    lowest = std::min(lowest, Order(selection, block));
  }
  for (const ScoredBlock& block :
       Minimum(selection, blocks, selection.top_p * (1 - kSlack))) {
    EXPECT_EQ(kept.count(block.index), 1) << "block " << block.index;
  }
  for (const ScoredBlock& block : blocks) {
    highest = std::max(highest, Order(selection, block));
  }
  // The last bin has no lower end.
  const double bound = lowest < highest - 19.9
                           ? -std::numeric_limits<double>::infinity()
                           : lowest - kBinWidth;
  for (const ScoredBlock& block : blocks) {
    if (block.forced) {
      EXPECT_EQ(kept.count(block.index), 1) << "forced " << block.index;
    } else if (kept.count(block.index) != 0) {
      EXPECT_GE(Order(selection, block), bound) << "block " << block.index;
    }
  }
}

inline void ExpectTheDefinition(const Selection& selection,
                                const Problem& problem, Result result) {
  const SelectArgs args = Args(problem, &result);
  for (std::int64_t row = 0; row < problem.S * problem.M; ++row) {
    const std::int64_t s = row / problem.M;
    const std::int64_t m = row % problem.M;
    SCOPED_TRACE(row);
    const auto blocks = kernels::cpu::ScoreBlocks(selection, args, s, m);
    const auto kept = Kept(selection, problem, result, s, m);
    EXPECT_GE(Mass(blocks, kept), selection.top_p * (1 - kSlack));
    ExpectMinimal(selection, blocks, kept);
    std::int64_t keys = 0;
    std::size_t seen = 0;
    for (const ScoredBlock& block : blocks) {
      keys += kept.count(block.index) != 0 ? block.keys : 0;
      seen += kept.count(block.index);
    }
    EXPECT_EQ(seen, kept.size()) << "a block that the row does not see";
    EXPECT_EQ(result.kept_SM[row * 2], keys);
    EXPECT_EQ(result.kept_SM[row * 2 + 1], kept.size());
  }
}

inline void ExpectTheDefinition(const Selection& selection,
                                const Problem& problem) {
  ExpectTheDefinition(selection, problem, Select(selection, problem));
}

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_KERNELS_SELECT_TOP_P_CASES_H_
