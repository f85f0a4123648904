#include "tests/trainer/test_model.h"

#include <span>
#include <utility>
#include <vector>

#include "absl/strings/substitute.h"
#include "configs/load.h"
#include "data/file_system.h"
#include "data/safetensors_writer.h"
#include "kernels/core/check.h"
#include "kernels/core/rng.h"
#include "model/model_config.h"
#include "model/parameter_names.h"
#include "tests/data/small_tokenizer.h"

namespace rtpurbo::testing {
namespace {

constexpr char kConfig[] = R"({
 "model_type": "qwen3_moe",
 "vocab_size": 8192,
 "hidden_size": 16,
 "num_hidden_layers": 2,
 "num_attention_heads": 4,
 "num_key_value_heads": 2,
 "head_dim": 16,
 "num_experts": $0,
 "num_experts_per_tok": 2,
 "moe_intermediate_size": 8,
 "norm_topk_prob": true,
 "hidden_act": "silu",
 "rope_theta": 10000.0,
 "max_position_embeddings": 4096,
 "tie_word_embeddings": true,
 "torch_dtype": "bfloat16",
 "eos_token_id": 0
})";
constexpr std::size_t kTextBytes = 60'000;

// Norms near 1, other weights of a size that makes attention uneven.
void WriteWeights(const std::string& dir, const std::string& config_json,
                  std::uint64_t seed) {
  const ModelConfig config =
      ModelConfig::Parse(config_json, "config.json").value();
  std::vector<SafetensorsSpec> specs;
  for (const GroupLayout& group : ModelLayout(config)) {
    for (const ParameterLayout& parameter : group.parameters) {
      for (const PublishedTensor& tensor : parameter.published) {
        specs.push_back({tensor.name, kSafetensorsBF16, tensor.shape});
      }
    }
  }
  const auto writer =
      SafetensorsWriter::Create(RealFileSystem(), dir, specs).value();
  std::uint64_t stream = 0;
  for (const SafetensorsSpec& spec : specs) {
    Rng rng(seed, stream++);
    const float center = spec.shape.size() == 1 ? 1 : 0;
    std::vector<float> values(
        static_cast<std::size_t>(NumElements(spec.shape)));
    for (float& value : values) {
      value = center + static_cast<float>(rng.Uniform() - 0.5);
    }
    CHECK(writer->Write(spec.name, 0, std::span<const float>(values)).ok());
  }
  CHECK(writer->Finish().ok());
}

}  // namespace

void WriteTestModel(const std::string& dir, std::uint64_t seed,
                    std::int64_t num_experts) {
  FileSystem& files = RealFileSystem();
  const std::string config = absl::Substitute(kConfig, num_experts);
  CHECK(files.CreateDirectories(JoinPath(dir, "text")).ok());
  CHECK(files.WriteFileAtomically(JoinPath(dir, "config.json"), config).ok());
  WriteWeights(dir, config, seed);
  CHECK(files
            .WriteFileAtomically(
                JoinPath(dir, "tokenizer.json"),
                files.ReadFile(TestDataPath("tiny/tokenizer.json")).value())
            .ok());
  const std::string text = files.ReadFile(TestDataPath("jargon.txt")).value();
  CHECK(files
            .WriteFileAtomically(JoinPath(dir, "text/a.txt"),
                                 text.substr(0, kTextBytes))
            .ok());
}

configs::Run TestRun(const std::string& dir) {
  return LoadRun(TestDataPath("../../configs/recipes/test_model.textproto"),
                 {"model.path=\"" + dir + "\"",
                  "data.paths=[\"" + dir + "/text\"]"},
                 1)
      .value();
}

}  // namespace rtpurbo::testing
