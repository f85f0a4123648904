// The mesh that a configuration asks for.

#ifndef RTPURBO_TRAINER_CONVERSION_RUN_MESH_H_
#define RTPURBO_TRAINER_CONVERSION_RUN_MESH_H_

#include "configs/schema/mesh.pb.h"
#include "dist/mesh.h"

namespace rtpurbo {

inline MeshShape ShapeOf(const configs::Mesh& mesh) {
  return {static_cast<int>(mesh.replica()), static_cast<int>(mesh.shard()),
          static_cast<int>(mesh.sequence()), static_cast<int>(mesh.expert())};
}

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_CONVERSION_RUN_MESH_H_
