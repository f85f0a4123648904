// What this process has used so far.

#ifndef RTPURBO_KERNELS_CORE_PROCESS_H_
#define RTPURBO_KERNELS_CORE_PROCESS_H_

#include <cstdint>

namespace rtpurbo {

// Seconds from any fixed moment on; never goes back.
double SteadySeconds();

// The most memory that was resident at any time.
std::int64_t PeakResidentBytes();

}  // namespace rtpurbo

#endif  // RTPURBO_KERNELS_CORE_PROCESS_H_
