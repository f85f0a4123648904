#include "trainer/plan/plan_groups.h"

#include "model/param_group.h"

namespace rtpurbo {
namespace {

PlanGroup GroupOf(const PlanCase& one, const GroupLayout& layout,
                  std::int64_t block) {
  PlanGroup group;
  group.role = layout.role;
  group.block = block;
  group.trainable = one.trainable.count(layout.role) > 0;
  group.ranks = std::int64_t{one.mesh.shard} * one.mesh.sequence;
  group.replicas =
      std::int64_t{one.mesh.replica} * (layout.by_expert ? 1 : one.mesh.expert);
  std::vector<std::int64_t> sizes;
  for (const ParameterLayout& parameter : layout.parameters) {
    sizes.push_back(NumElements(parameter.shape));
  }
  group.gathered = ParamGroup::PaddedSize(sizes, group.ranks);
  group.shard = group.gathered / group.ranks;
  return group;
}

}  // namespace

std::vector<PlanGroup> GroupsOf(const PlanCase& one) {
  std::vector<PlanGroup> groups = {
      GroupOf(one, EmbeddingLayout(one.config), -1)};
  for (std::int64_t layer = 0; layer < one.config.num_layers; ++layer) {
    for (const GroupLayout& layout :
         BlockLayout(one.config, layer, {0, one.mesh.expert})) {
      groups.push_back(GroupOf(one, layout, layer));
    }
  }
  groups.push_back(GroupOf(one, FinalNormLayout(one.config), -1));
  if (one.config.tied_head) {
    groups.front().uses = 2;
  } else {
    groups.push_back(GroupOf(one, HeadLayout(one.config), -1));
  }
  return groups;
}

}  // namespace rtpurbo
