// The attention of a layer whose sequence is cut over ranks: the keys and
// values that this rank's queries see are brought here, and each chunk of
// queries attends as the last rows of its keys.
//
// Of a head that is not whole only the halo is here: the sinks, and then the
// keys from the window's begin on, as rows of one tensor. Distances within the
// second part are as they were, and sinks are still the first rows, so a
// pattern shows the same keys there as in the whole sequence.

#ifndef RTPURBO_MODEL_SEQUENCE_ATTENTION_H_
#define RTPURBO_MODEL_SEQUENCE_ATTENTION_H_

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "kernels/range_attention.h"
#include "model/sequence_shard.h"
#include "model/transformer.h"

namespace rtpurbo {

// This rank's rows of a sequence of which all ranks of `comm` have a part.
// Positions count from 0. `output_rows` are those of the whole sequence.
ForwardInput CutSequence(const ExecContext& ctx,
                         std::span<const std::int32_t> tokens,
                         std::int64_t output_rows, bool recompute,
                         Communicator* comm);
// Of x_L..., which belongs to the last L rows of the sequence: those that this
// rank has, in the order of its rows.
Tensor OwnRows(const ExecContext& ctx, const SequencePart& part,
               const Tensor& x_L);

// How ranks give each other rows [position, head] of keys. The rank has G rows
// for each of its positions. Results: the whole heads of all positions up to
// the rank's last query; the halos of its first and of its second chunk.
ops::RowTrade KeyTrade(const SequenceShard& shard, const KeyNeeds& needs,
                       std::int64_t wanted, int rank);

// x of all positions up to the last of this rank's queries among the last
// `wanted` rows: [end, D]; no rows if it has none of them.
//   x_ND: of this rank's rows.
// Differentiable and collective over part.comm, as ops::TradeRows().
Var BringRows(Tape& tape, const SequencePart& part, std::int64_t wanted,
              const Var& x_ND);

class SequenceKeys {
 public:
  // Brings what `widest` shows to this rank's queries. Collective over
  // call.part->comm, here and in the backward pass. Documents are not
  // supported.
  SequenceKeys(Tape& tape, const AttentionCall& call,
               const kernels::AttentionPattern& widest);

  // By chunk: SelectTopP()'s mask for its last rows, or undefined.
  using Masks = std::array<Tensor, SequenceShard::kChunks>;
  // o_THC of this rank's rows. REQUIRES: `pattern` shows no key that the one
  // above does not.
  Var Attend(Tape& tape, const kernels::AttentionPattern& pattern,
             const Masks& masks = {}) const;

  // Positions of the chunk's queries.
  Interval queries(int chunk) const;
  // They as a call of their own, with all keys and values up to them, and
  // k_pre_NGC as it was. REQUIRES: all heads are whole; there are queries.
  AttentionCall Chunk(Tape& tape, int chunk) const;

 private:
  // Query heads that read whole keys, or that read halos.
  std::vector<std::int32_t> HeadsOf(const kernels::AttentionPattern& pattern,
                                    bool whole) const;
  Var AttendPart(Tape& tape, const kernels::AttentionPattern& pattern,
                 const std::vector<std::int32_t>& heads, int chunk,
                 bool whole) const;
  // Of keys or of values: [n, heads that are whole or not, C].
  Var PartOf(Tape& tape, const std::vector<Var>& traded, int chunk,
             bool whole) const;
  // First row of the chunk's queries among q_THC.
  std::int64_t first_row(int chunk) const;

  AttentionCall call_;
  const SequencePart& part_;
  int rank_;
  KeyNeeds needs_;
  std::vector<std::int32_t> place_G_;  // of a head among those of its kind
  std::vector<Var> k_;                 // results of the trade
  std::vector<Var> v_;
};

}  // namespace rtpurbo

#endif  // RTPURBO_MODEL_SEQUENCE_ATTENTION_H_
