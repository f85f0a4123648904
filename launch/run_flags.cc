#include "launch/run_flags.h"

#include "configs/load.h"
#include "data/file_system.h"

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
  flags->Add("profile", "N",
             "Writes a trace of N steps of each training stage, not the first "
             "one, to profile/STAGE.json in --out: ui.perfetto.dev opens it. "
             "Default: 0, none.",
             &profile);
}

absl::StatusOr<configs::Run> RunFlags::Load(int num_ranks) const {
  if (out.empty()) {
    return absl::InvalidArgumentError(
        "--out is missing: name the folder of the run");
  }
  return LoadRun(run.empty() ? JoinPath(out, "run.textproto") : run, set,
                 num_ranks);
}

}  // namespace rtpurbo
