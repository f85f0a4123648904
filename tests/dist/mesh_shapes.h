// Every mesh of a number of ranks.

#ifndef RTPURBO_TESTS_DIST_MESH_SHAPES_H_
#define RTPURBO_TESTS_DIST_MESH_SHAPES_H_

#include <vector>

#include "dist/mesh.h"

namespace rtpurbo::testing {

inline int NumRanks(const MeshShape& shape) {
  return shape.replica * shape.shard * shape.sequence * shape.expert;
}

inline std::vector<int> DivisorsOf(int n) {
  std::vector<int> divisors;
  for (int d = 1; d <= n; ++d) {
    if (n % d == 0) {
      divisors.push_back(d);
    }
  }
  return divisors;
}

// 20 of 8 ranks.
inline std::vector<MeshShape> ShapesOf(int num_ranks) {
  std::vector<MeshShape> shapes;
  for (const int replica : DivisorsOf(num_ranks)) {
    for (const int shard : DivisorsOf(num_ranks / replica)) {
      const int inner = num_ranks / replica / shard;
      for (const int sequence : DivisorsOf(inner)) {
        shapes.push_back({replica, shard, sequence, inner / sequence});
      }
    }
  }
  return shapes;
}

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_DIST_MESH_SHAPES_H_
