// The ranks of a run as a grid with named axes, and a communicator for each.
//
//   replica   the same parameters and other data: gradients are summed
//   shard     other data, and a part of each parameter (FSDP)
//   sequence  other tokens of the same documents
//   expert    other data, and other experts of a layer
//
// Rank ((replica * S + shard) * Q + sequence) * E + expert of the world, with
// the extents S, Q and E: the axis that exchanges most is the innermost, whose
// ranks are neighbours on one host. Nobody else does arithmetic with ranks.
//
// The parameters that are no experts are the same along replica and expert; a
// rank's experts along replica alone. All are cut over shard x sequence.
//
// Groups are made in one order on all ranks: replica, shard, sequence, expert,
// shard x sequence, replica x expert. A group of one rank, or of the same ranks
// as an earlier one, costs no communicator.

#ifndef RTPURBO_DIST_MESH_H_
#define RTPURBO_DIST_MESH_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dist/agree.h"
#include "dist/communicator.h"

namespace rtpurbo {

enum class MeshAxis : std::uint8_t { kReplica, kShard, kSequence, kExpert };
inline constexpr std::size_t kNumMeshAxes = 4;

// Extents by axis, each at least 1.
struct MeshShape {
  int replica = 1;
  int shard = 1;
  int sequence = 1;
  int expert = 1;

  std::array<int, kNumMeshAxes> extents() const {
    return {replica, shard, sequence, expert};
  }
};
// "replica 2 x shard 4 x sequence 1 x expert 1"
std::string Describe(const MeshShape& shape);

struct NamedGroup {
  const char* name;
  Communicator* group;
};

class Mesh {
 public:
  // A call of all ranks of `world`, which must outlive the mesh.
  // Returns InvalidArgument with all numbers if the extents do not multiply to
  // the size of the world, or one is below 1; errors of Split.
  static absl::StatusOr<std::unique_ptr<Mesh>> Create(const MeshShape& shape,
                                                      Communicator* world);
  Mesh(const Mesh&) = delete;
  Mesh& operator=(const Mesh&) = delete;

  const MeshShape& shape() const { return shape_; }
  // Where this rank is on an axis: its rank in along(axis).
  int index(MeshAxis axis) const;

  // The ranks that differ from this one on `axis` alone, in order.
  Communicator& along(MeshAxis axis) { return *groups_[At(axis)]; }
  // Those that share parameters, each with a part of them: they differ on shard
  // and sequence; sequence is the inner one.
  Communicator& shard_sequence() { return *groups_[kShardSequence]; }
  // Those that hold the same part of the parameters that are no experts: expert
  // is the inner one. Of the experts those along(kReplica) do.
  Communicator& replica_expert() { return *groups_[kReplicaExpert]; }
  // The ranks that work on the same sequences differ on the sequence axis
  // alone. Which of such sets of ranks this one is in, and how many there are.
  WorkTeam team() const;
  // All ranks.
  Communicator& world() { return *world_; }
  // Each group of several ranks once, by the name of its axes ("shard", "shard
  // x sequence"); all ranks, if no axes have them all, are "world".
  std::vector<NamedGroup> named_groups() const;

 private:
  static constexpr std::size_t kShardSequence = kNumMeshAxes;
  static constexpr std::size_t kReplicaExpert = kNumMeshAxes + 1;
  static constexpr std::size_t kNumGroups = kNumMeshAxes + 2;

  static std::size_t At(MeshAxis axis) {
    return static_cast<std::size_t>(axis);
  }
  Mesh(const MeshShape& shape, Communicator* world);
  absl::Status MakeGroups();
  std::vector<int> RanksAlong(const std::vector<MeshAxis>& axes) const;

  const MeshShape shape_;
  Communicator* const world_;
  std::array<int, kNumMeshAxes> index_{};
  std::array<Communicator*, kNumGroups> groups_{};
  std::vector<std::unique_ptr<Communicator>> owned_;
};

}  // namespace rtpurbo

#endif  // RTPURBO_DIST_MESH_H_
