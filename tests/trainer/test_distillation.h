// What tests of stages train on: the test model, in parts over any ranks, a map
// with two retrieval heads, and sequences of 90 tokens.

#ifndef RTPURBO_TESTS_TRAINER_TEST_DISTILLATION_H_
#define RTPURBO_TESTS_TRAINER_TEST_DISTILLATION_H_

#include <cstdint>
#include <memory>
#include <set>
#include <string>

#include "model/sparse_mode.h"
#include "model/transformer.h"
#include "trainer/sequences.h"

namespace rtpurbo::testing {

// The model in `dir`, shared by the ranks of `comm`. Those of `sequence`, if it
// is not null, share the rows of sequences; those of `expert` the experts.
std::unique_ptr<Transformer> LoadTestModel(const ExecContext& ctx,
                                           Communicator& comm,
                                           const std::string& dir,
                                           const std::set<Role>& trainable,
                                           Communicator* sequence = nullptr,
                                           Communicator* expert = nullptr);

// Head 2 of layer 0 and head 0 of layer 1 retrieve; window 8, 2 sinks.
HeadMap TestMap(const ModelConfig& config);
// That map with projections of width 8 at their start; half of the mass is
// selected, in blocks of 8.
SparseMode TestMode(Transformer& teacher);

// 3 labels if `index` is even, else 30.
Sequence TestSequence(std::int64_t index);
// The dense model's 10 highest logits there.
TopLabels TestLabels(Transformer& teacher, const Sequence& sequence);

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_TRAINER_TEST_DISTILLATION_H_
