// Where stage 1 starts: the best low-width form of each retrieval head's
// logits on some training sequences (model/projection_start.h).

#ifndef RTPURBO_TRAINER_STAGES_PROJECTION_START_H_
#define RTPURBO_TRAINER_STAGES_PROJECTION_START_H_

#include <cstdint>
#include <vector>

#include "model/head_map.h"
#include "model/index_projection.h"
#include "model/transformer.h"

namespace rtpurbo {

struct ProjectionStart {
  enum class Kind : std::uint8_t {
    kSvdRope,   // D the mean rotation over distances window .. N
    kSvdPlain,  // D the identity
    kRandom,
  };
  Kind kind = Kind::kSvdRope;
  std::int64_t width = 0;  // R
  double ridge = 1e-3;
  std::uint64_t seed = 0;  // of kRandom
};

// The projections of the map's retrieval heads. Second moments are sums over
// all rows of `sequences`, which kRandom does not read. One dense forward pass
// a sequence. Where ranks share the rows of a sequence, all of them call this
// with the same ones, and get the same result; model.status() tells of errors.
IndexProjections StartProjections(
    Transformer& model, const HeadMap& map, const ProjectionStart& start,
    const std::vector<std::vector<std::int32_t>>& sequences);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_STAGES_PROJECTION_START_H_
