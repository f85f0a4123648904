// The bytes that one rank needs at its peak, from the sizes of the model alone.
//
// With n ranks that share a group of parameters, P elements of it in all, b
// bytes of the compute type and T tokens on this rank:
//   weights   P/n of 4 bytes if it trains, else of b
//   gathered  two buffers of the largest group of each role, of b bytes; none
//             where one rank holds all of it in that type
//   grads     P/n of 4 bytes if it trains; over several ranks also a whole
//             block's, and the largest shard's sum
//   moments   P/n of 8 bytes if it trains
// All is shared over shard x sequence; with an expert axis P of the experts are
// those that a rank has.
//
// Activations that a block keeps for its backward pass (autograd/ops), in
// elements a token; D, H, G, C, K and F as everywhere:
//   4 D            into, and out of, both norms
//   3 H C + 3 G C  queries before their norm and after rotation, outputs; keys
//                  before and after, values
//   K (2 D + 3 F)  rows of the experts in and out, gate, up, product
//                  (3 F without experts)
// and 4 bytes each of 2 + 2 H + G + E + 4 K floats and indices. A last block of
// R output rows keeps D, its norm's output and the keys and values of all
// tokens, and the rest of R rows only.
//   distill            the sum over blocks, the output's gradient (D) and the
//                      larger of: a gradient of the experts' outputs (K D); the
//                      work space of the attention's backward less what the
//                      feed-forward part has given back by then
//   distill, recompute D a block, and all of that for one block
//   align              nothing is kept; inside a block at most
//                      5 D + 3 H C + 3 G C + max(D + K (2 D + F), K (D + 3 F))
// On the CPU the attention's backward works in 16 pieces of keys and values in
// float, half full on average; on a GPU its work space is not counted.
// The sequence axis adds the gathered keys and values of heads that retrieve.

#ifndef RTPURBO_TRAINER_PLAN_MEMORY_H_
#define RTPURBO_TRAINER_PLAN_MEMORY_H_

#include <cstdint>

#include "trainer/plan/plan_case.h"

namespace rtpurbo {

// Bytes.
struct MemoryPlan {
  std::int64_t weights = 0;
  std::int64_t gathered = 0;
  std::int64_t grads = 0;
  std::int64_t moments = 0;
  std::int64_t activations = 0;
  std::int64_t total() const {
    return weights + gathered + grads + moments + activations;
  }
};

MemoryPlan PlanMemory(const PlanCase& one);

// Bytes that block `layer` keeps for its backward pass.
std::int64_t KeptBytes(const PlanCase& one, std::int64_t layer);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_PLAN_MEMORY_H_
