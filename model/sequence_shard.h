// How the rows of a sequence are cut over the ranks of the sequence axis, and
// which keys of others each rank needs. Plain arithmetic.
//
// With P ranks there are 2 P chunks of about N / (2 P) positions, and rank r
// has chunks r and 2 P - 1 - r: causal attention costs a row as many keys as
// lie before it, so a cheap and a dear chunk make every rank's work the same. A
// rank's rows are those of its first chunk, then those of its second one, so
// their positions ascend. Chunks may be empty.
//
// Attention needs two kinds of keys. A key/value head that some dense query
// head reads is brought whole: all positions up to the rank's last query. Of
// the others a chunk [b, e) of queries needs its halo: the sinks [0, S) and
// [b - W, e), which may lie on any number of other ranks.

#ifndef RTPURBO_MODEL_SEQUENCE_SHARD_H_
#define RTPURBO_MODEL_SEQUENCE_SHARD_H_

#include <cstdint>
#include <vector>

#include "kernels/core/interval.h"
#include "kernels/range_attention.h"

namespace rtpurbo {

// Of positions: disjoint, ascending, none of them empty.
using Intervals = std::vector<Interval>;

std::int64_t NumPositions(const Intervals& intervals);
Intervals Union(const Intervals& a, const Intervals& b);
Intervals Intersection(const Intervals& a, const Intervals& b);

class SequenceShard {
 public:
  static constexpr int kChunks = 2;  // of a rank

  // REQUIRES: num_tokens >= 0, num_ranks >= 1.
  SequenceShard(std::int64_t num_tokens, int num_ranks);

  std::int64_t num_tokens() const { return num_tokens_; }
  int num_ranks() const { return num_ranks_; }
  // Positions of a rank's chunk i, 0 or 1; may be empty.
  Interval chunk(int rank, int i) const;
  Intervals rows(int rank) const;
  std::int64_t num_rows(int rank) const;
  // Those of the sequence's last `wanted` positions that lie in the chunk. They
  // are the chunk's last ones, and all together the rank's last rows.
  Interval queries(int rank, int i, std::int64_t wanted) const;
  std::int64_t num_queries(int rank, std::int64_t wanted) const;

 private:
  std::int64_t num_tokens_;
  int num_ranks_;
};

// What the queries of one layer need of each key/value head.
struct KeyNeeds {
  std::vector<bool> whole_G;
  std::int64_t window = 0;  // of the heads that are not whole
  std::int64_t sinks = 0;

  std::int64_t num_whole() const;
  std::int64_t num_local() const;
};

// Of `num_kv_heads` heads: whole if a dense query head reads it, with the
// widest window of the others.
KeyNeeds NeedsOf(const kernels::AttentionPattern& pattern,
                 std::int64_t num_kv_heads);

// The keys that queries at these positions see of a head that is not whole.
Intervals Halo(const KeyNeeds& needs, const Interval& queries);
// The keys of a whole head, or of another one, that a rank needs: its own ones,
// too.
Intervals KeysOf(const SequenceShard& shard, const KeyNeeds& needs,
                 std::int64_t wanted, int rank, bool whole);

// Rows of one head's keys that a rank sends to the others, or gets from them,
// over all heads. The bytes of a layer are 2 (keys and values) x head width x
// bytes of an element x this; its gradients go the other way.
std::int64_t NumKeyRowsSent(const SequenceShard& shard, const KeyNeeds& needs,
                            std::int64_t wanted, int rank);
std::int64_t NumKeyRowsReceived(const SequenceShard& shard,
                                const KeyNeeds& needs, std::int64_t wanted,
                                int rank);

}  // namespace rtpurbo

#endif  // RTPURBO_MODEL_SEQUENCE_SHARD_H_
