#include "model/model_config.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/core/status_macros.h"
#include "nlohmann/json.hpp"

namespace rtpurbo {
namespace {

using Json = nlohmann::json;

// Reads keys of one object and keeps the first error.
class Reader {
 public:
  Reader(const Json& object, std::string file)
      : object_(object), file_(std::move(file)) {}

  const absl::Status& status() const { return status_; }
  // Null counts as absent: published configs write it for "not used".
  bool Has(const char* key) const {
    return object_.contains(key) && !object_[key].is_null();
  }
  std::int64_t Size(const char* key, std::int64_t fallback = 0) {
    if (!Has(key)) {
      if (fallback <= 0) {
        Fail(key, "is missing");
      }
      return fallback;
    }
    const Json& value = object_[key];
    const bool fits = value.is_number_integer() && value >= 1 &&
                      value <= std::numeric_limits<std::int32_t>::max();
    if (!fits) {
      Fail(key, absl::StrCat("is ", value.dump(), ", not a positive integer"));
      return 1;
    }
    return value.get<std::int64_t>();
  }
  double Number(const char* key, double fallback) {
    if (!Has(key)) {
      return fallback;
    }
    const Json& value = object_[key];
    if (!value.is_number() || !(value > 0)) {
      Fail(key, absl::StrCat("is ", value.dump(), ", not a positive number"));
      return fallback;
    }
    return value.get<double>();
  }
  bool Bool(const char* key, bool fallback) {
    if (!Has(key)) {
      return fallback;
    }
    if (!object_[key].is_boolean()) {
      Fail(key, absl::StrCat("is ", object_[key].dump(), ", not a boolean"));
      return fallback;
    }
    return object_[key].get<bool>();
  }
  std::string Text(const char* key, const std::string& fallback) {
    if (!Has(key)) {
      return fallback;
    }
    if (!object_[key].is_string()) {
      Fail(key, absl::StrCat("is ", object_[key].dump(), ", not a string"));
      return fallback;
    }
    return object_[key].get<std::string>();
  }
  // One integer or a list of them.
  std::vector<std::int64_t> Integers(const char* key) {
    std::vector<std::int64_t> values;
    if (!Has(key)) {
      return values;
    }
    const Json list =
        object_[key].is_array() ? object_[key] : Json::array({object_[key]});
    for (const Json& value : list) {
      if (!value.is_number_integer() || value < 0 ||
          value > std::numeric_limits<std::int32_t>::max()) {
        Fail(key, absl::StrCat("holds ", value.dump(),
                               ", not an integer from 0 on"));
        return {};
      }
      values.push_back(value.get<std::int64_t>());
    }
    return values;
  }
  const Json& operator[](const char* key) const { return object_[key]; }

  void Fail(absl::string_view key, absl::string_view what) {
    status_.Update(absl::FailedPreconditionError(
        absl::StrCat(file_, ": ", key, " ", what)));
  }
  void Refuse(absl::string_view key, absl::string_view why) {
    status_.Update(absl::UnimplementedError(
        absl::StrCat(file_, ": ", key, " is ", object_[std::string(key)].dump(),
                     ", which is not supported: ", why)));
  }

 private:
  const Json& object_;
  std::string file_;
  absl::Status status_;
};

void RefuseWhatWouldChangeAnswers(Reader& in) {
  const std::string type = in.Text("model_type", "");
  if (type != "qwen3" && type != "qwen3_moe") {
    if (in.Has("model_type")) {
      in.Refuse("model_type", "it must be qwen3 or qwen3_moe");
    } else {
      in.Fail("model_type", "is missing");
    }
  }
  if (in.Text("hidden_act", "silu") != "silu") {
    in.Refuse("hidden_act", "only silu is computed");
  }
  for (const char* key : {"attention_bias", "mlp_bias", "use_sliding_window"}) {
    if (in.Bool(key, false)) {
      in.Refuse(key, "it must be false");
    }
  }
  for (const char* key : {"quantization_config", "n_shared_experts",
                          "shared_expert_intermediate_size"}) {
    if (in.Has(key)) {
      in.Refuse(key, "the key must be absent");
    }
  }
  if (in.Has("layer_types")) {
    for (const Json& layer : in["layer_types"]) {
      if (layer != "full_attention") {
        in.Refuse("layer_types", "every layer must be full_attention");
      }
    }
  }
}

// Scaling of positions, under either of its published names.
void ReadRope(Reader& in, const std::string& file, ModelConfig* config) {
  config->rope_base = in.Number("rope_theta", 10000);
  if (in.Number("partial_rotary_factor", 1) != 1) {
    in.Refuse("partial_rotary_factor", "it must be 1");
  }
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!in.Has(key)) {
      continue;
    }
    if (!in[key].is_object()) {
      in.Fail(key, "is not an object");
      return;
    }
    Reader rope(in[key], absl::StrCat(file, ": ", key));
    const std::string type =
        rope.Text("rope_type", rope.Text("type", "default"));
    if (type != "default") {
      in.Refuse(key, "only rope_type default is computed");
    }
    if (rope.Number("partial_rotary_factor", 1) != 1) {
      in.Refuse(key, "partial_rotary_factor must be 1");
    }
    config->rope_base = rope.Number("rope_theta", config->rope_base);
    if (!rope.status().ok()) {
      in.Fail(key, rope.status().message());
    }
  }
}

