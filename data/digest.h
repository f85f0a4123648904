// Digests: SHA-256 to say which bytes something was made of, CRC-32C to find
// bytes that changed on disk.

#ifndef RTPURBO_DATA_DIGEST_H_
#define RTPURBO_DATA_DIGEST_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "data/file_system.h"

namespace rtpurbo {

// SHA-256 (FIPS 180-4) of a sequence of pieces. How it is cut into pieces does
// not matter. One thread at a time.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void Update(Bytes bytes);
  void Update(absl::string_view text) { Update(AsBytes(text)); }
  // 64 lower-case hexadecimal digits. No call may follow.
  std::string Finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string Sha256Hex(absl::string_view text);

// CRC-32C (Castagnoli: polynomial 0x1edc6f41, reflected, start and end
// inverted, as in RFC 3720 appendix B.4) of what `crc` is of, followed by
// `bytes`; 0 is the value of nothing. Finds every change within 32 bits in a
// row, and others with probability 1 - 2^-32. Uses the processor's instruction
// (SSE4.2) where there is one.
std::uint32_t Crc32c(std::uint32_t crc, Bytes bytes);
inline std::uint32_t Crc32c(Bytes bytes) {
  return Crc32c(0, bytes);
}

namespace internal {
// The same by table, on any processor. For tests.
std::uint32_t Crc32cPortable(std::uint32_t crc, Bytes bytes);
}  // namespace internal

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_DIGEST_H_
