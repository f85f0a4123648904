// How far a stage has come: step, loss, learning rate, tokens a second, time
// left. On a terminal one line at the bottom that is written over; otherwise an
// event of the log every few seconds.

#ifndef RTPURBO_KERNELS_CORE_PROGRESS_H_
#define RTPURBO_KERNELS_CORE_PROGRESS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace rtpurbo {

// Used by one thread. One at a time may exist.
class ProgressLine {
 public:
  struct Numbers {
    std::int64_t step = 0;    // steps done
    std::int64_t tokens = 0;  // done since this object was made; 0: no rate
    std::optional<double> loss = std::nullopt;
    std::optional<double> learning_rate = std::nullopt;
  };
  // Seconds from any fixed moment on.
  using Clock = std::function<double()>;

  // `first_step` steps of `num_steps` were done before, by an interrupted run:
  // the rates are measured over the others. `clock` is for tests.
  ProgressLine(absl::string_view stage, std::int64_t num_steps,
               std::int64_t first_step = 0, Clock clock = nullptr);
  // Takes the line off the terminal.
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  // After each step. Says nothing if the last time was less than a tenth of a
  // second ago (terminal) or five seconds (otherwise), except for the last
  // step.
  void Update(const Numbers& numbers);

 private:
  double TokensPerSecond(const Numbers& numbers, double now) const;
  std::string TimeLeft(const Numbers& numbers, double now) const;
  void Draw(const Numbers& numbers, double now) const;
  void Report(const Numbers& numbers, double now) const;

  const std::string stage_;
  const std::int64_t num_steps_;
  const std::int64_t first_step_;
  const Clock clock_;
  const bool is_terminal_;
  const double start_;
  double last_;
};

}  // namespace rtpurbo

#endif  // RTPURBO_KERNELS_CORE_PROGRESS_H_
