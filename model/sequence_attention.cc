#include "model/sequence_attention.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "dist/communicator.h"
#include "kernels/core/check.h"

namespace rtpurbo {
namespace {

using kernels::AttentionPattern;

std::size_t Index(std::int64_t i) {
  return static_cast<std::size_t>(i);
}

bool Contains(const Intervals& intervals, std::int64_t position) {
  return std::any_of(
      intervals.begin(), intervals.end(), [=](const Interval& interval) {
        return interval.begin <= position && position < interval.end;
      });
}

// Calls fn(position) for each position, in order.
template <typename Fn>
void ForEachPosition(const Intervals& intervals, Fn fn) {
  for (const Interval& interval : intervals) {
    for (std::int64_t i = interval.begin; i < interval.end; ++i) {
      fn(i);
    }
  }
}

// Calls fn(row, position, head) for what `owner` gives to `user`: row counts
// the owner's positions.
template <typename Fn>
void ForEachKeyRow(const SequenceShard& shard, const KeyNeeds& needs,
                   std::int64_t wanted, int owner, int user, Fn fn) {
  const Intervals whole = KeysOf(shard, needs, wanted, user, true);
  const Intervals local = KeysOf(shard, needs, wanted, user, false);
  std::int64_t row = 0;
  ForEachPosition(shard.rows(owner), [&](std::int64_t i) {
    const bool is_whole = Contains(whole, i);
    const bool is_local = Contains(local, i);
    for (std::size_t g = 0; g < needs.whole_G.size(); ++g) {
      if (needs.whole_G[g] ? is_whole : is_local) {
        fn(row, i, static_cast<std::int64_t>(g));
      }
    }
    ++row;
  });
}

// The rows [position, head] of the heads that are whole or are not, where
// row_NG says of each row where it is.
std::vector<std::int32_t> RowsOfKeys(const KeyNeeds& needs,
                                     const Intervals& positions, bool whole,
                                     const std::vector<std::int32_t>& row_NG) {
  const std::size_t G = needs.whole_G.size();
  std::vector<std::int32_t> rows;
  ForEachPosition(positions, [&](std::int64_t i) {
    for (std::size_t g = 0; g < G; ++g) {
      if (needs.whole_G[g] == whole) {
        rows.push_back(row_NG[Index(i) * G + g]);
      }
    }
  });
  return rows;
}

// The rows of some of H heads for n positions from `first` on, where [T, H, C]
// are rows of width C.
std::vector<std::int32_t> RowsOfHeads(std::int64_t first, std::int64_t n,
                                      std::int64_t H,
                                      const std::vector<std::int32_t>& heads) {
  std::vector<std::int32_t> rows;
  rows.reserve(Index(n) * heads.size());
  for (std::int64_t t = first; t < first + n; ++t) {
    for (const std::int32_t head : heads) {
      rows.push_back(static_cast<std::int32_t>(t * H + head));
    }
  }
  return rows;
}

Tensor I32(const ExecContext& ctx, const std::vector<std::int32_t>& values) {
  return FromHost(ctx, values, {static_cast<std::int64_t>(values.size())});
}

// [T, H, C] as rows of width C.
Var HeadRows(Tape& tape, const Var& x_THC) {
  const Shape& shape = x_THC.value().shape();
  return ops::Reshape(tape, x_THC, {shape[0] * shape[1], shape[2]});
}

// The pattern of some of its query heads, whose keys are at `place_G`.
std::shared_ptr<AttentionPattern> SubPattern(
    const AttentionPattern& pattern, const std::vector<std::int32_t>& heads,
    const std::vector<std::int32_t>& place_G) {
  auto sub = std::make_shared<AttentionPattern>();
  sub->scale = pattern.scale;
  sub->sinks = pattern.sinks;
  for (const std::int32_t head : heads) {
    const std::size_t h = Index(head);
    sub->window_H.push_back(pattern.window_H[h]);
    sub->kv_head_H.push_back(place_G[Index(pattern.kv_head_H[h])]);
    if (!pattern.slot_H.empty()) {
      sub->slot_H.push_back(pattern.slot_H[h]);
    }
  }
  return sub;
}

}  // namespace

ForwardInput CutSequence(const ExecContext& ctx,
                         std::span<const std::int32_t> tokens,
                         std::int64_t output_rows, bool recompute,
                         Communicator* comm) {
  const SequenceShard shard(static_cast<std::int64_t>(tokens.size()),
                            comm->size());
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> positions;
  ForEachPosition(shard.rows(comm->rank()), [&](std::int64_t i) {
    ids.push_back(tokens[Index(i)]);
    positions.push_back(static_cast<std::int32_t>(i));
  });
  ForwardInput input;
  input.id_T = I32(ctx, ids);
  input.position_T = I32(ctx, positions);
  input.output_rows = shard.num_queries(comm->rank(), output_rows);
  input.recompute = recompute;
  input.part = std::make_shared<const SequencePart>(
      SequencePart{shard, comm, output_rows});
  return input;
}

Tensor OwnRows(const ExecContext& ctx, const SequencePart& part,
               const Tensor& x_L) {
  const int rank = part.comm->rank();
  const std::int64_t L = x_L.dim(0);
  Shape shape = x_L.shape();
  shape[0] = part.shard.num_queries(rank, L);
  Tensor own = Tensor::Empty(ctx, x_L.dtype(), shape);
  std::int64_t row = 0;
  for (int i = 0; i < SequenceShard::kChunks; ++i) {
    const Interval at = part.shard.queries(rank, i, L);
    if (at.empty()) {
      continue;
    }
    const std::int64_t first = at.begin - (part.shard.num_tokens() - L);
    const Tensor from = x_L.Slice(first, first + at.size());
    CopyBytes(ctx, from.bytes(), own.Slice(row, row + at.size()).bytes(),
              from.num_bytes());
    row += at.size();
  }
  return own;
}

ops::RowTrade KeyTrade(const SequenceShard& shard, const KeyNeeds& needs,
                       std::int64_t wanted, int rank) {
  const auto G = static_cast<std::int64_t>(needs.whole_G.size());
  ops::RowTrade trade;
  // Where each row [position, head] is among those received.
  std::vector<std::int32_t> received(Index(shard.num_tokens() * G), -1);
  std::int32_t num_received = 0;
  for (int other = 0; other < shard.num_ranks(); ++other) {
    const std::size_t sent_before = trade.sent.size();
    ForEachKeyRow(
        shard, needs, wanted, rank, other,
        [&](std::int64_t row, std::int64_t, std::int64_t g) {
          trade.sent.push_back(static_cast<std::int32_t>(row * G + g));
        });
    trade.send_rows.push_back(
        static_cast<std::int64_t>(trade.sent.size() - sent_before));
    const std::int32_t before = num_received;
    ForEachKeyRow(shard, needs, wanted, other, rank,
                  [&](std::int64_t, std::int64_t i, std::int64_t g) {
                    received[Index(i * G + g)] = num_received++;
                  });
    trade.receive_rows.push_back(num_received - before);
  }
  trade.results.push_back(RowsOfKeys(
      needs, KeysOf(shard, needs, wanted, rank, true), true, received));
  for (int i = 0; i < SequenceShard::kChunks; ++i) {
    trade.results.push_back(RowsOfKeys(
        needs, Halo(needs, shard.queries(rank, i, wanted)), false, received));
  }
  return trade;
}

Var BringRows(Tape& tape, const SequencePart& part, std::int64_t wanted,
              const Var& x_ND) {
  const KeyNeeds needs = {.whole_G = {true}};
  return ops::TradeRows(tape, *part.comm,
                        KeyTrade(part.shard, needs, wanted, part.comm->rank()),
                        x_ND)
      .front();
}

SequenceKeys::SequenceKeys(Tape& tape, const AttentionCall& call,
                           const AttentionPattern& widest)
    : call_(call),
      part_(*call.part),
      rank_(part_.comm->rank()),
      needs_(NeedsOf(widest, call.k_NGC.value().dim(1))) {
  CHECK(!widest.document_N.defined())
      << "documents are not cut over the sequence axis";
  std::array<std::int32_t, 2> count = {};
  for (const bool whole : needs_.whole_G) {
    place_G_.push_back(count[whole ? 1 : 0]++);
  }
  const ops::RowTrade trade = KeyTrade(part_.shard, needs_, call.wanted, rank_);
  k_ = ops::TradeRows(tape, *part_.comm, trade, HeadRows(tape, call.k_NGC));
  v_ = ops::TradeRows(tape, *part_.comm, trade, HeadRows(tape, call.v_NGC));
}

Interval SequenceKeys::queries(int chunk) const {
  return part_.shard.queries(rank_, chunk, call_.wanted);
}

std::int64_t SequenceKeys::first_row(int chunk) const {
  return chunk == 0 ? 0 : queries(0).size();
}

std::vector<std::int32_t> SequenceKeys::HeadsOf(const AttentionPattern& pattern,
                                                bool whole) const {
  std::vector<std::int32_t> heads;
  for (std::size_t h = 0; h < pattern.kv_head_H.size(); ++h) {
    if (needs_.whole_G[Index(pattern.kv_head_H[h])] == whole) {
      heads.push_back(static_cast<std::int32_t>(h));
    }
  }
  return heads;
}

Var SequenceKeys::PartOf(Tape& tape, const std::vector<Var>& traded, int chunk,
                         bool whole) const {
  const std::int64_t heads = whole ? needs_.num_whole() : needs_.num_local();
  const Var& rows = traded[whole ? 0 : Index(1 + chunk)];
  const std::int64_t n = rows.value().dim(0) / heads;
  const Var all =
      ops::Reshape(tape, rows, {n, heads, call_.k_NGC.value().dim(2)});
  return whole ? ops::Rows(tape, all, 0, queries(chunk).end) : all;
}

Var SequenceKeys::AttendPart(Tape& tape, const AttentionPattern& pattern,
                             const std::vector<std::int32_t>& heads, int chunk,
                             bool whole) const {
  const Shape& shape = call_.q_THC.value().shape();
  const std::int64_t first = first_row(chunk);
  const std::int64_t T = queries(chunk).size();
  Var q_THC = ops::Rows(tape, call_.q_THC, first, first + T);
  const auto H = static_cast<std::int64_t>(heads.size());
  if (H < shape[1]) {
    const Var picked =
        ops::PickRows(tape, HeadRows(tape, q_THC),
                      I32(tape.ctx(), RowsOfHeads(0, T, shape[1], heads)));
    q_THC = ops::Reshape(tape, picked, {T, H, shape[2]});
  }
  const Var k_NGC = PartOf(tape, k_, chunk, whole);
  return ops::RangeAttention(
      tape, std::make_shared<const AttentionPattern>(pattern), q_THC, k_NGC,
      PartOf(tape, v_, chunk, whole), k_NGC.value().dim(0) - T);
}

Var SequenceKeys::Attend(Tape& tape, const AttentionPattern& pattern,
                         const Masks& masks) const {
  const std::int64_t H = call_.q_THC.value().dim(1);
  std::vector<Var> parts;  // rows of width C
  std::vector<std::int32_t> place(Index(call_.q_THC.value().dim(0) * H));
  std::int32_t next = 0;
  for (int chunk = 0; chunk < SequenceShard::kChunks; ++chunk) {
    for (const bool whole : {true, false}) {
      const std::vector<std::int32_t> heads = HeadsOf(pattern, whole);
      if (heads.empty() || queries(chunk).empty()) {
        continue;
      }
      const auto sub = SubPattern(pattern, heads, place_G_);
      if (whole && masks[Index(chunk)].defined()) {
        sub->selected_SMB = masks[Index(chunk)];
        sub->block = pattern.block;
      }
      parts.push_back(
          HeadRows(tape, AttendPart(tape, *sub, heads, chunk, whole)));
      for (const std::int32_t row :
           RowsOfHeads(first_row(chunk), queries(chunk).size(), H, heads)) {
        place[Index(row)] = next++;
      }
    }
  }
  if (parts.empty()) {
    return call_.q_THC;  // no rows
  }
  Var rows = parts.size() == 1 ? parts[0] : ops::ConcatRows(tape, parts);
  if (!std::is_sorted(place.begin(), place.end())) {
    rows = ops::PickRows(tape, rows, I32(tape.ctx(), place));
  }
  return ops::Reshape(tape, rows, call_.q_THC.value().shape());
}

AttentionCall SequenceKeys::Chunk(Tape& tape, int chunk) const {
  CHECK_EQ(needs_.num_local(), 0) << "keys of local heads are not all here";
  const std::int64_t first = first_row(chunk);
  const std::int64_t last = first + queries(chunk).size();
  AttentionCall call = call_;
  call.query_begin = queries(chunk).begin;
  call.q_pre_THC = ops::Rows(tape, call_.q_pre_THC, first, last);
  call.q_THC = ops::Rows(tape, call_.q_THC, first, last);
  call.k_NGC = PartOf(tape, k_, chunk, /*whole=*/true);
  call.v_NGC = PartOf(tape, v_, chunk, /*whole=*/true);
  return call;
}

}  // namespace rtpurbo
