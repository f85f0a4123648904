// The sizes of a model for tests.

#ifndef RTPURBO_TESTS_MODEL_SMALL_CONFIG_H_
#define RTPURBO_TESTS_MODEL_SMALL_CONFIG_H_

#include "model/model_config.h"

namespace rtpurbo::testing {

// 2 layers, width 16, 4 query and 2 key/value heads of width 8, 4 experts (2 a
// token) in layer 1, a dense layer 0, 32 tokens, tied.
inline ModelConfig SmallConfig() {
  ModelConfig config;
  config.model_type = "qwen3_moe";
  config.vocab_size = 32;
  config.hidden_size = 16;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_width = 8;
  config.mlp_size = 24;
  config.num_experts = 4;
  config.experts_per_token = 2;
  config.expert_size = 12;
  config.normalize_expert_weights = true;
  config.is_moe_layer = {false, true};
  config.tied_head = true;
  config.end_tokens = {0};
  return config;
}

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_MODEL_SMALL_CONFIG_H_
