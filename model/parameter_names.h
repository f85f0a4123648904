// Our parameters and the tensors of a published checkpoint that hold them.
//
// A parameter of ours is one or more published tensors laid end to end: the
// experts of a layer are one parameter [E, F, D] here and E tensors there. A
// rank of the expert axis has a slice of them, the same number of experts on
// each.

#ifndef RTPURBO_MODEL_PARAMETER_NAMES_H_
#define RTPURBO_MODEL_PARAMETER_NAMES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/core/tensor.h"
#include "model/model_config.h"

namespace rtpurbo {

// What a group of parameters does; a stage trains or freezes by role.
enum class Role : std::uint8_t {
  kEmbedding,
  kAttention,
  kNorms,
  kRouter,
  kExperts,  // also the feed-forward weights of a dense layer
  kHead,
};

constexpr const char* Name(Role role) {
  switch (role) {
    case Role::kEmbedding:
      return "embedding";
    case Role::kAttention:
      return "attention";
    case Role::kNorms:
      return "norms";
    case Role::kRouter:
      return "router";
    case Role::kExperts:
      return "experts";
    case Role::kHead:
      return "head";
  }
  return "?";
}

struct PublishedTensor {
  std::string name;
  Shape shape;
};

struct ParameterLayout {
  std::string name;  // within its group, as in "q"
  Shape shape;  // of what this rank has of it, with those it shares it with
  std::vector<PublishedTensor> published;  // end to end
  // Of the parameter; the elements of `shape` are those from `begin` on.
  Shape whole;
  std::int64_t begin = 0;
};

// Parameters that are gathered, trained and sharded together.
struct GroupLayout {
  std::string name;  // as in "block.12.experts", stable across world sizes
  Role role;
  std::vector<ParameterLayout> parameters;
  bool by_expert = false;  // each is a stack of experts, which can be cut
};

// Position of each parameter in its group.
struct AttentionIndex {
  enum : std::uint8_t { kQuery, kKey, kValue, kOutput };
};
struct NormIndex {
  enum : std::uint8_t { kInput, kPostAttention, kQuery, kKey };
};
struct FeedForwardIndex {
  enum : std::uint8_t { kGate, kUp, kDown };
};

// Slice `index` of `count` equal ones of each layer's experts.
struct ExpertSlice {
  int index = 0;
  int count = 1;
};

GroupLayout EmbeddingLayout(const ModelConfig& config);
GroupLayout FinalNormLayout(const ModelConfig& config);
// Attention, norms, router (if the layer has experts), experts: in this order.
// REQUIRES: the slices' count divides the number of experts, if there are any.
std::vector<GroupLayout> BlockLayout(const ModelConfig& config,
                                     std::int64_t layer,
                                     const ExpertSlice& slice = {});
// All groups of a model, in the order of the forward pass.
std::vector<GroupLayout> ModelLayout(const ModelConfig& config);
// REQUIRES: the head is not tied to the embedding.
GroupLayout HeadLayout(const ModelConfig& config);

}  // namespace rtpurbo

#endif  // RTPURBO_MODEL_PARAMETER_NAMES_H_
