#include "data/fingerprint.h"

#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "data/digest.h"
#include "kernels/core/parallel.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {

absl::StatusOr<std::string> ModelFingerprint(FileSystem& files,
                                             const std::string& dir,
                                             const SafetensorsFolder& weights) {
  ASSIGN_OR_RETURN(const std::string config,
                   files.ReadFile(JoinPath(dir, "config.json")));
  std::vector<std::uint32_t> crcs(weights.files().size());
  ParallelFor(static_cast<std::int64_t>(crcs.size()), 1,
              [&](std::int64_t begin, std::int64_t end) {
                for (auto i = static_cast<std::size_t>(begin);
                     i < static_cast<std::size_t>(end); ++i) {
                  crcs[i] = Crc32c(weights.files()[i]->header.data);
                }
              });
  Sha256 sha;
  sha.Update(absl::StrCat("config.json ", config.size(), "\n"));
  sha.Update(config);
  for (std::size_t i = 0; i < crcs.size(); ++i) {
    const absl::string_view header = weights.files()[i]->header.text;
    sha.Update(
        absl::StrFormat("safetensors %d %08x\n", header.size(), crcs[i]));
    sha.Update(header);
  }
  return sha.Finish();
}

}  // namespace rtpurbo
