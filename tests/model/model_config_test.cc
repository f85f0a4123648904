#include "model/model_config.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/status_matchers.h"

namespace rtpurbo {
namespace {

using Json = nlohmann::json;
using ::rtpurbo::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Json Moe() {
  return {{"model_type", "qwen3_moe"},
          {"vocab_size", 100},
          {"hidden_size", 64},
          {"num_hidden_layers", 6},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"head_dim", 32},
          {"num_experts", 8},
          {"num_experts_per_tok", 2},
          {"moe_intermediate_size", 48},
          {"intermediate_size", 96},
          {"norm_topk_prob", true},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 1000000.0},
          {"max_position_embeddings", 4096},
          {"tie_word_embeddings", true},
          {"eos_token_id", 3}};
}

absl::StatusOr<ModelConfig> Parse(const Json& json) {
  return ModelConfig::Parse(json.dump(), "x/config.json");
}

std::string ErrorOf(const Json& json) {
  const auto config = Parse(json);
  return config.ok() ? "" : std::string(config.status().message());
}

std::string ErrorWith(const char* key, const Json& value) {
  Json json = Moe();
  json[key] = value;
  return ErrorOf(json);
}

std::string ErrorWithout(const char* key) {
  Json json = Moe();
  json.erase(key);
  return ErrorOf(json);
}

TEST(ModelConfigTest, ReadsAMixtureOfExperts) {
  const auto config = Parse(Moe());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->num_query_heads(), 24);
  EXPECT_EQ(config->head_width, 32);
  EXPECT_EQ(config->kv_head(1), 0);
  EXPECT_EQ(config->kv_head(2), 1);
  EXPECT_TRUE(config->normalize_expert_weights);
  EXPECT_TRUE(config->tied_head);
  EXPECT_EQ(config->rope_base, 1e6);
  EXPECT_THAT(config->end_tokens, ElementsAre(3));
  EXPECT_THAT(config->is_moe_layer,
              ElementsAre(true, true, true, true, true, true));
}

TEST(ModelConfigTest, SparseStepAndListedLayersAreDense) {
  Json json = Moe();
  json["decoder_sparse_step"] = 2;
  json["mlp_only_layers"] = {3};
  const auto config = Parse(json);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(config->is_moe_layer,
              ElementsAre(false, true, false, false, false, true));
  EXPECT_EQ(config->mlp_size, 96);
  json.erase("intermediate_size");
  EXPECT_THAT(ErrorOf(json), HasSubstr("intermediate_size is missing"));
}

TEST(ModelConfigTest, DenseModelNeedsNoExperts) {
  Json json = Moe();
  json["model_type"] = "qwen3";
  json.erase("num_experts");
  const auto config = Parse(json);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->num_experts, 0);
  EXPECT_FALSE(config->is_moe_layer[0]);
}

TEST(ModelConfigTest, HeadWidthFollowsFromTheHiddenSize) {
  Json json = Moe();
  json.erase("head_dim");
  EXPECT_EQ(Parse(json)->head_width, 16);
  json["hidden_size"] = 66;
  EXPECT_THAT(ErrorOf(json), HasSubstr("head_dim is missing"));
}

TEST(ModelConfigTest, ReadsBothSpellingsOfRotation) {
  Json json = Moe();
  json.erase("rope_theta");
  json["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 5e5}};
  EXPECT_EQ(Parse(json)->rope_base, 5e5);
  json.erase("rope_parameters");
  EXPECT_EQ(Parse(json)->rope_base, 10000);
  json["rope_scaling"] = nullptr;
  EXPECT_TRUE(Parse(json).ok());
}

TEST(ModelConfigTest, EndTokensMayBeAList) {
  Json json = Moe();
  json["eos_token_id"] = {5, 7};
  EXPECT_THAT(Parse(json)->end_tokens, ElementsAre(5, 7));
}

TEST(ModelConfigTest, WhatWouldChangeAnswersIsRefusedByName) {
  EXPECT_THAT(ErrorWith("model_type", "mixtral"), HasSubstr("model_type"));
  EXPECT_THAT(ErrorWith("attention_bias", true), HasSubstr("attention_bias"));
  EXPECT_THAT(ErrorWith("use_sliding_window", true),
              HasSubstr("use_sliding_window"));
  EXPECT_THAT(ErrorWith("hidden_act", "gelu"), HasSubstr("hidden_act"));
  EXPECT_THAT(ErrorWith("rope_scaling", {{"type", "yarn"}, {"factor", 4}}),
              HasSubstr("rope_scaling"));
  EXPECT_THAT(ErrorWith("rope_parameters", {{"rope_type", "llama3"}}),
              HasSubstr("rope_parameters"));
  EXPECT_THAT(ErrorWith("partial_rotary_factor", 0.5),
              HasSubstr("partial_rotary_factor"));
  EXPECT_THAT(ErrorWith("quantization_config", Json::object()),
              HasSubstr("quantization_config"));
  EXPECT_THAT(ErrorWith("layer_types", {"sliding_attention"}),
              HasSubstr("layer_types"));
}

TEST(ModelConfigTest, MalformedValuesNameFileAndKey) {
  EXPECT_THAT(ErrorWithout("model_type"),
              HasSubstr("x/config.json: model_type is missing"));
  EXPECT_THAT(ErrorWithout("vocab_size"), HasSubstr("vocab_size is missing"));
  EXPECT_THAT(ErrorWith("vocab_size", -3), HasSubstr("vocab_size is -3"));
  EXPECT_THAT(ErrorWith("vocab_size", 1e30), HasSubstr("vocab_size"));
  EXPECT_THAT(ErrorWith("hidden_size", "64"), HasSubstr("hidden_size"));
  EXPECT_THAT(ErrorWith("rms_norm_eps", 0), HasSubstr("rms_norm_eps"));
  EXPECT_THAT(ErrorWith("num_key_value_heads", 3), HasSubstr("divide"));
  EXPECT_THAT(ErrorWith("head_dim", 31), HasSubstr("even"));
  EXPECT_THAT(ErrorWith("num_experts_per_tok", 9), HasSubstr("more than"));
  EXPECT_THAT(ErrorWith("mlp_only_layers", {-1}), HasSubstr("mlp_only_layers"));
  EXPECT_THAT(ErrorWith("eos_token_id", "end"), HasSubstr("eos_token_id"));
}

// None of these is a mistake on the command line or in a run's configuration.
TEST(ModelConfigTest, DamagedUnfitAndUnsupportedConfigsAreToldApart) {
  EXPECT_THAT(
      ModelConfig::Parse("{\"a\":", "f"),
      StatusIs(absl::StatusCode::kDataLoss, HasSubstr("f: not valid JSON")));
  EXPECT_THAT(ModelConfig::Parse("[]", "f"),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("f: not a JSON object")));
  Json json = Moe();
  json["head_dim"] = 31;
  EXPECT_THAT(Parse(json), StatusIs(absl::StatusCode::kFailedPrecondition));
  json["attention_bias"] = true;
  EXPECT_THAT(Parse(json), StatusIs(absl::StatusCode::kUnimplemented));
}

}  // namespace
}  // namespace rtpurbo
