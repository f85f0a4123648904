// The cut of a sequence over ranks, for all small sizes: every position on one
// rank, every key that a query sees among those that its rank needs, and no
// other.

#include "model/sequence_shard.h"

#include <algorithm>
#include <set>
#include <vector>

#include "autograd/ops/ops.h"
#include "gtest/gtest.h"
#include "model/sequence_attention.h"

namespace rtpurbo::testing {
namespace {

using Positions = std::set<std::int64_t>;

Positions SetOf(const Intervals& intervals) {
  Positions all;
  std::int64_t last = -1;
  for (const Interval& interval : intervals) {
    EXPECT_LT(last, interval.begin);  // also not touching
    EXPECT_LT(interval.begin, interval.end);
    for (std::int64_t i = interval.begin; i < interval.end; ++i) {
      all.insert(i);
    }
    last = interval.end;
  }
  EXPECT_EQ(NumPositions(intervals), static_cast<std::int64_t>(all.size()));
  return all;
}

// Calls fn(shard) for all small sizes.
template <typename Fn>
void ForAllShards(Fn fn) {
  for (const int ranks : {1, 2, 3, 4, 8}) {
    for (std::int64_t tokens = 0; tokens <= 40; ++tokens) {
      SCOPED_TRACE(::testing::Message() << tokens << " over " << ranks);
      fn(SequenceShard(tokens, ranks));
    }
  }
}

TEST(SequenceShardTest, EveryPositionIsOnOneRankInAscendingRows) {
  ForAllShards([](const SequenceShard& shard) {
    Positions all;
    std::int64_t rows = 0;
    for (int rank = 0; rank < shard.num_ranks(); ++rank) {
      const Positions mine = SetOf(shard.rows(rank));
      EXPECT_EQ(static_cast<std::int64_t>(mine.size()), shard.num_rows(rank));
      EXPECT_LE(shard.chunk(rank, 0).end, shard.chunk(rank, 1).begin);
      all.insert(mine.begin(), mine.end());
      rows += shard.num_rows(rank);
    }
    EXPECT_EQ(rows, shard.num_tokens());
    EXPECT_EQ(static_cast<std::int64_t>(all.size()), shard.num_tokens());
  });
}

// Within the rows that two chunks can differ by.
TEST(SequenceShardTest, CausalWorkIsBalanced) {
  const SequenceShard shard(4096, 8);
  const auto work = [&](int rank) {
    std::int64_t keys = 0;
    for (const std::int64_t i : SetOf(shard.rows(rank))) {
      keys += i + 1;
    }
    return keys;
  };
  for (int rank = 1; rank < 8; ++rank) {
    EXPECT_EQ(work(rank), work(0));
  }
}

TEST(SequenceShardTest, QueriesAreTheLastPositionsAndTheLastRows) {
  ForAllShards([](const SequenceShard& shard) {
    const std::int64_t N = shard.num_tokens();
    for (const std::int64_t wanted : {std::int64_t{0}, N / 3, N}) {
      Positions all;
      for (int rank = 0; rank < shard.num_ranks(); ++rank) {
        std::int64_t count = 0;
        for (int i = 0; i < SequenceShard::kChunks; ++i) {
          const Interval queries = shard.queries(rank, i, wanted);
          EXPECT_EQ(queries.end, shard.chunk(rank, i).end);
          count += queries.size();
          for (std::int64_t at = queries.begin; at < queries.end; ++at) {
            EXPECT_GE(at, N - wanted);
            EXPECT_TRUE(all.insert(at).second);
          }
        }
        EXPECT_EQ(count, shard.num_queries(rank, wanted));
        const Positions rows = SetOf(shard.rows(rank));
        EXPECT_EQ(count, std::count_if(rows.begin(), rows.end(), [&](auto at) {
                    return at >= N - wanted;
                  }));
      }
      EXPECT_EQ(static_cast<std::int64_t>(all.size()), wanted);
    }
  });
}

// Calls fn(shard, needs, wanted) for windows shorter and longer than a chunk.
template <typename Fn>
void ForAllNeeds(Fn fn) {
  ForAllShards([&](const SequenceShard& shard) {
    for (const std::int64_t window : {0, 1, 3, 9, 100}) {
      for (const std::int64_t sinks : {0, 1, 4}) {
        for (const std::int64_t wanted :
             {shard.num_tokens(), shard.num_tokens() / 4}) {
          fn(shard, KeyNeeds{{false, true, false}, window, sinks}, wanted);
        }
      }
    }
  });
}

TEST(SequenceShardTest, KeysOfARankAreThoseThatItsQueriesSee) {
  ForAllNeeds([](const SequenceShard& shard, const KeyNeeds& needs,
                 std::int64_t wanted) {
    for (int rank = 0; rank < shard.num_ranks(); ++rank) {
      Positions whole;
      Positions local;
      for (int i = 0; i < SequenceShard::kChunks; ++i) {
        Positions halo;
        const Interval queries = shard.queries(rank, i, wanted);
        for (std::int64_t at = queries.begin; at < queries.end; ++at) {
          for (std::int64_t key = 0; key <= at; ++key) {
            whole.insert(key);
            if (at - key <= needs.window || key < needs.sinks) {
              halo.insert(key);
            }
          }
        }
        EXPECT_EQ(SetOf(Halo(needs, queries)), halo);
        local.insert(halo.begin(), halo.end());
      }
      EXPECT_EQ(SetOf(KeysOf(shard, needs, wanted, rank, true)), whole);
      EXPECT_EQ(SetOf(KeysOf(shard, needs, wanted, rank, false)), local);
    }
  });
}

// What one rank sends to another is what that one receives from it; the totals
// are the formula's; and results are made of rows that came.
TEST(SequenceShardTest, TradesFitEachOtherAndTheFormula) {
  ForAllNeeds([](const SequenceShard& shard, const KeyNeeds& needs,
                 std::int64_t wanted) {
    std::vector<ops::RowTrade> trades;
    for (int rank = 0; rank < shard.num_ranks(); ++rank) {
      trades.push_back(KeyTrade(shard, needs, wanted, rank));
    }
    for (int rank = 0; rank < shard.num_ranks(); ++rank) {
      const ops::RowTrade& trade = trades[static_cast<std::size_t>(rank)];
      std::int64_t sent = 0;
      std::int64_t received = 0;
      std::int64_t own = 0;
      for (int other = 0; other < shard.num_ranks(); ++other) {
        const auto at = static_cast<std::size_t>(other);
        EXPECT_EQ(trade.send_rows[at],
                  trades[at].receive_rows[static_cast<std::size_t>(rank)]);
        (other == rank ? own : sent) += trade.send_rows[at];
        received += other == rank ? 0 : trade.receive_rows[at];
      }
      EXPECT_EQ(sent, NumKeyRowsSent(shard, needs, wanted, rank));
      EXPECT_EQ(received, NumKeyRowsReceived(shard, needs, wanted, rank));
      ASSERT_EQ(trade.results.size(), 3U);
      for (const std::vector<std::int32_t>& rows : trade.results) {
        for (const std::int32_t row : rows) {
          ASSERT_GE(row, 0);
          ASSERT_LT(row, received + own);
        }
      }
    }
  });
}

TEST(SequenceShardTest, AHeadIsWholeIfAnyDenseHeadReadsIt) {
  kernels::AttentionPattern pattern;
  pattern.sinks = 4;
  pattern.window_H = {7, 5, kernels::AttentionPattern::kDense, 5, 6, 6};
  pattern.kv_head_H = {0, 0, 1, 1, 2, 2};
  const KeyNeeds needs = NeedsOf(pattern, 3);
  EXPECT_EQ(needs.whole_G, (std::vector<bool>{false, true, false}));
  EXPECT_EQ(needs.window, 7);
  EXPECT_EQ(needs.sinks, 4);
  EXPECT_EQ(needs.num_whole(), 1);
  EXPECT_EQ(needs.num_local(), 2);
}

}  // namespace
}  // namespace rtpurbo::testing
