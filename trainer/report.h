// One self-contained HTML page about a run: no network, no scripts, pictures as
// inline SVG.
//
// Every figure comes from the run's files and says from which. What a run does
// not have yet is named on the page instead of shown. The page is a function of
// the folder's contents: a copied folder gives the same bytes.

#ifndef RTPURBO_TRAINER_REPORT_H_
#define RTPURBO_TRAINER_REPORT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/file_system.h"

namespace rtpurbo {

// The page of the run in `folder`.
// Returns NotFound if the folder holds no run, DataLoss naming file and line if
// one of its files is malformed.
absl::StatusOr<std::string> RenderReport(FileSystem& files,
                                         const std::string& folder);

// Writes it to report.html in the folder.
absl::Status WriteReport(FileSystem& files, const std::string& folder);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_REPORT_H_
