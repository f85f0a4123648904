#include "trainer/conversion/answers.h"

#include <utility>

#include "data/json_lines.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {

absl::StatusOr<std::vector<SummaryRow>> SummarizeFile(FileSystem& files,
                                                      const std::string& path) {
  ASSIGN_OR_RETURN(const auto lines, JsonLines::Open(files, path));
  std::vector<nlohmann::json> answers;
  while (true) {
    ASSIGN_OR_RETURN(auto line, lines->Next());
    if (!line.has_value()) {
      break;
    }
    answers.push_back(*std::move(line));
  }
  return SummarizeEvaluation(answers);
}

}  // namespace rtpurbo
