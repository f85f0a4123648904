// The histogram against sorting, and sorting against every subset.

#include "kernels/select_top_p.h"

#include "kernels/core/parallel.h"
#include "tests/kernels/select_top_p_cases.h"

namespace rtpurbo::testing {
namespace {

// Of all subsets of at most 31 blocks that hold mass p.
std::size_t FewestBlocks(const std::vector<ScoredBlock>& blocks, double p) {
  std::size_t fewest = blocks.size();
  for (unsigned subset = 0; subset < 1U << blocks.size(); ++subset) {
    std::set<std::int64_t> among;
    for (std::size_t b = 0; b < blocks.size(); ++b) {
      if (((subset >> b) & 1U) != 0) {
        among.insert(blocks[b].index);
      }
    }
    if (Mass(blocks, among) >= p) {
      fewest = std::min(fewest, among.size());
    }
  }
  return fewest;
}

TEST(SelectTopPTest, SortingFindsTheFewestBlocksOfAllSubsets) {
  for (const unsigned seed : {1U, 2U, 3U, 4U}) {
    const Problem problem = WithScores(Normal(11, seed));
    for (const double p : {0.1, 0.5, 0.9, 0.99}) {
      const Selection selection{.top_p = p, .block = 1, .recent = 0};
      Result result = Poisoned(selection, problem);
      const auto blocks =
          kernels::cpu::ScoreBlocks(selection, Args(problem, &result), 0, 0);
      EXPECT_EQ(Minimum(selection, blocks, p).size(), FewestBlocks(blocks, p));
    }
  }
}

void ExpectTheDefinitionOfAnyShare(Selection selection,
                                   const Problem& problem) {
  for (const double p : {0.0, 1e-300, 0.5, 0.9, 0.999, 1.0}) {
    SCOPED_TRACE(::testing::Message() << "block " << selection.block << ", N "
                                      << problem.N << ", p " << p);
    selection.top_p = p;
    ExpectTheDefinition(selection, problem);
  }
}

TEST(SelectTopPTest, KeepsTheMassAndNoMoreThanABinBesides) {
  for (const std::int64_t block : {1, 7, 16, 48, 64, 100, 4096}) {
    for (const std::int64_t N : {1, 2, 63, 64, 65, 129, 700}) {
      const Problem problem =
          RandomProblem(std::min<std::int64_t>(N, 9), N, 2, 8, 3);
      ExpectTheDefinitionOfAnyShare({.block = block}, problem);
      ExpectTheDefinitionOfAnyShare(
          {.order = Selection::Order::kMaximum, .block = block}, problem);
    }
  }
}

TEST(SelectTopPTest, ManyRowsAndWideProjections) {
  ExpectTheDefinition({.scale = 0.125}, RandomProblem(70, 3000, 3, 16, 30));
  ExpectTheDefinition({.block = 1}, RandomProblem(3, 20000, 1, 5, 4));
  ExpectTheDefinition({.top_p = 0.99999, .block = 1},
                      RandomProblem(1, 20000, 1, 8, 10));
}

TEST(SelectTopPTest, TokensFurtherApartThanABinAreThoseOfSorting) {
  std::vector<float> scores(200);
  for (std::size_t i = 0; i < scores.size(); ++i) {
    scores[i * 77 % 200] = -0.1F * static_cast<float>(i);
  }
  for (const double p : {0.05, 0.3, 0.9, 0.999, 1.0}) {
    const Selection selection{.top_p = p, .block = 1, .sinks = 2, .recent = 3};
    const Problem problem = WithScores(scores);
    EXPECT_EQ(Select(selection, problem), SelectBySorting(selection, problem));
  }
}

TEST(SelectTopPTest, EqualScoresAreAllKept) {
  const Problem problem = WithScores(std::vector<float>(640, 3));
  EXPECT_EQ(Select({}, problem).kept_SM, (std::vector<std::int32_t>{640, 10}));
}

TEST(SelectTopPTest, ADominatingKeyLeavesItsBlockAndTheForcedOnes) {
  std::vector<float> scores(1000, 0);
  scores[300] = 50;
  const Problem problem = WithScores(scores);
  EXPECT_EQ(Kept({}, problem, Select({}, problem)),
            (std::set<std::int64_t>{0, 4, 14, 15}));
}

TEST(SelectTopPTest, AKeyCountsWhereverItLiesInItsBlock) {
  for (const std::int64_t block : {1, 7, 64, 100, 512}) {
    for (std::size_t n = 1024; n < 1536; ++n) {
      std::vector<float> scores(2500, 0);
      scores[n] = 50;
      const Problem problem = WithScores(scores);
      const Selection selection{.block = block};
      ASSERT_EQ(Kept(selection, problem, Select(selection, problem))
                    .count(static_cast<std::int64_t>(n) / block),
                1)
          << "block " << block << ", key " << n;
    }
  }
}

TEST(SelectTopPTest, AShareOfOneKeepsWhatWeighsNothing) {
  std::vector<float> scores(640, -1e4F);
  scores[300] = 1e4F;
  const Problem problem = WithScores(scores);
  EXPECT_EQ(Select({.top_p = 1}, problem).kept_SM[1], 10);
}

TEST(SelectTopPTest, ForcedBlocksNeitherStopTheScanNorLeaveTheTotal) {
  std::vector<float> scores(640, -30);
  scores[0] = 5;    // forced, most of the mass
  scores[200] = 3;  // block 3
  scores[300] = 1;  // block 4
  const Problem problem = WithScores(scores);
  const auto kept = [&](double p) {
    return Kept({.top_p = p}, problem, Select({.top_p = p}, problem));
  };
  // Shares of the mass: 0.867, 0.117, 0.016.
  EXPECT_EQ(kept(0.8), (std::set<std::int64_t>{0, 8, 9}));
  EXPECT_EQ(kept(0.9), (std::set<std::int64_t>{0, 3, 8, 9}));
  EXPECT_EQ(kept(0.99), (std::set<std::int64_t>{0, 3, 4, 8, 9}));
}

TEST(SelectTopPTest, ForcedKeysAreTheSinksAndTheRecentOnes) {
  std::vector<float> scores(640, 0);
  scores[320] = 60;
  Problem problem = WithScores(scores);
  const Selection tokens{.block = 1, .sinks = 2, .recent = 3};
  EXPECT_EQ(Kept(tokens, problem, Select(tokens, problem)),
            (std::set<std::int64_t>{0, 1, 320, 636, 637, 638, 639}));
  problem.document_N.assign(640, 130);  // the last row's document
  std::fill_n(problem.document_N.begin(), 130, 0);
  const Selection blocks{.sinks = 63, .recent = 64};
  EXPECT_EQ(Kept(blocks, problem, Select(blocks, problem)),
            (std::set<std::int64_t>{2, 3, 5, 8, 9}));
}

TEST(SelectTopPTest, HugeScoresKeepTheirMass) {
  std::vector<float> scores(500, -1e4F);
  for (const std::size_t i : {70, 150, 230, 310}) {
    scores[i] = 1e4F;
  }
  scores[390] = 9999;  // e^-1 of one of the four
  const Problem problem = WithScores(scores);
  for (const std::int64_t block : {1, 64}) {
    for (const double p : {0.5, 0.9, 0.95, 1.0}) {
      ExpectTheDefinition({.top_p = p, .block = block}, problem);
    }
  }
  EXPECT_EQ(
      Kept({.top_p = 0.95}, problem, Select({.top_p = 0.95}, problem)).count(6),
      1);
}

TEST(SelectTopPTest, OrderByMaximumTakesTheHighestKeyFirst) {
  std::vector<float> scores(640, -20);
  std::fill_n(scores.begin() + 128, 64, 1);  // block 2: mass e^5.2
  scores[300] = 2;                           // block 4: mass e^2
  const Problem problem = WithScores(scores);
  Selection selection{.top_p = 0.5};
  EXPECT_EQ(Kept(selection, problem, Select(selection, problem)).count(4), 0);
  selection.order = Selection::Order::kMaximum;
  const auto kept = Kept(selection, problem, Select(selection, problem));
  EXPECT_EQ(kept.count(4), 1);
  EXPECT_EQ(kept.count(2), 1);
}

TEST(SelectTopPTest, TopKKeepsExactlyKKeysForcedOnesAmongThem) {
  const Problem random = RandomProblem(5, 333, 2, 4, 3);
  Problem equal = WithScores(std::vector<float>(333, 1));
  for (const std::int64_t k : {0, 1, 10, 68, 69, 70, 200, 1000}) {
    SCOPED_TRACE(k);
    Selection selection{.rule = Selection::Rule::kTopK, .top_k = k, .block = 1};
    EXPECT_EQ(Select(selection, random), SelectBySorting(selection, random));
    EXPECT_EQ(Select(selection, equal), SelectBySorting(selection, equal));
    EXPECT_EQ(Select(selection, equal).kept_SM[0],
              std::clamp<std::int64_t>(k, 69, 333));
    selection.block = 16;
    selection.recent = 15;
    EXPECT_EQ(Select(selection, random), SelectBySorting(selection, random));
    EXPECT_EQ(Select(selection, equal), SelectBySorting(selection, equal));
    selection.order = Selection::Order::kMaximum;
    EXPECT_EQ(Select(selection, random), SelectBySorting(selection, random));
  }
}

TEST(SelectTopPTest, TopKGoesOnAfterAPartOfABlock) {
  std::vector<float> scores(300, 0);
  scores[63] = 9;   // all that the document has of block 3
  scores[100] = 8;  // block 6
  scores[200] = 7;  // block 12
  Problem problem = WithScores(scores);
  problem.document_N.assign(300, 63);
  const Selection selection{.rule = Selection::Rule::kTopK,
                            .top_k = 12 + 32,
                            .block = 16,
                            .sinks = 0,
                            .recent = 0};
  const Result result = Select(selection, problem);
  EXPECT_EQ(Kept(selection, problem, result),
            (std::set<std::int64_t>{3, 6, 12, 18}));
  EXPECT_EQ(result.kept_SM, (std::vector<std::int32_t>{45, 4}));
}

TEST(SelectTopPTest, RowsOfSeveralDocuments) {
  Problem problem = RandomProblem(90, 300, 2, 8, 3);
  for (std::int32_t n = 0; n < 300; ++n) {
    problem.document_N.push_back(n < 230 ? 0 : n < 233 ? 230 : 233);
  }
  for (const std::int64_t block : {1, 16, 64}) {
    ExpectTheDefinition({.block = block}, problem);
    ExpectTheDefinition({.top_p = 0.1, .block = block, .sinks = 0, .recent = 0},
                        problem);
  }
}

TEST(SelectTopPTest, OtherDocumentsAndLaterKeysDoNotTouchARow) {
  Problem problem = RandomProblem(20, 300, 2, 8, 3);
  problem.document_N.assign(300, 70);
  std::fill_n(problem.document_N.begin(), 70, 0);
  problem.query_begin = 255;
  for (const std::int64_t block : {1, 16, 64}) {
    for (const auto rule : {Selection::Rule::kTopP, Selection::Rule::kTopK}) {
      const Selection selection{.rule = rule, .top_k = 90, .block = block};
      const Result clean = Select(selection, problem);
      Problem spoilt = problem;
      std::fill_n(spoilt.y_NSR.begin(), 70 * 16, kNan);
      std::fill_n(spoilt.y_NSR.end() - 400, 400, kNan);
      EXPECT_EQ(Select(selection, spoilt), clean);
      ExpectTheDefinition({.block = block}, problem);
    }
  }
}

// Selects for row m of `all` by itself, with no key after it.
void ExpectTheSameAlone(const Selection& selection, const Problem& all,
                        const Result& together, std::int64_t m) {
  const std::int64_t width = all.S * all.R;
  Problem one = all;
  one.M = 1;
  one.query_begin = all.query_begin + m;
  one.x_MSR.assign(all.x_MSR.begin() + m * width,
                   all.x_MSR.begin() + (m + 1) * width);
  std::fill(one.y_NSR.begin() + (one.query_begin + 1) * width, one.y_NSR.end(),
            kNan);
  const Result alone = Select(selection, one);
  for (std::int64_t s = 0; s < all.S; ++s) {
    EXPECT_EQ(Kept(selection, one, alone, s),
              Kept(selection, all, together, s, m));
  }
}

TEST(SelectTopPTest, ARowDoesNotDependOnTheRowsBesideIt) {
  const Problem all = RandomProblem(40, 500, 2, 16, 3);
  for (const std::int64_t block : {1, 48, 64}) {
    const Result together = Select({.block = block}, all);
    for (std::int64_t m = 0; m < all.M; ++m) {
      ExpectTheSameAlone({.block = block}, all, together, m);
    }
  }
}

TEST(SelectTopPTest, RowsThatNeedMoreScratchThanThereIsComeInGroups) {
  const Problem all = RandomProblem(150, 20000, 1, 2, 3);
  const Selection selection{.block = 1};
  const Result together = Select(selection, all);
  for (const std::int64_t m : {0, 103, 104, 105, 149}) {
    ExpectTheSameAlone(selection, all, together, m);
  }
}

TEST(SelectTopPTest, TheOrderOfBlocksDoesNotMatter) {
  constexpr std::int64_t kBlocks = 40;
  constexpr std::int64_t kTurn = 17 * std::int64_t{64};
  std::vector<float> scores = Normal(kBlocks * 64, 5);
  const Selection selection{.top_p = 0.6, .sinks = 0, .recent = 0};
  const Problem problem = WithScores(scores);
  std::vector<float> turned(scores);  // all but the last block, which is forced
  std::rotate_copy(scores.begin(), scores.begin() + kTurn, scores.end() - 64,
                   turned.begin());
  const Problem other = WithScores(turned);
  std::set<std::int64_t> expected;
  for (const std::int64_t b :
       Kept(selection, problem, Select(selection, problem))) {
    expected.insert(b == 39 ? b : (b + 39 - 17) % 39);
  }
  EXPECT_LT(expected.size(), kBlocks - 5);
  EXPECT_EQ(Kept(selection, other, Select(selection, other)), expected);
}

TEST(SelectTopPTest, AnyNumberOfThreadsGivesTheSameBits) {
  const int threads = NumThreads();
  for (const std::int64_t block : {1, 64}) {
    const Problem problem = RandomProblem(33, 2000, 3, 16, 3);
    SetNumThreads(1);
    const Result one = Select({.block = block}, problem);
    for (const int n : {1, 2, 3}) {
      SetNumThreads(n);
      EXPECT_EQ(Select({.block = block}, problem), one);
    }
  }
  SetNumThreads(threads);
}

TEST(SelectTopPTest, ScoresThatAreNotNumbersEndInForcedBlocksNotInACrash) {
  for (const float value : {kNan, std::numeric_limits<float>::infinity()}) {
    const Problem problem = WithScores(std::vector<float>(400, value));
    for (const auto rule : {Selection::Rule::kTopP, Selection::Rule::kTopK}) {
      const Selection selection{.rule = rule, .top_k = 100};
      const auto kept = Kept(selection, problem, Select(selection, problem));
      for (const std::int64_t forced : {0, 5, 6}) {
        EXPECT_EQ(kept.count(forced), 1);
      }
    }
  }
}

TEST(SelectTopPTest, NoRowsAndNoSlotsAreNothingToDo) {
  EXPECT_TRUE(Select({}, RandomProblem(0, 10, 2, 8, 1)).mask_SMB.empty());
  EXPECT_TRUE(Select({}, RandomProblem(3, 10, 0, 8, 1)).mask_SMB.empty());
}

}  // namespace
}  // namespace rtpurbo::testing
