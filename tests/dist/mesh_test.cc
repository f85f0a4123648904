#include "dist/mesh.h"

#include <array>
#include <atomic>
#include <set>
#include <string>
#include <vector>

#include "dist/solo_communicator.h"
#include "dist/thread_communicator.h"
#include "tests/dist/mesh_shapes.h"
#include "tests/status_matchers.h"

namespace rtpurbo::testing {
namespace {

using ::testing::HasSubstr;

using Place = std::array<int, kNumMeshAxes>;

// All places of a grid, counted up like digits: the last axis is the innermost.
std::vector<Place> Places(const Place& extents) {
  std::vector<Place> places;
  Place place{};
  while (place[0] < extents[0]) {
    places.push_back(place);
    ++place.back();
    for (std::size_t axis = kNumMeshAxes - 1;
         axis > 0 && place[axis] == extents[axis]; --axis) {
      place[axis] = 0;
      ++place[axis - 1];
    }
  }
  return places;
}

// A tensor of what all members of `group` say, in their order.
std::vector<std::int32_t> Said(const ExecContext& ctx, Communicator& group,
                               int mine) {
  Tensor all = Tensor::Zeros(ctx, DType::kI32, {group.size()});
  EXPECT_OK(
      group.AllGather(ctx, FromHost<std::int32_t>(ctx, {mine}, {1}), &all));
  return ToHost<std::int32_t>(ctx, all);
}

// Expects that `group` is the ranks that differ from `rank` on `axes` alone.
void ExpectGroup(const ExecContext& ctx, const MeshShape& shape, int rank,
                 Communicator& group, const std::set<std::size_t>& axes) {
  const auto places = Places(shape.extents());
  std::vector<std::int32_t> expected;
  for (std::size_t other = 0; other < places.size(); ++other) {
    bool belongs = true;
    for (std::size_t axis = 0; axis < kNumMeshAxes; ++axis) {
      belongs = belongs && (axes.count(axis) == 1 ||
                            places[other][axis] ==
                                places[static_cast<std::size_t>(rank)][axis]);
    }
    if (belongs) {
      expected.push_back(static_cast<std::int32_t>(other));
    }
  }
  EXPECT_EQ(Said(ctx, group, rank), expected) << Describe(shape);
  EXPECT_EQ(expected.at(static_cast<std::size_t>(group.rank())), rank);
}

// Ranks are in one team if they differ on the sequence axis alone.
void ExpectTeams(const ExecContext& ctx, const MeshShape& shape,
                 Communicator& world, const WorkTeam& team) {
  EXPECT_EQ(team.count, world.size() / shape.sequence);
  auto places = Places(shape.extents());
  for (Place& place : places) {
    place[static_cast<std::size_t>(MeshAxis::kSequence)] = 0;
  }
  const std::vector<std::int32_t> teams = Said(ctx, world, team.index);
  for (std::size_t other = 0; other < teams.size(); ++other) {
    EXPECT_EQ(teams[other] == team.index,
              places[other] == places[static_cast<std::size_t>(world.rank())]);
    EXPECT_LT(teams[other], team.count);
  }
}

void ExpectGroups(const ExecContext& ctx, const MeshShape& shape,
                  Communicator& world) {
  ASSERT_OK_AND_ASSIGN(const auto mesh, Mesh::Create(shape, &world));
  const int rank = world.rank();
  const auto place = Places(shape.extents())[static_cast<std::size_t>(rank)];
  for (const MeshAxis axis : {MeshAxis::kReplica, MeshAxis::kShard,
                              MeshAxis::kSequence, MeshAxis::kExpert}) {
    const auto i = static_cast<std::size_t>(axis);
    ExpectGroup(ctx, shape, rank, mesh->along(axis), {i});
    EXPECT_EQ(mesh->index(axis), place[i]);
    EXPECT_EQ(mesh->along(axis).rank(), place[i]);
  }
  ExpectGroup(ctx, shape, rank, mesh->shard_sequence(), {1, 2});
  ExpectGroup(ctx, shape, rank, mesh->replica_expert(), {0, 3});
  ExpectGroup(ctx, shape, rank, mesh->world(), {0, 1, 2, 3});
  ExpectTeams(ctx, shape, world, mesh->team());
}

TEST(MeshTest, EveryGroupOfEveryShapeOfEightRanksHasItsMembersInOrder) {
  const std::vector<MeshShape> shapes = ShapesOf(8);
  ASSERT_EQ(shapes.size(), 20U);
  RunRanks(8, [&](Communicator& world) {
    const auto device = *Device::Open(DeviceType::kCpu);
    for (const MeshShape& shape : shapes) {
      ExpectGroups(device->ctx(), shape, world);
    }
  });
}

TEST(MeshTest, AxesNeedNotBePowersOfTwo) {
  RunShuffledRanks(6, /*seed=*/5, [](Communicator& world) {
    const auto device = *Device::Open(DeviceType::kCpu);
    for (const MeshShape& shape : ShapesOf(6)) {
      ExpectGroups(device->ctx(), shape, world);
    }
  });
}

TEST(MeshTest, OnlyGroupsThatDifferAreMade) {
  RunRanks(4, [](Communicator& world) {
    ASSERT_OK_AND_ASSIGN(
        const auto mesh,
        Mesh::Create({.replica = 2, .shard = 2, .sequence = 1, .expert = 1},
                     &world));
    EXPECT_EQ(world.stats().of(CommOp::kSplit).num_calls, 2);
    EXPECT_EQ(&mesh->along(MeshAxis::kShard), &mesh->shard_sequence());
    EXPECT_EQ(&mesh->along(MeshAxis::kReplica), &mesh->replica_expert());
    ASSERT_OK_AND_ASSIGN(const auto flat, Mesh::Create({.shard = 4}, &world));
    EXPECT_EQ(world.stats().of(CommOp::kSplit).num_calls, 2);
    EXPECT_EQ(&flat->along(MeshAxis::kShard), &world);
  });
}

void ExpectRefused(const MeshShape& shape, const std::string& message) {
  SoloCommunicator world;
  EXPECT_THAT(Mesh::Create(shape, &world),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)));
}

TEST(MeshTest, AnotherNumberOfRanksIsRefusedWithAllNumbers) {
  ExpectRefused({.replica = 2, .shard = 3, .sequence = 1, .expert = 5},
                "the mesh is replica 2 x shard 3 x sequence 1 x expert 5, for "
                "30 ranks, but there are 1");
  ExpectRefused({.replica = 1 << 20,
                 .shard = 1 << 20,
                 .sequence = 1 << 20,
                 .expert = 1 << 20},
                "but there are 1");
}

TEST(MeshTest, AxesWithoutRanksAreRefused) {
  ExpectRefused({.sequence = 0}, "sequence 0");
  ExpectRefused({.replica = -1, .shard = -1}, "every axis has at least 1 rank");
}

}  // namespace
}  // namespace rtpurbo::testing
