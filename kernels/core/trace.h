// What a rank does when, for a viewer of Chrome's trace format (Perfetto).
//
// Spans are recorded on the thread that called StartTrace(), from then until
// StopTrace(), and cost nothing elsewhere but a look at a thread's variable.
// Times are those of the host: on a GPU, of queueing the work.

#ifndef RTPURBO_KERNELS_CORE_TRACE_H_
#define RTPURBO_KERNELS_CORE_TRACE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace rtpurbo {

struct TraceEvent {
  std::string name;
  const char* kind;  // a literal
  double begin;      // seconds since StartTrace()
  double end;
};

// Begins a recording on this thread; one that was under way is dropped.
void StartTrace();
bool IsTracing();
// What was recorded, in the order of the spans' ends. At most kMaxTraceEvents;
// later ones are left out.
std::vector<TraceEvent> StopTrace();
inline constexpr std::int64_t kMaxTraceEvents = 1'000'000;

// From its construction to its end.
class TraceSpan {
 public:
  // `kind` must be a literal.
  TraceSpan(absl::string_view name, const char* kind);
  ~TraceSpan();
  TraceSpan(const TraceSpan&) = delete;
  TraceSpan& operator=(const TraceSpan&) = delete;

 private:
  std::string name_;
  const char* kind_;
  double begin_ = -1;  // not recorded
};

// Work that follows one another and is named when it is done: each piece lasts
// from the one before, or from the construction, to its Mark().
class TraceSteps {
 public:
  // `kind` must be a literal.
  explicit TraceSteps(const char* kind);
  void Mark(absl::string_view name);

 private:
  const char* kind_;
  double last_ = 0;
};

}  // namespace rtpurbo

#endif  // RTPURBO_KERNELS_CORE_TRACE_H_
