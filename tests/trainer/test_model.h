// A published folder of a model with 2 layers and random weights, and text for
// it: what a whole conversion takes in seconds.

#ifndef RTPURBO_TESTS_TRAINER_TEST_MODEL_H_
#define RTPURBO_TESTS_TRAINER_TEST_MODEL_H_

#include <cstdint>
#include <string>

#include "configs/schema/run.pb.h"

namespace rtpurbo::testing {

// Writes config.json, model.safetensors (bf16), the tokenizer of the teacher
// `tiny` and text/a.txt into `dir`, which is made. Two experts a token.
void WriteTestModel(const std::string& dir, std::uint64_t seed,
                    std::int64_t num_experts = 4);

// The recipe test_model with this model.
configs::Run TestRun(const std::string& dir);

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_TRAINER_TEST_MODEL_H_
