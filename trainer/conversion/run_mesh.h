// The mesh that a configuration asks for.

#ifndef RTPURBO_TRAINER_CONVERSION_RUN_MESH_H_
#define RTPURBO_TRAINER_CONVERSION_RUN_MESH_H_

#include <memory>

#include "absl/status/statusor.h"
#include "configs/schema/mesh.pb.h"
#include "dist/mesh.h"

namespace rtpurbo {

MeshShape ShapeOf(const configs::Mesh& mesh);

// Collective over `world`, which must outlive the mesh.
// Returns Unimplemented, naming the axis, for a mesh that stages can't use yet;
// or as Mesh::Create().
absl::StatusOr<std::unique_ptr<Mesh>> MakeRunMesh(const configs::Mesh& mesh,
                                                  Communicator& world);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_CONVERSION_RUN_MESH_H_
