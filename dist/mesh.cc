#include "dist/mesh.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "dist/solo_communicator.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

using Indices = std::array<int, kNumMeshAxes>;

// The last axis is the innermost one.
Indices IndicesOf(int rank, const Indices& extents) {
  Indices indices{};
  for (std::size_t axis = kNumMeshAxes; axis-- > 0;) {
    indices[axis] = rank % extents[axis];
    rank /= extents[axis];
  }
  return indices;
}

absl::Status Validate(const MeshShape& shape, int num_ranks) {
  std::int64_t product = 1;
  for (const int extent : shape.extents()) {
    if (extent < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("the mesh is ", Describe(shape),
                       ", but every axis has at least 1 rank"));
    }
    // Stops growing past any world, so that it cannot overflow.
    product = std::min<std::int64_t>(product * extent, INT32_MAX);
  }
  if (product != num_ranks) {
    return absl::InvalidArgumentError(
        absl::StrCat("the mesh is ", Describe(shape), ", for ", product,
                     " ranks, but there are ", num_ranks));
  }
  return absl::OkStatus();
}

}  // namespace

std::string Describe(const MeshShape& shape) {
  return absl::StrCat("replica ", shape.replica, " x shard ", shape.shard,
                      " x sequence ", shape.sequence, " x expert ",
                      shape.expert);
}

absl::StatusOr<std::unique_ptr<Mesh>> Mesh::Create(const MeshShape& shape,
                                                   Communicator* world) {
  RETURN_IF_ERROR(Validate(shape, world->size()));
  std::unique_ptr<Mesh> mesh(new Mesh(shape, world));
  RETURN_IF_ERROR(mesh->MakeGroups());
  return mesh;
}

Mesh::Mesh(const MeshShape& shape, Communicator* world)
    : shape_(shape),
      world_(world),
      index_(IndicesOf(world->rank(), shape.extents())) {}

int Mesh::index(MeshAxis axis) const {
  return index_[At(axis)];
}

WorkTeam Mesh::team() const {
  const auto extents = shape_.extents();
  WorkTeam team;
  for (std::size_t axis = 0; axis < kNumMeshAxes; ++axis) {
    if (axis != At(MeshAxis::kSequence)) {
      team.index = team.index * extents[axis] + index_[axis];
      team.count *= extents[axis];
    }
  }
  return team;
}

std::vector<NamedGroup> Mesh::named_groups() const {
  constexpr std::array<const char*, kNumGroups> kNames = {
      "replica",          "shard",           "sequence", "expert",
      "shard x sequence", "replica x expert"};
  std::vector<NamedGroup> named;
  const auto add = [&](const char* name, Communicator* group) {
    const bool is_new = std::none_of(
        named.begin(), named.end(),
        [&](const NamedGroup& other) { return other.group == group; });
    if (is_new && group->size() > 1) {
      named.push_back({name, group});
    }
  };
  for (std::size_t i = 0; i < kNumGroups; ++i) {
    add(kNames[i], groups_[i]);
  }
  add("world", world_);
  return named;
}

// Which groups are made, and in what order, depends on the shape alone.
absl::Status Mesh::MakeGroups() {
  const std::array<std::vector<MeshAxis>, kNumGroups> axes = {{
      {MeshAxis::kReplica},
      {MeshAxis::kShard},
      {MeshAxis::kSequence},
      {MeshAxis::kExpert},
      {MeshAxis::kShard, MeshAxis::kSequence},
      {MeshAxis::kReplica, MeshAxis::kExpert},
  }};
  std::map<std::vector<int>, Communicator*> made;
  for (std::size_t i = 0; i < kNumGroups; ++i) {
    const std::vector<int> ranks = RanksAlong(axes[i]);
    Communicator*& group = made[ranks];
    if (static_cast<int>(ranks.size()) == world_->size()) {
      group = world_;
    } else if (group == nullptr && ranks.size() == 1) {
      group = owned_.emplace_back(std::make_unique<SoloCommunicator>()).get();
    } else if (group == nullptr) {
      ASSIGN_OR_RETURN(std::unique_ptr<Communicator> split,
                       world_->Split(ranks));
      group = owned_.emplace_back(std::move(split)).get();
    }
    groups_[i] = group;
  }
  return absl::OkStatus();
}

// The ranks, in order, that have this one's index on all other axes.
std::vector<int> Mesh::RanksAlong(const std::vector<MeshAxis>& axes) const {
  std::vector<int> ranks;
  for (int rank = 0; rank < world_->size(); ++rank) {
    Indices indices = IndicesOf(rank, shape_.extents());
    for (const MeshAxis axis : axes) {
      indices[At(axis)] = index_[At(axis)];
    }
    if (indices == index_) {
      ranks.push_back(rank);
    }
  }
  return ranks;
}

}  // namespace rtpurbo
