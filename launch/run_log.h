// The log of one rank as a file: logs/rank_0003.jsonl in the run's folder, a
// line an event, of all levels:
//   {"time": "2026-11-29T11:30:00.123Z", "rank", "level", "stage", "message"},
// and the event's fields as texts. Starts of a run follow each other in it.

#ifndef RTPURBO_LAUNCH_RUN_LOG_H_
#define RTPURBO_LAUNCH_RUN_LOG_H_

#include <string>

#include "data/file_system.h"

namespace rtpurbo {

class RunLog {
 public:
  // From now on until the end of its life. `files` must outlive it. A log that
  // can't be written is said once, and stops no run.
  RunLog(FileSystem& files, const std::string& folder, int rank);
  ~RunLog();
  RunLog(const RunLog&) = delete;
  RunLog& operator=(const RunLog&) = delete;
};

}  // namespace rtpurbo

#endif  // RTPURBO_LAUNCH_RUN_LOG_H_
