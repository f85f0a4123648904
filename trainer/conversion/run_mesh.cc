#include "trainer/conversion/run_mesh.h"

#include "absl/strings/str_cat.h"

namespace rtpurbo {

MeshShape ShapeOf(const configs::Mesh& mesh) {
  return {static_cast<int>(mesh.replica()), static_cast<int>(mesh.shard()),
          static_cast<int>(mesh.sequence()), static_cast<int>(mesh.expert())};
}

absl::StatusOr<std::unique_ptr<Mesh>> MakeRunMesh(const configs::Mesh& mesh,
                                                  Communicator& world) {
  if (mesh.expert() > 1) {
    return absl::UnimplementedError(absl::StrCat(
        "mesh.expert is ", mesh.expert(),
        ", but no stage can use that axis yet: give its ranks to mesh.shard, "
        "mesh.replica or mesh.sequence"));
  }
  return Mesh::Create(ShapeOf(mesh), &world);
}

}  // namespace rtpurbo
