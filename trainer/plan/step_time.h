// The seconds of one training step of a rank, from operations and bytes.
//
// A micro-batch of T tokens on this rank, in operations:
//   products   2 T (2 D H C + 2 D G C + D E) a block, 2 T 3 D F without experts
//   experts    2 T K 3 D F a block
//   attention  4 C for each visible pair of a query head; backward 2.5 times
//              that. Dense heads see N (N + 1) / 2 pairs of N tokens, local
//              ones window + 1 and the sinks for each query; each rank of the
//              sequence axis has an equal part
//   loss       align: rows x N (1 + from) / 2 pairs of each head that
//   retrieves,
//              2 C + 4 R each; distill: 2 V D a label row, three times
//   passing    bytes read and written by what is no product: kPasses times what
//              a block keeps (memory.h), and as often again backward, twice
// Backward, a product is done again for the input's gradient, and for the
// weight's where that trains; with recomputation the forward pass is done
// twice. The optimizer reads and writes 32 bytes an element of its shard.
//
// Communication, in bytes that a rank sends in a group of n:
//   gather     (n - 1)/n of each group's bytes of the compute type, forward and
//              again backward; in a backward pass (n - 1)/n of a trainable
//              group's float gradients
//   replica    2 (n - 1)/n of the float gradients of a shard, once a step
//   sequence   keys and values of heads that retrieve: gathered forward,
//              scattered backward; window + sinks of the others
//   expert     T K D to the experts and back, forward and again backward
// Nothing of it is taken to be hidden behind computation: it is an upper bound.

#ifndef RTPURBO_TRAINER_PLAN_STEP_TIME_H_
#define RTPURBO_TRAINER_PLAN_STEP_TIME_H_

#include "configs/schema/machine.pb.h"
#include "trainer/plan/plan_case.h"

namespace rtpurbo {

// Operations of one micro-batch on one rank, forward and backward.
struct WorkPlan {
  double products = 0;
  double experts = 0;
  double attention = 0;
  double attention_backward = 0;
  double alignment = 0;
  double passing_bytes = 0;
};
WorkPlan PlanWork(const PlanCase& one);

// Pairs that the query heads of one layer see, of a whole sequence.
double VisiblePairs(const PlanCase& one);

// Seconds of a step.
struct StepPlan {
  double compute = 0;
  double shard = 0;  // communication, by axis
  double replica = 0;
  double sequence = 0;
  double expert = 0;
  double communication() const { return shard + replica + sequence + expert; }
  double total() const { return compute + communication(); }
};
StepPlan PlanStep(const PlanCase& one, const configs::Machine& machine);

// Tokens of a rank below which moving tokens to experts sends less than
// gathering the experts: E 3 F / (2 K). 0 without experts.
double ExpertAxisPaysBelow(const ModelConfig& config);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_PLAN_STEP_TIME_H_
