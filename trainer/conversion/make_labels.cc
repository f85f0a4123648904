#include "data/digest.h"
#include "kernels/core/log.h"
#include "kernels/core/progress.h"
#include "kernels/core/status_macros.h"
#include "trainer/conversion/labels.h"
#include "trainer/conversion/stages.h"
#include "trainer/sequences.h"

namespace rtpurbo {
namespace {

// Every sequence of stage 2 by its index in the stream: training, then held
// out.
std::vector<std::int64_t> LabelledIndices(const configs::Distill& distill) {
  std::vector<std::int64_t> indices;
  for (std::int64_t i = 0; i < distill.steps() * distill.sequences_per_step();
       ++i) {
    indices.push_back(i);
  }
  for (std::int64_t i = 0; i < distill.held_out_sequences(); ++i) {
    indices.push_back(kFirstHeldOut + i);
  }
  return indices;
}

Labels LabelsOf(Transformer& model, const Sequence& sequence,
                const Attend& dense) {
  const std::span<const std::int32_t> tokens(sequence.tokens_T);
  const ForwardInput input = MakeInput(
      model.ctx(), tokens.first(tokens.size() - 1), sequence.num_labels());
  return ToCache(model.ctx(), TeacherLabels(model, input, dense, kTopLabels),
                 sequence.index);
}

}  // namespace

absl::StatusOr<LabelFingerprints> LabelFingerprintsOf(
    RunContext& run, const DocumentStream& stream) {
  LabelFingerprints fingerprints;
  ASSIGN_OR_RETURN(fingerprints.weights, run.TeacherFingerprint());
  ASSIGN_OR_RETURN(
      const std::string config,
      run.files().ReadFile(JoinPath(run.run().model().path(), "config.json")));
  fingerprints.config = Sha256Hex(absl::StrCat(
      configs::Model::ComputeType_Name(run.run().model().compute_type()), "\n",
      config));
  fingerprints.stream = stream.Fingerprint();
  return fingerprints;
}

absl::StatusOr<std::unique_ptr<LabelCache>> OpenLabels(
    RunContext& run, const DocumentStream& stream) {
  ASSIGN_OR_RETURN(const LabelFingerprints fingerprints,
                   LabelFingerprintsOf(run, stream));
  return LabelCache::Open(run.files(), run.Path("prepare/labels.h5"),
                          fingerprints);
}

absl::StatusOr<StageResult> MakeLabels(RunContext& run) {
  const std::string path = run.Path("prepare/labels.h5");
  ASSIGN_OR_RETURN(const auto stream,
                   run.MakeStream(RunContext::StreamUse::kDistill));
  ASSIGN_OR_RETURN(const LabelFingerprints fingerprints,
                   LabelFingerprintsOf(run, *stream));
  ASSIGN_OR_RETURN(const auto writer,
                   LabelCacheWriter::Open(run.files(), path, fingerprints));
  if (writer->num_records() > 0) {
    Log(LogLevel::kInfo, "labels", "resuming after a sequence",
        {{"sequence", writer->num_records()}});
  }
  ASSIGN_OR_RETURN(Transformer* const model, run.Teacher());
  const Attend dense =
      RangeAttend(MakePatterns(model->config(), DenseMap(model->config())));
  const std::vector<std::int64_t> indices =
      LabelledIndices(run.run().distill());
  ProgressLine progress("labels", static_cast<std::int64_t>(indices.size()),
                        writer->num_records());
  std::int64_t tokens = 0;
  for (const std::int64_t index : indices) {
    if (writer->Contains(index)) {
      continue;
    }
    RETURN_IF_ERROR(run.MayGoOn("labels"));
    ASSIGN_OR_RETURN(const Sequence sequence, stream->At(index));
    RETURN_IF_ERROR(writer->Append(LabelsOf(*model, sequence, dense)));
    tokens += sequence.num_tokens();
    progress.Update({writer->num_records(), tokens});
  }
  RETURN_IF_ERROR(writer->Finish());
  return StageResult{{"prepare/labels.h5"}, {}};
}

}  // namespace rtpurbo
