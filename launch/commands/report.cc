// rtpurbo report DIR: the page of a run, from its files.

#include "trainer/report.h"

#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "data/file_system.h"
#include "kernels/core/status_macros.h"
#include "launch/commands/commands.h"

namespace rtpurbo {
namespace {

class ReportCommand : public Command {
 public:
  absl::string_view name() const override { return "report"; }
  absl::string_view summary() const override {
    return "writes the page of a run from its files";
  }
  absl::string_view arguments() const override { return "DIR"; }
  absl::string_view description() const override {
    return "Writes DIR/report.html, one page without network or scripts. DIR "
           "is the folder of a run, complete or not, or a copy of one: the "
           "same files give the same page.";
  }
  absl::Status Run(const std::vector<std::string>& arguments) override {
    RETURN_IF_ERROR(WriteReport(RealFileSystem(), arguments[0]));
    std::cout << JoinPath(arguments[0], "report.html") << "\n";
    return absl::OkStatus();
  }
};

}  // namespace

std::unique_ptr<Command> NewReportCommand() {
  return std::make_unique<ReportCommand>();
}

}  // namespace rtpurbo
