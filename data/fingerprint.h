// Which model is it? A digest of a published folder, to tell whether what was
// made from a model still belongs to it.

#ifndef RTPURBO_DATA_FINGERPRINT_H_
#define RTPURBO_DATA_FINGERPRINT_H_

#include <string>

#include "absl/status/statusor.h"
#include "data/file_system.h"
#include "data/safetensors.h"

namespace rtpurbo {

// SHA-256, in 64 hexadecimal digits, of these lines and bytes:
//   "config.json <size>\n", the bytes of config.json,
//   and for each safetensors file in the order of names
//   "safetensors <size of header> <CRC-32C of the data, 8 digits>\n", the
//   bytes of the header's JSON.
// Names of files do not count, so a copied or renamed folder is the same model.
// Reads all weights once. Runs on all threads of ParallelFor.
absl::StatusOr<std::string> ModelFingerprint(FileSystem& files,
                                             const std::string& dir,
                                             const SafetensorsFolder& weights);

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_FINGERPRINT_H_
