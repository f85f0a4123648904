// A transformer small enough for tests, with weights from a seed.

#ifndef RTPURBO_TESTS_MODEL_RANDOM_MODEL_H_
#define RTPURBO_TESTS_MODEL_RANDOM_MODEL_H_

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "dist/thread_communicator.h"
#include "model/transformer.h"
#include "tests/model/small_config.h"

namespace rtpurbo::testing {

inline const std::set<Role> kAllRoles = {Role::kEmbedding, Role::kAttention,
                                         Role::kNorms,     Role::kRouter,
                                         Role::kExperts,   Role::kHead};

// Owns its device; one rank.
class RandomModel {
 public:
  explicit RandomModel(const ModelConfig& config = SmallConfig(),
                       const std::set<Role>& trainable = kAllRoles,
                       unsigned seed = 1);
  ~RandomModel();

  Transformer& operator*() { return *model_; }
  Transformer* operator->() { return model_.get(); }
  ExecContext ctx() const { return device_->ctx(); }
  // All gradients, group by group.
  std::vector<float> Grads() const;

 private:
  std::unique_ptr<Device> device_;
  std::unique_ptr<Communicator> alone_;
  std::unique_ptr<Transformer> model_;
};

// Ids below the vocabulary of SmallConfig().
std::vector<std::int32_t> RandomTokens(std::int64_t count, std::uint64_t seed);

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_MODEL_RANDOM_MODEL_H_
