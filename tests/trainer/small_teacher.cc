#include "tests/trainer/small_teacher.h"

#include <span>

#include "data/file_system.h"
#include "data/safetensors_writer.h"
#include "kernels/core/check.h"
#include "model/parameter_names.h"
#include "nlohmann/json.hpp"
#include "tests/model/small_config.h"
#include "tests/model/small_sparse.h"

namespace rtpurbo::testing {
namespace {

void WriteConfig(const std::string& folder, const SmallTeacher& teacher) {
  const nlohmann::ordered_json json = {{"model_type", "qwen3_moe"},
                                       {"vocab_size", 32},
                                       {"zeta", {{"b", 1}, {"a", 1e-6}}},
                                       {"hidden_size", 16},
                                       {"num_hidden_layers", 2},
                                       {"num_attention_heads", 4},
                                       {"num_key_value_heads", 2},
                                       {"head_dim", 8},
                                       {"intermediate_size", 24},
                                       {"num_experts", 4},
                                       {"num_experts_per_tok", 2},
                                       {"moe_intermediate_size", 12},
                                       {"norm_topk_prob", true},
                                       {"mlp_only_layers", {0}},
                                       {"tie_word_embeddings", teacher.tied},
                                       {"author", "d\u00fcrer"}};
  CHECK(RealFileSystem()
            .WriteFileAtomically(JoinPath(folder, "config.json"), json.dump(1))
            .ok());
}

std::vector<PublishedTensor> TensorsOf(const ModelConfig& config,
                                       bool head_copy) {
  std::vector<PublishedTensor> tensors;
  for (const GroupLayout& group : ModelLayout(config)) {
    if (group.role == Role::kHead) {
      continue;  // last, below
    }
    for (const ParameterLayout& parameter : group.parameters) {
      tensors.insert(tensors.begin(), parameter.published.begin(),
                     parameter.published.end());
    }
  }
  if (!config.tied_head || head_copy) {
    tensors.push_back(
        {"lm_head.weight", {config.vocab_size, config.hidden_size}});
  }
  return tensors;
}

}  // namespace

void WriteSmallTeacher(const std::string& folder, const SmallTeacher& teacher) {
  CHECK(RealFileSystem().CreateDirectories(folder).ok());
  WriteConfig(folder, teacher);
  CHECK(RealFileSystem()
            .WriteFileAtomically(JoinPath(folder, "tokenizer_config.json"),
                                 "{\"kept\": \"as it is\"}")
            .ok());
  ModelConfig config = SmallConfig();
  config.tied_head = teacher.tied;
  std::vector<SafetensorsSpec> specs;
  for (const PublishedTensor& tensor : TensorsOf(config, teacher.head_copy)) {
    specs.push_back({tensor.name, teacher.dtype, tensor.shape});
  }
  auto writer = *SafetensorsWriter::Create(RealFileSystem(), folder, specs);
  unsigned seed = teacher.seed;
  for (const SafetensorsSpec& tensor : specs) {
    const bool copy = teacher.head_copy && tensor.name == "lm_head.weight";
    const bool first = tensor.name == "model.embed_tokens.weight";
    std::vector<float> values =
        Normal(NumElements(tensor.shape), copy || first ? 1000 : ++seed);
    for (float& value : values) {
      value = tensor.shape.size() == 1 ? 1 + value / 10 : value / 4;
    }
    CHECK(writer->Write(tensor.name, 0, std::span<const float>(values)).ok());
  }
  CHECK(writer->Finish().ok());
}

SparseMode SmallMode(const ExecContext& ctx, const ModelConfig& config) {
  SparseMode mode;
  mode.map = LocalMap(config);
  mode.map.layers[0].retrieval_H[1] = true;
  mode.map.layers[1].retrieval_H[0] = true;
  mode.map.layers[1].retrieval_H[3] = true;
  mode.map.window = 5;
  mode.map.sinks = 2;
  mode.map.model_fingerprint = "0123abcd";
  mode.projections = RandomProjections(ctx, config, mode.map, 4, 7);
  mode.selection.top_p = 0.7;
  mode.selection.block = 1;
  mode.selection.order = kernels::Selection::Order::kMaximum;
  mode.selection.sinks = 2;
  mode.selection.recent = 3;
  mode.dense_below = 16;
  return mode;
}

Loader::Loader(const std::set<Role>& trainable, DType dtype) {
  options_.dtype = dtype;
  options_.trainable = trainable;
  options_.max_positions = 512;
  options_.comm = &alone_;
}

std::vector<float> WeightsOf(const Transformer& model) {
  std::vector<float> all;
  for (const Transformer::Group& group : model.groups()) {
    ParamGroup& params = *group.params;
    const std::vector<float> shard = ToFloats(model.ctx(), params.shard());
    for (std::size_t i = 0; i < group.layout.parameters.size(); ++i) {
      const auto begin = shard.begin() + params.offset(i);
      all.insert(all.end(), begin,
                 begin + NumElements(group.layout.parameters[i].shape));
    }
  }
  return all;
}

}  // namespace rtpurbo::testing
