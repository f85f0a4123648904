// The sizes of a model, from the config.json of a published folder.
//
// What this program computes differently from what a config asks for would
// give wrong answers without a sign of it. So every key that changes the
// computation is either understood or refused by name.

#ifndef RTPURBO_MODEL_MODEL_CONFIG_H_
#define RTPURBO_MODEL_MODEL_CONFIG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace rtpurbo {

// Sizes carry the letters of the project's shape alphabet.
struct ModelConfig {
  std::string model_type;        // "qwen3" or "qwen3_moe"
  std::int64_t vocab_size = 0;   // V
  std::int64_t hidden_size = 0;  // D
  std::int64_t num_layers = 0;
  std::int64_t num_heads = 0;          // H
  std::int64_t num_kv_heads = 0;       // G, divides H
  std::int64_t head_width = 0;         // C, even
  std::int64_t mlp_size = 0;           // F of dense layers
  std::int64_t num_experts = 0;        // E, 0 in a dense model
  std::int64_t experts_per_token = 0;  // K
  std::int64_t expert_size = 0;        // F of an expert
  bool normalize_expert_weights = false;
  std::vector<bool> is_moe_layer;  // [num_layers]
  float rms_norm_eps = 1e-6F;
  double rope_base = 10000;
  std::int64_t max_positions = 0;
  bool tied_head = false;
  std::vector<std::int32_t> end_tokens;
  std::string dtype;  // of the published weights: "bfloat16", ...

  std::int64_t num_query_heads() const { return num_layers * num_heads; }
  // The key/value head of a query head.
  std::int64_t kv_head(std::int64_t head) const {
    return head / (num_heads / num_kv_heads);
  }

  // `file` is named in errors: DataLoss if it is not JSON, FailedPrecondition
  // for what is malformed or missing, Unimplemented for what is not supported.
  static absl::StatusOr<ModelConfig> Parse(absl::string_view json,
                                           absl::string_view file);
};

}  // namespace rtpurbo

#endif  // RTPURBO_MODEL_MODEL_CONFIG_H_
