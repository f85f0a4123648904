#include "model/sequence_shard.h"

#include <algorithm>

#include "kernels/core/check.h"

namespace rtpurbo {
namespace {

using kernels::AttentionPattern;

void Append(const Interval& interval, Intervals* to) {
  if (interval.empty()) {
    return;
  }
  if (!to->empty() && interval.begin <= to->back().end) {
    to->back().end = std::max(to->back().end, interval.end);
    return;
  }
  to->push_back(interval);
}

// Rows of heads of rank `owner` that rank `user` needs.
std::int64_t NumKeyRows(const SequenceShard& shard, const KeyNeeds& needs,
                        std::int64_t wanted, int owner, int user) {
  const Intervals rows = shard.rows(owner);
  const auto count = [&](bool whole) {
    return NumPositions(
        Intersection(rows, KeysOf(shard, needs, wanted, user, whole)));
  };
  return needs.num_whole() * count(true) + needs.num_local() * count(false);
}

}  // namespace

std::int64_t NumPositions(const Intervals& intervals) {
  std::int64_t count = 0;
  for (const Interval& interval : intervals) {
    count += interval.size();
  }
  return count;
}

Intervals Union(const Intervals& a, const Intervals& b) {
  Intervals all = a;
  all.insert(all.end(), b.begin(), b.end());
  std::sort(all.begin(), all.end(), [](const Interval& x, const Interval& y) {
    return x.begin < y.begin;
  });
  Intervals joined;
  for (const Interval& interval : all) {
    Append(interval, &joined);
  }
  return joined;
}

Intervals Intersection(const Intervals& a, const Intervals& b) {
  Intervals both;
  for (const Interval& x : a) {
    for (const Interval& y : b) {
      Append(Intersect(x, y), &both);
    }
  }
  return both;
}

SequenceShard::SequenceShard(std::int64_t num_tokens, int num_ranks)
    : num_tokens_(num_tokens), num_ranks_(num_ranks) {
  CHECK_LE(0, num_tokens);
  CHECK_LE(1, num_ranks);
}

Interval SequenceShard::chunk(int rank, int i) const {
  const std::int64_t chunks = std::int64_t{kChunks} * num_ranks_;
  const std::int64_t at = i == 0 ? rank : chunks - 1 - rank;
  return {at * num_tokens_ / chunks, (at + 1) * num_tokens_ / chunks};
}

Intervals SequenceShard::rows(int rank) const {
  return Union({chunk(rank, 0)}, {chunk(rank, 1)});
}

std::int64_t SequenceShard::num_rows(int rank) const {
  return chunk(rank, 0).size() + chunk(rank, 1).size();
}

Interval SequenceShard::queries(int rank, int i, std::int64_t wanted) const {
  const Interval all = chunk(rank, i);
  return {std::clamp(num_tokens_ - wanted, all.begin, all.end), all.end};
}

std::int64_t SequenceShard::num_queries(int rank, std::int64_t wanted) const {
  return queries(rank, 0, wanted).size() + queries(rank, 1, wanted).size();
}

std::int64_t KeyNeeds::num_whole() const {
  return std::count(whole_G.begin(), whole_G.end(), true);
}

std::int64_t KeyNeeds::num_local() const {
  return std::count(whole_G.begin(), whole_G.end(), false);
}

KeyNeeds NeedsOf(const AttentionPattern& pattern, std::int64_t num_kv_heads) {
  KeyNeeds needs;
  needs.whole_G.resize(static_cast<std::size_t>(num_kv_heads));
  needs.sinks = pattern.sinks;
  for (std::size_t h = 0; h < pattern.window_H.size(); ++h) {
    if (pattern.window_H[h] == AttentionPattern::kDense) {
      needs.whole_G[static_cast<std::size_t>(pattern.kv_head_H[h])] = true;
    } else {
      needs.window = std::max(needs.window, pattern.window_H[h]);
    }
  }
  return needs;
}

Intervals Halo(const KeyNeeds& needs, const Interval& queries) {
  if (queries.empty()) {
    return {};
  }
  return Union(
      {{0, std::min(needs.sinks, queries.end)}},
      {{std::max<std::int64_t>(0, queries.begin - needs.window), queries.end}});
}

Intervals KeysOf(const SequenceShard& shard, const KeyNeeds& needs,
                 std::int64_t wanted, int rank, bool whole) {
  const Interval first = shard.queries(rank, 0, wanted);
  const Interval second = shard.queries(rank, 1, wanted);
  if (!whole) {
    return Union(Halo(needs, first), Halo(needs, second));
  }
  const std::int64_t end =
      std::max(first.empty() ? 0 : first.end, second.empty() ? 0 : second.end);
  return Union({{0, end}}, {});
}

std::int64_t NumKeyRowsSent(const SequenceShard& shard, const KeyNeeds& needs,
                            std::int64_t wanted, int rank) {
  std::int64_t count = 0;
  for (int user = 0; user < shard.num_ranks(); ++user) {
    count += user == rank ? 0 : NumKeyRows(shard, needs, wanted, rank, user);
  }
  return count;
}

std::int64_t NumKeyRowsReceived(const SequenceShard& shard,
                                const KeyNeeds& needs, std::int64_t wanted,
                                int rank) {
  std::int64_t count = 0;
  for (int owner = 0; owner < shard.num_ranks(); ++owner) {
    count += owner == rank ? 0 : NumKeyRows(shard, needs, wanted, owner, rank);
  }
  return count;
}

}  // namespace rtpurbo
