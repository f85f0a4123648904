#include <cmath>

#include "data/prepare_tokens.h"
#include "kernels/core/log.h"
#include "kernels/core/progress.h"
#include "kernels/core/status_macros.h"
#include "trainer/conversion/stages.h"

namespace rtpurbo {
namespace {

HeldOutRule RuleOf(const configs::Data& data) {
  HeldOutRule rule;
  rule.long_document = data.long_document();
  rule.one_in = std::llround(1 / data.held_out_share());
  return rule;
}

}  // namespace

absl::StatusOr<StageResult> MakePrepare(RunContext& run) {
  const std::vector<std::string> inputs(run.run().data().paths().begin(),
                                        run.run().data().paths().end());
  ASSIGN_OR_RETURN(const Tokenizer* tokenizer, run.tokenizer());
  ASSIGN_OR_RETURN(const std::string fingerprint, run.TokenizerFingerprint());
  RETURN_IF_ERROR(run.files().CreateDirectories(run.Path("prepare")));
  ProgressLine progress("prepare", 0);
  ASSIGN_OR_RETURN(
      const PrepareCounts counts,
      PrepareTokens(run.files(), inputs, *tokenizer, fingerprint,
                    RuleOf(run.run().data()), run.Path("prepare/tokens.h5"),
                    [&](const PrepareCounts& now) {
                      progress.Update({now.files, now.tokens});
                      return run.MayGoOn("prepare");
                    }));
  Log(LogLevel::kInfo, "prepare", "tokenized",
      {{"documents", counts.documents},
       {"tokens", counts.tokens},
       {"held_out", counts.held_out_tokens},
       {"passed_over_files", counts.passed_over}});
  return StageResult{{"prepare/tokens.h5"},
                     {{"tokens", static_cast<double>(counts.tokens)}}};
}

}  // namespace rtpurbo
