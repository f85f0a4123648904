// The ranks of a run, and the groups in which they hold a model.

#ifndef RTPURBO_TRAINER_CONVERSION_RUN_RANKS_H_
#define RTPURBO_TRAINER_CONVERSION_RUN_RANKS_H_

#include <memory>

#include "absl/status/statusor.h"
#include "configs/schema/mesh.pb.h"
#include "dist/communicator.h"

namespace rtpurbo {

struct RunRanks {
  Communicator* world = nullptr;           // all, not owned
  std::unique_ptr<Communicator> shards;    // that hold a model together
  std::unique_ptr<Communicator> replicas;  // that hold the same part of it
};

// Splits `world`, which must outlive the result: ranks of a shard group are
// neighbours. Collective.
// Returns Unimplemented, naming the axis, for a mesh that stages can't use yet.
// REQUIRES: the mesh has as many places as the world ranks.
absl::StatusOr<RunRanks> MakeRunRanks(Communicator& world,
                                      const configs::Mesh& mesh);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_CONVERSION_RUN_RANKS_H_
