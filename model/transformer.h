// The decoder of Qwen3 and Qwen3-MoE: embedding, blocks, final norm, head.
//
// A block is
//   h = x + O attend(rope(norm(Q n)), rope(norm(K n)), V n),  n = norm(x)
//   y = h + feed_forward(norm(h))
// Everything that differs between the uses of a model (dense, windowed,
// selected keys, a cache, gates on heads, looking at queries and keys) is in
// `attend`, which the caller gives; the rest is here, once.

#ifndef RTPURBO_MODEL_TRANSFORMER_H_
#define RTPURBO_MODEL_TRANSFORMER_H_

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "autograd/recompute.h"
#include "autograd/tape.h"
#include "dist/communicator.h"
#include "model/model_config.h"
#include "model/param_group.h"
#include "model/parameter_names.h"
#include "model/sequence_shard.h"

namespace rtpurbo {

// One sequence whose rows are cut over the ranks of `comm`.
struct SequencePart {
  SequenceShard shard;
  Communicator* comm;
  std::int64_t output_rows;  // of the whole sequence: its last ones
};

// What one layer's attention is given. N rows went into the block; T, the last
// ones, are wanted from it, and stand at rows query_begin .. N.
struct AttentionCall {
  std::int64_t layer = 0;
  std::int64_t query_begin = 0;
  // Null if these are all rows of the sequence. Else those of this rank, of
  // which the ones among the sequence's last `wanted` rows are wanted.
  const SequencePart* part = nullptr;
  std::int64_t wanted = 0;
  Var q_pre_THC;  // after the query norm, before rotation
  Var k_pre_NGC;
  Var q_THC;
  Var k_NGC;
  Var v_NGC;
};

// Returns o_THC. Decisions (masks) go through the stash, so that recomputation
// sees them again.
using Attend =
    std::function<Var(Tape& tape, Stash& stash, const AttentionCall& call)>;

struct ForwardInput {
  Tensor id_T;        // [T] i32
  Tensor position_T;  // [T] i32, for rotation
  // Only the last rows go through the last block's queries and feed-forward:
  // nobody needs the others. In [1, T].
  std::int64_t output_rows = 1;
  bool recompute = false;  // blocks keep only their input
  // Null if these are all rows of the sequence. Else T are those of this rank,
  // and output_rows, now from 0 on, the ones among part->output_rows.
  std::shared_ptr<const SequencePart> part = nullptr;
};

class Transformer {
 public:
  struct Options {
    DType dtype = DType::kF32;       // of activations and gathered weights
    std::set<Role> trainable;        // others are frozen
    float weight_decay = 0;          // of matrices; norms have none
    std::int64_t max_positions = 0;  // length of the rotation tables
    Communicator* comm = nullptr;    // over the ranks that share the weights
    // Over the ranks that have other experts, and tokens of their own for all
    // of them; null if each has all experts.
    Communicator* expert = nullptr;
    // Over the ranks that share the rows of a sequence; null if each has all of
    // its own ones. For whoever makes a ForwardInput.
    Communicator* sequence = nullptr;
  };

  // Weights are not initialized.
  // REQUIRES: the size of options.expert divides the number of experts.
  Transformer(const ExecContext& ctx, ModelConfig config, Options options);
  ~Transformer();
  Transformer(const Transformer&) = delete;
  Transformer& operator=(const Transformer&) = delete;

  const ModelConfig& config() const { return config_; }
  const Options& options() const { return options_; }
  const ExecContext& ctx() const { return ctx_; }

  struct Group {
    GroupLayout layout;
    std::unique_ptr<ParamGroup> params;
  };
  // All parameters, in the order of the forward pass.
  const std::vector<Group>& groups() const { return groups_; }
  // The first error of a collective, with the name of its group of parameters,
  // "sequence" or "expert".
  absl::Status status() const;

  // The last `output_rows` rows after the final norm: [rows, D].
  Var Hidden(Tape& tape, const ForwardInput& input, const Attend& attend);
  // The same without the final norm after the first `num_blocks` blocks, all
  // rows: what tests compare with a reference.
  Var AfterBlocks(Tape& tape, const ForwardInput& input, const Attend& attend,
                  std::int64_t num_blocks);
  // Runs `use` with the output matrix w_VD (the embedding if tied) gathered.
  Var WithHead(Tape& tape, const Var& x_LD,
               const std::function<Var(Tape& tape, const Var& x_LD,
                                       const Var& w_VD)>& use);
  // x_LD w_VD^T: [L, V].
  Var Logits(Tape& tape, const Var& x_LD);

 private:
  class Block;

  ParamGroup* AddGroup(const GroupLayout& layout);
  Var Embed(Tape& tape, const Tensor& id_T);

  ExecContext ctx_;
  ModelConfig config_;
  Options options_;
  std::vector<std::unique_ptr<WeightRing>> rings_;  // one a role
  std::vector<Group> groups_;
  std::vector<std::unique_ptr<Block>> blocks_;
  ParamGroup* embedding_ = nullptr;
  ParamGroup* final_norm_ = nullptr;
  ParamGroup* head_ = nullptr;
  Tensor cos_NC_;
  Tensor sin_NC_;
};

}  // namespace rtpurbo

#endif  // RTPURBO_MODEL_TRANSFORMER_H_
