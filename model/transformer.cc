#include "model/transformer.h"

#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "autograd/ops/ops.h"
#include "kernels/core/status_macros.h"
#include "kernels/permute.h"
#include "kernels/rope.h"
#include "kernels/router.h"
#include "model/expert_exchange.h"

namespace rtpurbo {
namespace {

std::vector<Shape> ShapesOf(const GroupLayout& layout) {
  std::vector<Shape> shapes;
  for (const ParameterLayout& parameter : layout.parameters) {
    shapes.push_back(parameter.shape);
  }
  return shapes;
}

// The error of an axis, with its name; OK if there is no such axis.
absl::Status Poll(Communicator* comm, const char* name) {
  const absl::Status status = comm == nullptr ? absl::OkStatus() : comm->Poll();
  return status.ok() ? status
                     : absl::Status(status.code(),
                                    absl::StrCat(name, ": ", status.message()));
}

// The decisions of a router, taken once a block and step.
struct Routing {
  Tensor prob_TE;
  Tensor expert_TK;
  Tensor place_TK;
  Tensor source_N;
  Tensor offset_E;
};

Routing Route(Tape& tape, Stash& stash, const Tensor& z_TE,
              const ModelConfig& config) {
  const ExecContext& ctx = tape.ctx();
  const std::int64_t T = z_TE.dim(0);
  const std::int64_t E = config.num_experts;
  const std::int64_t K = config.experts_per_token;
  Routing r;
  r.prob_TE = Tensor::Empty(ctx, DType::kF32, {T, E});
  Tensor chosen = Tensor::Empty(ctx, DType::kI32, {T, K});
  kernels::RouterSelect(ctx, z_TE, &r.prob_TE, &chosen);
  r.expert_TK = stash.Keep([&] { return chosen; });
  const auto empty = [&](const Shape& shape) {
    return Tensor::Empty(ctx, DType::kI32, shape);
  };
  // A function of the kept choice, so it need not be kept itself.
  r.place_TK = empty({T, K});
  r.source_N = empty({T * K});
  r.offset_E = empty({E + 1});
  kernels::PermuteLayout(ctx, r.expert_TK, &r.place_TK, &r.source_N,
                         &r.offset_E);
  return r;
}

}  // namespace

// One layer's groups, and its computation on rows that are gathered.
class Transformer::Block {
 public:
  Block(const Transformer& model, std::int64_t layer,
        std::vector<ParamGroup*> groups)
      : model_(model), layer_(layer), groups_(std::move(groups)) {}

  Var Run(Tape& tape, const ForwardInput& input, const Attend& attend,
          std::int64_t rows, const Var& x_TD) const {
    const Segment segment = [=, this](Tape& t, Stash& stash, const Var& x) {
      return Forward(t, stash, input, attend, rows, x);
    };
    return RunBlock(tape, groups_, segment, x_TD, input.recompute);
  }

 private:
  const Var& attention(std::size_t i) const { return groups_[0]->param(i); }
  const Var& norm(std::size_t i) const { return groups_[1]->param(i); }
  bool is_moe() const {
    return model_.config_.is_moe_layer[static_cast<std::size_t>(layer_)];
  }

  Var Forward(Tape& tape, Stash& stash, const ForwardInput& input,
              const Attend& attend, std::int64_t rows, const Var& x_TD) const {
    const std::int64_t T = x_TD.value().dim(0);
    const float eps = model_.config_.rms_norm_eps;
    const Var n = ops::RmsNorm(tape, x_TD, norm(NormIndex::kInput), eps);
    const AttentionCall call = Project(tape, input, rows, n);
    const Var o_THC = attend(tape, stash, call);
    const Var o = ops::Linear(tape, Flatten(tape, o_THC),
                              attention(AttentionIndex::kOutput));
    const Var h = ops::Add(tape, ops::Rows(tape, x_TD, T - rows, T), o);
    const Var m = ops::RmsNorm(tape, h, norm(NormIndex::kPostAttention), eps);
    const Var f = is_moe() ? Experts(tape, stash, m) : Mlp(tape, m);
    return ops::Add(tape, h, f);
  }

