#include "trainer/conversion/run_mesh.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace rtpurbo {

absl::StatusOr<std::unique_ptr<Mesh>> MakeRunMesh(const configs::Mesh& mesh,
                                                  Communicator& world) {
  for (const auto& [axis, size] :
       {std::pair{"sequence", mesh.sequence()}, {"expert", mesh.expert()}}) {
    if (size > 1) {
      return absl::UnimplementedError(absl::StrCat(
          "mesh.", axis, " is ", size, ", but no stage can use that axis yet: ",
          "give its ranks to mesh.shard or mesh.replica"));
    }
  }
  MeshShape shape;
  shape.replica = static_cast<int>(mesh.replica());
  shape.shard = static_cast<int>(mesh.shard());
  return Mesh::Create(shape, &world);
}

}  // namespace rtpurbo
