#include "launch/run_flags.h"

#include "configs/load.h"
#include "data/file_system.h"
#include "kernels/core/parallel.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {

void RunFlags::AddTo(FlagSet* flags) {
  flags->Add("run", "FILE",
             "Configuration of the run, a text file (configs/recipes has some; "
             "configs/schema says what there is). Default: run.textproto of "
             "--out.",
             &run);
  flags->Add("out", "DIR", "Folder of the run: everything is written there.",
             &out);
  flags->Add("set", "PATH=VALUE",
             "Replaces a field of the configuration, as in "
             "--set align.steps=100 or --set data.paths=[\"a.txt\",\"b\"].",
             &set);
}

absl::StatusOr<configs::Run> RunFlags::Load() const {
  if (out.empty()) {
    return absl::InvalidArgumentError(
        "--out is missing: name the folder of the run");
  }
  return LoadRun(run.empty() ? JoinPath(out, "run.textproto") : run, set, 1);
}

absl::StatusOr<std::unique_ptr<Conversion>> RunFlags::Open(
    const Device& device) const {
  ASSIGN_OR_RETURN(const configs::Run loaded, Load());
  if (loaded.threads() > 0) {
    SetNumThreads(static_cast<int>(loaded.threads()));
  }
  return Conversion::Open(device.ctx(), RealFileSystem(), loaded, out);
}

}  // namespace rtpurbo
