// The cut of a sequence over ranks, for all small sizes: every position on one
// rank, every key that a query sees among those that its rank needs, and no
// other.

#include "model/sequence_shard.h"

#include <algorithm>
#include <numeric>
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

// The positions of a rank's queries, of the last `wanted`.
Positions QueriesOf(const SequenceShard& shard, int rank, std::int64_t wanted) {
  Intervals queries;
  for (int i = 0; i < SequenceShard::kChunks; ++i) {
    const Interval of_chunk = shard.queries(rank, i, wanted);
    EXPECT_EQ(of_chunk.end, shard.chunk(rank, i).end);
    queries = Union(queries, {of_chunk});
  }
  return SetOf(queries);
}

TEST(SequenceShardTest, QueriesAreTheLastPositionsAndTheLastRows) {
  ForAllShards([](const SequenceShard& shard) {
    const std::int64_t N = shard.num_tokens();
    for (const std::int64_t wanted : {std::int64_t{0}, N / 3, N}) {
      for (int rank = 0; rank < shard.num_ranks(); ++rank) {
        Positions last = SetOf(shard.rows(rank));
        last.erase(last.begin(), last.lower_bound(N - wanted));
        EXPECT_EQ(QueriesOf(shard, rank, wanted), last);
        EXPECT_EQ(static_cast<std::int64_t>(last.size()),
                  shard.num_queries(rank, wanted));
      }
    }
  });
}

// Windows shorter and longer than a chunk.
std::vector<KeyNeeds> SomeNeeds() {
  std::vector<KeyNeeds> all;
  for (const std::int64_t window : {0, 1, 3, 9, 100}) {
    for (const std::int64_t sinks : {0, 1, 4}) {
      all.push_back({{false, true, false}, window, sinks});
    }
  }
  return all;
}

// Calls fn(shard, needs, wanted).
template <typename Fn>
void ForAllNeeds(Fn fn) {
  const std::vector<KeyNeeds> all = SomeNeeds();
  ForAllShards([&](const SequenceShard& shard) {
    for (const KeyNeeds& needs : all) {
      fn(shard, needs, shard.num_tokens());
      fn(shard, needs, shard.num_tokens() / 4);
    }
  });
}

// What some queries see of a dense head, and of a local one.
Positions SeenWhole(const Interval& queries) {
  return queries.empty() ? Positions() : SetOf({{0, queries.end}});
}

Positions SeenLocal(const KeyNeeds& needs, const Interval& queries) {
  Positions seen;
  for (std::int64_t at = queries.begin; at < queries.end; ++at) {
    for (std::int64_t key = 0; key <= at; ++key) {
      if (at - key <= needs.window || key < needs.sinks) {
        seen.insert(key);
      }
    }
  }
  return seen;
}

TEST(SequenceShardTest, KeysOfARankAreThoseThatItsQueriesSee) {
  ForAllNeeds([](const SequenceShard& shard, const KeyNeeds& needs,
                 std::int64_t wanted) {
    for (int rank = 0; rank < shard.num_ranks(); ++rank) {
      Positions whole;
      Positions local;
      for (int i = 0; i < SequenceShard::kChunks; ++i) {
        const Interval queries = shard.queries(rank, i, wanted);
        const Positions halo = SeenLocal(needs, queries);
        EXPECT_EQ(SetOf(Halo(needs, queries)), halo);
        local.insert(halo.begin(), halo.end());
        whole.merge(SeenWhole(queries));
      }
      EXPECT_EQ(SetOf(KeysOf(shard, needs, wanted, rank, true)), whole);
      EXPECT_EQ(SetOf(KeysOf(shard, needs, wanted, rank, false)), local);
    }
  });
}

std::int64_t SumOf(const std::vector<std::int64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
}

// What one rank sends to another is what that one receives from it; the totals
// are the formula's; and results are made of rows that came.
void ExpectFits(const std::vector<ops::RowTrade>& trades, std::size_t rank,
                std::int64_t num_sent, std::int64_t num_received) {
  const ops::RowTrade& trade = trades[rank];
  for (std::size_t other = 0; other < trades.size(); ++other) {
    EXPECT_EQ(trade.send_rows[other], trades[other].receive_rows[rank]);
  }
  const std::int64_t own = trade.send_rows[rank];
  const std::int64_t received = SumOf(trade.receive_rows);
  EXPECT_EQ(SumOf(trade.send_rows) - own, num_sent);
  EXPECT_EQ(received - own, num_received);
  ASSERT_EQ(trade.results.size(), 3U);
  for (const std::vector<std::int32_t>& rows : trade.results) {
    EXPECT_TRUE(std::all_of(rows.begin(), rows.end(), [&](std::int32_t row) {
      return 0 <= row && row < received;
    }));
  }
}

TEST(SequenceShardTest, TradesFitEachOtherAndTheFormula) {
  ForAllNeeds([](const SequenceShard& shard, const KeyNeeds& needs,
                 std::int64_t wanted) {
    std::vector<ops::RowTrade> trades;
    trades.reserve(static_cast<std::size_t>(shard.num_ranks()));
    for (int rank = 0; rank < shard.num_ranks(); ++rank) {
      trades.push_back(KeyTrade(shard, needs, wanted, rank));
    }
    for (int rank = 0; rank < shard.num_ranks(); ++rank) {
      ExpectFits(trades, static_cast<std::size_t>(rank),
                 NumKeyRowsSent(shard, needs, wanted, rank),
                 NumKeyRowsReceived(shard, needs, wanted, rank));
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