  // Queries of the last rows, keys and values of all.
  AttentionCall Project(Tape& tape, const ForwardInput& input,
                        std::int64_t rows, const Var& n_TD) const {
    const Tensor& position_T = input.position_T;
    const std::int64_t T = n_TD.value().dim(0);
    AttentionCall call;
    call.layer = layer_;
    call.query_begin = T - rows;
    call.part = input.part.get();
    if (call.part != nullptr) {
      const bool last = layer_ + 1 == model_.config_.num_layers;
      call.wanted =
          last ? call.part->output_rows : call.part->shard.num_tokens();
    }
    const Var last = ops::Rows(tape, n_TD, T - rows, T);
    call.q_pre_THC = Heads(tape, last, AttentionIndex::kQuery);
    call.q_pre_THC = NormHeads(tape, call.q_pre_THC, NormIndex::kQuery);
    call.k_pre_NGC = Heads(tape, n_TD, AttentionIndex::kKey);
    call.k_pre_NGC = NormHeads(tape, call.k_pre_NGC, NormIndex::kKey);
    call.v_NGC = Heads(tape, n_TD, AttentionIndex::kValue);
    call.q_THC = ops::Rope(tape, call.q_pre_THC, position_T.Slice(T - rows, T),
                           model_.cos_NC_, model_.sin_NC_);
    call.k_NGC = ops::Rope(tape, call.k_pre_NGC, position_T, model_.cos_NC_,
                           model_.sin_NC_);
    return call;
  }

  Var Heads(Tape& tape, const Var& x_TD, std::size_t weight) const {
    const Var y = ops::Linear(tape, x_TD, attention(weight));
    const std::int64_t C = model_.config_.head_width;
    return ops::Reshape(tape, y, {y.value().dim(0), y.value().dim(1) / C, C});
  }

  static Var Flatten(Tape& tape, const Var& x_THC) {
    const Shape& shape = x_THC.value().shape();
    return ops::Reshape(tape, x_THC, {shape[0], shape[1] * shape[2]});
  }

  Var NormHeads(Tape& tape, const Var& x_THC, std::size_t weight) const {
    const Shape shape = x_THC.value().shape();
    const Var rows = ops::Reshape(tape, x_THC, {shape[0] * shape[1], shape[2]});
    const Var y =
        ops::RmsNorm(tape, rows, norm(weight), model_.config_.rms_norm_eps);
    return ops::Reshape(tape, y, shape);
  }

  Var Experts(Tape& tape, Stash& stash, const Var& x_TD) const {
    const ModelConfig& config = model_.config_;
    const Var z_TE = ops::Linear(tape, x_TD, groups_[2]->param(0));
    const Routing r = Route(tape, stash, z_TE.value(), config);
    const Var weight_TK = ops::RouterWeights(tape, z_TE, r.prob_TE, r.expert_TK,
                                             config.normalize_expert_weights);
    const Var y_ND =
        model_.options_.expert == nullptr
            ? RunExperts(tape, ops::Permute(tape, x_TD, r.place_TK, r.source_N),
                         r.offset_E)
            : RunExpertsOfAllRanks(tape, stash, x_TD, r);
    return ops::Combine(tape, y_ND, weight_TK, r.place_TK);
  }

  // Of rows that are sorted by expert.
  Var RunExperts(Tape& tape, const Var& x_ND, const Tensor& offset_E) const {
    const auto linear = [&](const Var& x, std::size_t i) {
      return ops::GroupedLinear(tape, x, groups_[3]->param(i), offset_E);
    };
    const Var hidden = ops::SwiGlu(tape, linear(x_ND, FeedForwardIndex::kGate),
                                   linear(x_ND, FeedForwardIndex::kUp));
    return linear(hidden, FeedForwardIndex::kDown);
  }

  Var RunExpertsOfAllRanks(Tape& tape, Stash& stash, const Var& x_TD,
                           const Routing& r) const {
    const ExecContext& ctx = tape.ctx();
    Communicator& comm = *model_.options_.expert;
    const Tensor count_PE =
        stash.Keep([&] { return TradeExpertCounts(ctx, comm, r.offset_E); });
    const ExpertExchange exchange = MakeExpertExchange(
        ToHost<std::int32_t>(ctx, r.source_N),
        ToHost<std::int32_t>(ctx, r.offset_E),
        ToHost<std::int32_t>(ctx, count_PE), r.place_TK.dim(1), comm.size());
    const Var x_MD = ops::TradeRows(tape, comm, exchange.there, x_TD)[0];
    const Var y_MD = RunExperts(
        tape, x_MD,
        FromHost(ctx, exchange.offset_E,
                 {static_cast<std::int64_t>(exchange.offset_E.size())}));
    return ops::TradeRows(tape, comm, exchange.back, y_MD)[0];
  }

  Var Mlp(Tape& tape, const Var& x_TD) const {
    const ParamGroup& mlp = *groups_[2];
    const Var gate =
        ops::Linear(tape, x_TD, mlp.param(FeedForwardIndex::kGate));
    const Var up = ops::Linear(tape, x_TD, mlp.param(FeedForwardIndex::kUp));
    return ops::Linear(tape, ops::SwiGlu(tape, gate, up),
                       mlp.param(FeedForwardIndex::kDown));
  }