void ReadAttention(Reader& in, ModelConfig* config) {
  config->num_heads = in.Size("num_attention_heads");
  config->num_kv_heads = in.Size("num_key_value_heads", config->num_heads);
  if (config->num_heads % config->num_kv_heads != 0) {
    in.Fail(
        "num_key_value_heads",
        absl::StrCat("is ", config->num_kv_heads, ", which does not divide ",
                     config->num_heads, " query heads"));
    return;
  }
  const bool divides = config->hidden_size % config->num_heads == 0;
  if (!in.Has("head_dim") && !divides) {
    in.Fail("head_dim",
            "is missing, and hidden_size / num_attention_heads is "
            "not an integer");
    return;
  }
  config->head_width = in.Size(
      "head_dim",
      std::max<std::int64_t>(1, config->hidden_size / config->num_heads));
  if (config->head_width % 2 != 0) {
    in.Fail("head_dim", absl::StrCat("is ", config->head_width,
                                     ", but rotation needs an even width"));
  }
}

void ReadExperts(Reader& in, ModelConfig* config) {
  config->is_moe_layer.assign(static_cast<std::size_t>(config->num_layers),
                              false);
  if (config->model_type != "qwen3_moe") {
    config->mlp_size = in.Size("intermediate_size");
    return;
  }
  config->num_experts = in.Size("num_experts");
  config->experts_per_token = in.Size("num_experts_per_tok");
  config->expert_size = in.Size("moe_intermediate_size");
  config->normalize_expert_weights = in.Bool("norm_topk_prob", false);
  if (config->experts_per_token > config->num_experts) {
    in.Fail("num_experts_per_tok",
            absl::StrCat("is ", config->experts_per_token, ", more than ",
                         config->num_experts, " experts"));
  }
  // Layer i has experts if it is not listed and (i + 1) % step == 0.
  const std::int64_t step = in.Size("decoder_sparse_step", 1);
  const std::vector<std::int64_t> dense = in.Integers("mlp_only_layers");
  bool any_dense = false;
  for (std::int64_t i = 0; i < config->num_layers; ++i) {
    const bool listed = std::find(dense.begin(), dense.end(), i) != dense.end();
    const bool moe = !listed && (i + 1) % step == 0;
    config->is_moe_layer[static_cast<std::size_t>(i)] = moe;
    any_dense = any_dense || !moe;
  }
  if (any_dense) {
    config->mlp_size = in.Size("intermediate_size");
  }
}

absl::StatusOr<Json> ParseObject(absl::string_view json,
                                 absl::string_view file) {
  Json root = Json::parse(json.begin(), json.end(), nullptr,
                          /*allow_exceptions=*/false);
  if (root.is_discarded()) {
    return absl::DataLossError(absl::StrCat(file, ": not valid JSON"));
  }
  if (!root.is_object()) {
    return absl::FailedPreconditionError(
        absl::StrCat(file, ": not a JSON object"));
  }
  return root;
}

}  // namespace

absl::StatusOr<ModelConfig> ModelConfig::Parse(absl::string_view json,
                                               absl::string_view file) {
  const absl::StatusOr<Json> root = ParseObject(json, file);
  if (!root.ok()) {
    return root.status();
  }
  Reader in(*root, std::string(file));
  ModelConfig config;
  RefuseWhatWouldChangeAnswers(in);
  RETURN_IF_ERROR(in.status());
  config.model_type = in.Text("model_type", "");
  config.vocab_size = in.Size("vocab_size");
  config.hidden_size = in.Size("hidden_size");
  config.num_layers = in.Size("num_hidden_layers");
  config.max_positions = in.Size("max_position_embeddings", 32768);
  config.rms_norm_eps = static_cast<float>(in.Number("rms_norm_eps", 1e-6));
  config.tied_head = in.Bool("tie_word_embeddings", false);
  config.dtype = in.Text("dtype", in.Text("torch_dtype", "float32"));
  for (const std::int64_t id : in.Integers("eos_token_id")) {
    config.end_tokens.push_back(static_cast<std::int32_t>(id));
  }
  RETURN_IF_ERROR(in.status());
  ReadAttention(in, &config);
  ReadRope(in, std::string(file), &config);
  ReadExperts(in, &config);
  RETURN_IF_ERROR(in.status());
  return config;
}

}  // namespace rtpurbo
