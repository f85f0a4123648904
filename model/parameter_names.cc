#include "model/parameter_names.h"

#include "absl/strings/str_cat.h"

namespace rtpurbo {
namespace {

ParameterLayout One(const std::string& name, const std::string& published,
                    const Shape& shape) {
  return {name, shape, {{published, shape}}, shape};
}

// Of [E, rows, columns], with one tensor for each expert, a slice.
ParameterLayout Stacked(const ModelConfig& config, const ExpertSlice& slice,
                        const std::string& name, const std::string& prefix,
                        const std::string& suffix, const Shape& expert) {
  const std::int64_t E = config.num_experts;
  CHECK_EQ(E % slice.count, 0) << "experts over " << slice.count << " ranks";
  const std::int64_t count = E / slice.count;
  const std::int64_t first = slice.index * count;
  ParameterLayout layout{name,
                         {count, expert[0], expert[1]},
                         {},
                         {E, expert[0], expert[1]},
                         first * NumElements(expert)};
  for (std::int64_t e = first; e < first + count; ++e) {
    layout.published.push_back(
        {absl::StrCat(prefix, "experts.", e, ".", suffix), expert});
  }
  return layout;
}

GroupLayout AttentionLayout(const ModelConfig& config, const std::string& block,
                            const std::string& published) {
  const std::int64_t D = config.hidden_size;
  const std::int64_t q = config.num_heads * config.head_width;
  const std::int64_t kv = config.num_kv_heads * config.head_width;
  const std::string p = published + "self_attn.";
  return {block + ".attention",
          Role::kAttention,
          {One("q", p + "q_proj.weight", {q, D}),
           One("k", p + "k_proj.weight", {kv, D}),
           One("v", p + "v_proj.weight", {kv, D}),
           One("o", p + "o_proj.weight", {D, q})}};
}

GroupLayout NormsLayout(const ModelConfig& config, const std::string& block,
                        const std::string& p) {
  const Shape D = {config.hidden_size};
  const Shape C = {config.head_width};
  return {block + ".norms",
          Role::kNorms,
          {One("input", p + "input_layernorm.weight", D),
           One("post_attention", p + "post_attention_layernorm.weight", D),
           One("q", p + "self_attn.q_norm.weight", C),
           One("k", p + "self_attn.k_norm.weight", C)}};
}

GroupLayout ExpertsLayout(const ModelConfig& config, const ExpertSlice& slice,
                          const std::string& block, const std::string& p) {
  const std::int64_t D = config.hidden_size;
  const std::int64_t F = config.expert_size;
  return {block + ".experts",
          Role::kExperts,
          {Stacked(config, slice, "gate", p, "gate_proj.weight", {F, D}),
           Stacked(config, slice, "up", p, "up_proj.weight", {F, D}),
           Stacked(config, slice, "down", p, "down_proj.weight", {D, F})},
          true};
}

GroupLayout DenseLayout(const ModelConfig& config, const std::string& block,
                        const std::string& p) {
  const std::int64_t D = config.hidden_size;
  const std::int64_t F = config.mlp_size;
  return {block + ".mlp",
          Role::kExperts,
          {One("gate", p + "gate_proj.weight", {F, D}),
           One("up", p + "up_proj.weight", {F, D}),
           One("down", p + "down_proj.weight", {D, F})}};
}

}  // namespace

GroupLayout EmbeddingLayout(const ModelConfig& config) {
  return {"embedding",
          Role::kEmbedding,
          {One("weight", "model.embed_tokens.weight",
               {config.vocab_size, config.hidden_size})}};
}

GroupLayout FinalNormLayout(const ModelConfig& config) {
  return {"final_norm",
          Role::kNorms,
          {One("weight", "model.norm.weight", {config.hidden_size})}};
}

std::vector<GroupLayout> BlockLayout(const ModelConfig& config,
                                     std::int64_t layer,
                                     const ExpertSlice& slice) {
  const std::string block = absl::StrCat("block.", layer);
  const std::string published = absl::StrCat("model.layers.", layer, ".");
  const std::string mlp = published + "mlp.";
  std::vector<GroupLayout> groups = {AttentionLayout(config, block, published),
                                     NormsLayout(config, block, published)};
  if (!config.is_moe_layer[static_cast<std::size_t>(layer)]) {
    groups.push_back(DenseLayout(config, block, mlp));
    return groups;
  }
  groups.push_back({block + ".router",
                    Role::kRouter,
                    {One("gate", mlp + "gate.weight",
                         {config.num_experts, config.hidden_size})}});
  groups.push_back(ExpertsLayout(config, slice, block, mlp));
  return groups;
}

GroupLayout HeadLayout(const ModelConfig& config) {
  CHECK(!config.tied_head);
  return {"head",
          Role::kHead,
          {One("weight", "lm_head.weight",
               {config.vocab_size, config.hidden_size})}};
}

std::vector<GroupLayout> ModelLayout(const ModelConfig& config) {
  std::vector<GroupLayout> groups = {EmbeddingLayout(config)};
  for (std::int64_t layer = 0; layer < config.num_layers; ++layer) {
    for (GroupLayout& group : BlockLayout(config, layer)) {
      groups.push_back(std::move(group));
    }
  }
  groups.push_back(FinalNormLayout(config));
  if (!config.tied_head) {
    groups.push_back(HeadLayout(config));
  }
  return groups;
}

}  // namespace rtpurbo
