#include "kernels/core/trace.h"

#include <memory>
#include <utility>

#include "kernels/core/process.h"

namespace rtpurbo {
namespace {

struct Recording {
  double start = SteadySeconds();
  std::vector<TraceEvent> events;
};

// Of this thread; null if nothing is recorded.
thread_local std::unique_ptr<Recording> the_recording;

double Now() {
  return SteadySeconds() - the_recording->start;
}

void Add(TraceEvent event) {
  if (the_recording->events.size() < kMaxTraceEvents) {
    the_recording->events.push_back(std::move(event));
  }
}

}  // namespace

void StartTrace() {
  the_recording = std::make_unique<Recording>();
}

bool IsTracing() {
  return the_recording != nullptr;
}

std::vector<TraceEvent> StopTrace() {
  std::vector<TraceEvent> events;
  if (IsTracing()) {
    events = std::move(the_recording->events);
    the_recording.reset();
  }
  return events;
}

TraceSpan::TraceSpan(absl::string_view name, const char* kind) : kind_(kind) {
  if (IsTracing()) {
    name_ = std::string(name);
    begin_ = Now();
  }
}

TraceSpan::~TraceSpan() {
  if (IsTracing() && begin_ >= 0) {
    Add({std::move(name_), kind_, begin_, Now()});
  }
}

TraceSteps::TraceSteps(const char* kind)
    : kind_(kind), last_(IsTracing() ? Now() : 0) {}

void TraceSteps::Mark(absl::string_view name) {
  if (IsTracing()) {
    const double now = Now();
    Add({std::string(name), kind_, last_, now});
    last_ = now;
  }
}

}  // namespace rtpurbo
