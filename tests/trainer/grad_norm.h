// The global norm of the gradients that one rank has.

#ifndef RTPURBO_TESTS_TRAINER_GRAD_NORM_H_
#define RTPURBO_TESTS_TRAINER_GRAD_NORM_H_

#include <cmath>
#include <numeric>
#include <vector>

#include "trainer/optimizer.h"

namespace rtpurbo::testing {

inline double GradNorm(const Optimizer& optimizer) {
  const std::vector<double> squares = optimizer.GradSquares();
  return std::sqrt(std::accumulate(squares.begin(), squares.end(), 0.0));
}

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_TRAINER_GRAD_NORM_H_