  const Transformer& model_;
  std::int64_t layer_;
  std::vector<ParamGroup*> groups_;
};

Transformer::Transformer(const ExecContext& ctx, ModelConfig config,
                         Options options)
    : ctx_(ctx), config_(std::move(config)), options_(std::move(options)) {
  constexpr std::size_t kRoles = static_cast<std::size_t>(Role::kHead) + 1;
  for (std::size_t i = 0; i < kRoles; ++i) {
    rings_.push_back(std::make_unique<WeightRing>(ctx_));
  }
  ExpertSlice slice;
  if (options_.expert != nullptr) {
    slice = {options_.expert->rank(), options_.expert->size()};
  }
  embedding_ = AddGroup(EmbeddingLayout(config_));
  for (std::int64_t layer = 0; layer < config_.num_layers; ++layer) {
    std::vector<ParamGroup*> groups;
    for (const GroupLayout& layout : BlockLayout(config_, layer, slice)) {
      groups.push_back(AddGroup(layout));
    }
    blocks_.push_back(std::make_unique<Block>(*this, layer, std::move(groups)));
  }
  final_norm_ = AddGroup(FinalNormLayout(config_));
  head_ = config_.tied_head ? embedding_ : AddGroup(HeadLayout(config_));
  const Shape table = {options_.max_positions, config_.head_width / 2};
  const ExecContext tagged = ctx_.Tagged("rotation tables");
  cos_NC_ = Tensor::Empty(tagged, DType::kF32, table);
  sin_NC_ = Tensor::Empty(tagged, DType::kF32, table);
  kernels::RopeTables(ctx_, config_.rope_base, table[0], config_.head_width,
                      &cos_NC_, &sin_NC_);
}

Transformer::~Transformer() = default;

ParamGroup* Transformer::AddGroup(const GroupLayout& layout) {
  ParamGroup::Options options;
  options.name = layout.name;
  options.dtype = options_.dtype;
  options.trainable = options_.trainable.count(layout.role) > 0;
  options.weight_decay =
      layout.role == Role::kNorms ? 0 : options_.weight_decay;
  options.comm = options_.comm;
  options.shapes = ShapesOf(layout);
  WeightRing* ring = rings_[static_cast<std::size_t>(layout.role)].get();
  groups_.push_back(
      {layout, std::make_unique<ParamGroup>(ctx_, std::move(options), ring)});
  return groups_.back().params.get();
}

absl::Status Transformer::status() const {
  std::vector<ParamGroup*> groups;
  for (const Group& group : groups_) {
    groups.push_back(group.params.get());
  }
  RETURN_IF_ERROR(FirstError(groups));
  RETURN_IF_ERROR(Poll(options_.sequence, "sequence"));
  return Poll(options_.expert, "expert");
}

Var Transformer::Embed(Tape& tape, const Tensor& id_T) {
  const std::array<ParamGroup*, 1> groups = {embedding_};
  const Segment look_up = [&](Tape& t, Stash&, const Var&) {
    return ops::Embedding(t, embedding_->param(0), id_T);
  };
  return RunBlock(tape, groups, look_up, Var(), /*recompute=*/false);
}

Var Transformer::AfterBlocks(Tape& tape, const ForwardInput& input,
                             const Attend& attend, std::int64_t num_blocks) {
  const std::int64_t T = input.id_T.dim(0);
  CHECK_EQ(input.position_T.shape(), input.id_T.shape());
  CHECK_LE(input.part == nullptr ? 1 : 0, input.output_rows);
  CHECK_LE(input.output_rows, T);
  Var x = Embed(tape, input.id_T);
  for (std::int64_t layer = 0; layer < num_blocks; ++layer) {
    const bool last = layer + 1 == config_.num_layers;
    x = blocks_[static_cast<std::size_t>(layer)]->Run(
        tape, input, attend, last ? input.output_rows : T, x);
  }
  return x;
}

Var Transformer::Hidden(Tape& tape, const ForwardInput& input,
                        const Attend& attend) {
  const Var x = AfterBlocks(tape, input, attend, config_.num_layers);
  const std::array<ParamGroup*, 1> groups = {final_norm_};
  const Segment norm = [this](Tape& t, Stash&, const Var& in) {
    return ops::RmsNorm(t, in, final_norm_->param(0), config_.rms_norm_eps);
  };
  return RunBlock(tape, groups, norm, x, /*recompute=*/false);
}

Var Transformer::WithHead(
    Tape& tape, const Var& x_LD,
    const std::function<Var(Tape&, const Var&, const Var&)>& use) {
  const std::array<ParamGroup*, 1> groups = {head_};
  const Segment segment = [&](Tape& t, Stash&, const Var& in) {
    return use(t, in, head_->param(0));
  };
  return RunBlock(tape, groups, segment, x_LD, /*recompute=*/false);
}

Var Transformer::Logits(Tape& tape, const Var& x_LD) {
  return WithHead(tape, x_LD, [](Tape& t, const Var& x, const Var& w) {
    return ops::Linear(t, x, w);
  });
}

}  // namespace rtpurbo
