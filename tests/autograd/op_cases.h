// One small problem for each differentiable op, for tests that hold for all.

#ifndef RTPURBO_TESTS_AUTOGRAD_OP_CASES_H_
#define RTPURBO_TESTS_AUTOGRAD_OP_CASES_H_

#include <functional>
#include <string>
#include <vector>

#include "autograd/tape.h"

namespace rtpurbo::testing {

struct OpInput {
  Shape shape;
  bool always_f32 = false;  // else of the type under test
};

struct OpCase {
  std::string name;
  std::vector<OpInput> inputs;
  // Records the op. What is not differentiated it makes itself, from constants.
  std::function<Var(Tape& tape, const std::vector<Var>& in)> apply;
};

const std::vector<OpCase>& OpCases();

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_AUTOGRAD_OP_CASES_H_
