#include "trainer/conversion/run_ranks.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {

absl::StatusOr<RunRanks> MakeRunRanks(Communicator& world,
                                      const configs::Mesh& mesh) {
  for (const auto& [axis, size] :
       {std::pair{"sequence", mesh.sequence()}, {"expert", mesh.expert()}}) {
    if (size > 1) {
      return absl::UnimplementedError(absl::StrCat(
          "mesh.", axis, " is ", size, ", but no stage can use that axis yet: ",
          "give its ranks to mesh.shard or mesh.replica"));
    }
  }
  const auto num_shards = static_cast<int>(mesh.shard());
  const auto num_replicas = static_cast<int>(mesh.replica());
  CHECK_EQ(num_shards * num_replicas, world.size()) << "mesh";
  const int first = world.rank() / num_shards * num_shards;
  std::vector<int> shards;
  for (int i = 0; i < num_shards; ++i) {
    shards.push_back(first + i);
  }
  std::vector<int> replicas;
  for (int i = 0; i < num_replicas; ++i) {
    replicas.push_back(i * num_shards + world.rank() - first);
  }
  RunRanks ranks;
  ranks.world = &world;
  ASSIGN_OR_RETURN(ranks.shards, world.Split(shards));
  ASSIGN_OR_RETURN(ranks.replicas, world.Split(replicas));
  return ranks;
}

}  // namespace rtpurbo
