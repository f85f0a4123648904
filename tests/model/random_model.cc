#include "tests/model/random_model.h"

#include "dist/solo_communicator.h"
#include "kernels/core/rng.h"
#include "tests/device_test.h"

namespace rtpurbo::testing {
namespace {

constexpr std::int64_t kPositions = 512;

// Norms near 1, matrices small enough that no softmax saturates.
void Fill(const ExecContext& ctx, const GroupLayout& layout, unsigned seed,
          ParamGroup* group) {
  std::vector<float> values = Normal(group->shard().size(), seed);
  for (float& value : values) {
    value = layout.role == Role::kNorms ? 1 + value / 10 : value / 4;
  }
  CopyBytes(ctx, values.data(), group->shard().bytes(),
            group->shard().num_bytes());
}

}  // namespace

RandomModel::RandomModel(const ModelConfig& config,
                         const std::set<Role>& trainable, unsigned seed)
    : device_(*Device::Open(DeviceType::kCpu)),
      alone_(std::make_unique<SoloCommunicator>()) {
  Transformer::Options options;
  options.trainable = trainable;
  options.max_positions = kPositions;
  options.comm = alone_.get();
  model_ = std::make_unique<Transformer>(ctx(), config, options);
  for (const Transformer::Group& group : model_->groups()) {
    Fill(ctx(), group.layout, seed++, group.params.get());
  }
}

RandomModel::~RandomModel() = default;

std::vector<float> RandomModel::Grads() const {
  std::vector<float> all;
  for (const Transformer::Group& group : model_->groups()) {
    if (group.params->options().trainable) {
      const std::vector<float> grads =
          ToFloats(ctx(), group.params->grad_shard());
      all.insert(all.end(), grads.begin(), grads.end());
    }
  }
  return all;
}

std::vector<std::int32_t> RandomTokens(std::int64_t count, std::uint64_t seed) {
  Rng rng(seed, 0);
  std::vector<std::int32_t> tokens;
  for (std::int64_t i = 0; i < count; ++i) {
    tokens.push_back(static_cast<std::int32_t>(rng.Below(32)));
  }
  return tokens;
}

}  // namespace rtpurbo::testing
