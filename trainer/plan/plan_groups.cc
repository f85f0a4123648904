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
  const bool by_expert =
      layout.role == Role::kExperts && one.mesh.expert > 1 && block >= 0 &&
      one.config.is_moe_layer[static_cast<std::size_t>(block)];
  group.ranks = by_expert ? one.mesh.shard
                          : std::int64_t{one.mesh.shard} * one.mesh.sequence;
  std::vector<std::int64_t> sizes;
  for (const ParameterLayout& parameter : layout.parameters) {
    const std::int64_t elements = NumElements(parameter.shape);
    sizes.push_back(by_expert ? elements / one.mesh.expert : elements);
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
    for (const GroupLayout& layout : BlockLayout(one.config, layer)) {
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
