// The next token from a row of logits z: the highest, or one drawn from
// softmax(z / temperature), cut to its most probable tokens.

#ifndef RTPURBO_MODEL_SAMPLING_H_
#define RTPURBO_MODEL_SAMPLING_H_

#include <cstdint>

#include "kernels/core/tensor.h"

namespace rtpurbo {

struct Sampling {
  double temperature = 0;  // 0: the highest logit, of equal ones the lower id
  // In (0, 1]. Drawn from are the fewest tokens, most probable first, that hold
  // this share of the probability (nucleus sampling: Holtzman et al. 2019,
  // arXiv 1904.09751). Of equally probable ones the lower id first.
  double top_p = 1;
  std::uint64_t seed = 0;
};

// z_V: [V] of a float type, on ctx's device. Draw number `index` of a seed is
// always the same one, so nothing needs to be kept between tokens. NaN is the
// lowest of all logits.
// REQUIRES: temperature >= 0, 0 < top_p <= 1, V >= 1.
std::int32_t ChooseToken(const ExecContext& ctx, const Sampling& sampling,
                         std::int64_t index, const Tensor& z_V);

}  // namespace rtpurbo

#endif  // RTPURBO_MODEL_SAMPLING_H_
