#include "kernels/core/progress.h"

#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/core/log.h"
#include "kernels/core/process.h"

namespace rtpurbo {
namespace {

// "0:07", "12:34" or "1:02:03".
std::string ClockText(double seconds) {
  const auto total = static_cast<std::int64_t>(std::llround(seconds));
  const std::int64_t hours = total / 3600;
  const std::int64_t minutes = total / 60 % 60;
  if (hours > 0) {
    return absl::StrFormat("%d:%02d:%02d", hours, minutes, total % 60);
  }
  return absl::StrFormat("%d:%02d", minutes, total % 60);
}

}  // namespace

ProgressLine::ProgressLine(absl::string_view stage, std::int64_t num_steps,
                           std::int64_t first_step, Clock clock)
    : stage_(stage),
      num_steps_(num_steps),
      first_step_(first_step),
      clock_(clock ? std::move(clock) : Clock(SteadySeconds)),
      is_terminal_(internal::LogIsTerminal()),
      start_(clock_()),
      last_(is_terminal_ ? -std::numeric_limits<double>::infinity() : start_) {}

ProgressLine::~ProgressLine() {
  if (is_terminal_) {
    internal::SetStatusLine("");
  }
}

double ProgressLine::TokensPerSecond(const Numbers& numbers, double now) const {
  return now > start_ ? static_cast<double>(numbers.tokens) / (now - start_)
                      : 0;
}

std::string ProgressLine::TimeLeft(const Numbers& numbers, double now) const {
  const std::int64_t done = numbers.step - first_step_;
  if (done <= 0) {
    return "?";
  }
  return ClockText((now - start_) / static_cast<double>(done) *
                   static_cast<double>(num_steps_ - numbers.step));
}

void ProgressLine::Draw(const Numbers& numbers, double now) const {
  std::string line = absl::StrCat(stage_, "  ", numbers.step, "/", num_steps_);
  if (numbers.loss.has_value()) {
    line += absl::StrFormat("  loss %.4g", *numbers.loss);
  }
  if (numbers.learning_rate.has_value()) {
    line += absl::StrFormat("  lr %.2e", *numbers.learning_rate);
  }
  if (numbers.tokens > 0) {
    line += absl::StrFormat("  %.0f tokens/s", TokensPerSecond(numbers, now));
  }
  internal::SetStatusLine(
      absl::StrCat(line, "  ", TimeLeft(numbers, now), " left"));
}

void ProgressLine::Report(const Numbers& numbers, double now) const {
  std::string text = absl::StrCat("step ", numbers.step, "/", num_steps_);
  if (numbers.loss.has_value()) {
    text += absl::StrFormat(" loss=%.4g", *numbers.loss);
  }
  if (numbers.learning_rate.has_value()) {
    text += absl::StrFormat(" lr=%.2e", *numbers.learning_rate);
  }
  if (numbers.tokens > 0) {
    text += absl::StrFormat(" tokens_per_second=%.0f",
                            TokensPerSecond(numbers, now));
  }
  Log(LogLevel::kInfo, stage_, text, {{"left", TimeLeft(numbers, now)}});
}

void ProgressLine::Update(const Numbers& numbers) {
  const double now = clock_();
  if (now - last_ < (is_terminal_ ? 0.1 : 5.0) && numbers.step < num_steps_) {
    return;
  }
  last_ = now;
  if (is_terminal_) {
    Draw(numbers, now);
  } else {
    Report(numbers, now);
  }
}

}  // namespace rtpurbo
