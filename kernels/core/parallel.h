// One pool of threads for the whole process, for loops inside CPU operators.

#ifndef RTPURBO_KERNELS_CORE_PARALLEL_H_
#define RTPURBO_KERNELS_CORE_PARALLEL_H_

#include <cstdint>
#include <functional>

namespace rtpurbo {

// Threads that ParallelFor may use, the caller included. At the start: the
// processors this process may run on, or RTPURBO_THREADS if that is set.
int NumThreads();
// REQUIRES: n >= 1, and no ParallelFor is running.
void SetNumThreads(int n);

// Calls fn(begin, end) for [0, n) cut into pieces of `grain` (the last may be
// shorter) and returns when all are done. The pieces depend on n and grain
// alone, so what is summed per piece and then added in order of pieces has the
// same bits with any number of threads. Called from within a piece, or while
// another thread is in it, it runs all pieces on the calling thread.
void ParallelFor(
    std::int64_t n, std::int64_t grain,
    const std::function<void(std::int64_t begin, std::int64_t end)>& fn);

}  // namespace rtpurbo

#endif  // RTPURBO_KERNELS_CORE_PARALLEL_H_
