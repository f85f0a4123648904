#include <cstring>
#include <optional>

#include "data/digest.h"
#include "dist/agree.h"
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

// Number of tokens and labels, for the rank that writes.
absl::StatusOr<std::string> LabelBytes(Transformer& model,
                                       const Sequence& sequence,
                                       const Attend& dense) {
  const std::span<const std::int32_t> tokens(sequence.tokens_T);
  const ForwardInput input = MakeInput(
      model.ctx(), tokens.first(tokens.size() - 1), sequence.num_labels());
  const Labels labels =
      ToCache(model.ctx(), TeacherLabels(model, input, dense, kTopLabels),
              sequence.index);
  RETURN_IF_ERROR(model.status());
  const std::int64_t num_tokens = sequence.num_tokens();
  std::string bytes(reinterpret_cast<const char*>(&num_tokens),
                    sizeof(num_tokens));
  return bytes + EncodeLabels(labels);
}

// What the first rank writes, and what it says about it.
class LabelWriter {
 public:
  LabelWriter(RunContext& run, const DocumentStream& stream)
      : run_(run), stream_(stream) {}

  // Whether each of `indices` is there: '1' or '0'.
  absl::StatusOr<std::string> Open(const std::vector<std::int64_t>& indices);
  // `bytes`: from LabelBytes().
  absl::Status Append(absl::string_view bytes);
  absl::Status Finish() { return file_->Finish(); }

 private:
  RunContext& run_;
  const DocumentStream& stream_;
  std::unique_ptr<LabelCacheWriter> file_;
  std::optional<ProgressLine> progress_;
  std::int64_t tokens_ = 0;
};

absl::StatusOr<std::string> LabelWriter::Open(
    const std::vector<std::int64_t>& indices) {
  ASSIGN_OR_RETURN(const LabelFingerprints fingerprints,
                   LabelFingerprintsOf(run_, stream_));
  ASSIGN_OR_RETURN(
      file_, LabelCacheWriter::Open(
                 run_.files(), run_.Path("prepare/labels.h5"), fingerprints));
  if (file_->num_records() > 0) {
    Log(LogLevel::kInfo, "labels", "resuming after a sequence",
        {{"sequence", file_->num_records()}});
  }
  progress_.emplace("labels", static_cast<std::int64_t>(indices.size()),
                    file_->num_records());
  std::string is_there;
  for (const std::int64_t index : indices) {
    is_there += file_->Contains(index) ? '1' : '0';
  }
  return is_there;
}

absl::Status LabelWriter::Append(absl::string_view bytes) {
  std::int64_t num_tokens = 0;
  std::memcpy(&num_tokens, bytes.data(), sizeof(num_tokens));
  bytes.remove_prefix(sizeof(num_tokens));
  RETURN_IF_ERROR(file_->Append(DecodeLabels(bytes)));
  tokens_ += num_tokens;
  progress_->Update({file_->num_records(), tokens_});
  return absl::OkStatus();
}

// The sequences that are still to be labelled, on all ranks.
absl::StatusOr<std::vector<std::int64_t>> OpenWriter(RunContext& run,
                                                     LabelWriter* writer) {
  const std::vector<std::int64_t> indices =
      LabelledIndices(run.run().distill());
  ASSIGN_OR_RETURN(const std::string is_there,
                   FromFirstRank(run.ctx(), run.ranks(),
                                 [&] { return writer->Open(indices); }));
  std::vector<std::int64_t> missing;
  for (std::size_t i = 0; i < indices.size(); ++i) {
    if (is_there[i] == '0') {
      missing.push_back(indices[i]);
    }
  }
  return missing;
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
  ASSIGN_OR_RETURN(const auto stream,
                   run.MakeStream(RunContext::StreamUse::kDistill));
  LabelWriter writer(run, *stream);
  ASSIGN_OR_RETURN(const std::vector<std::int64_t> missing,
                   OpenWriter(run, &writer));
  ASSIGN_OR_RETURN(Transformer* const model, run.Teacher());
  const Attend dense =
      RangeAttend(MakePatterns(model->config(), DenseMap(model->config())));
  const OrderedWork work = {
      [&](std::int64_t i) -> absl::StatusOr<std::string> {
        run.control().GiveSignOfLife();
        ASSIGN_OR_RETURN(const Sequence sequence,
                         stream->At(missing[static_cast<std::size_t>(i)]));
        return LabelBytes(*model, sequence, dense);
      },
      [&](std::int64_t, absl::string_view bytes) -> absl::Status {
        RETURN_IF_ERROR(writer.Append(bytes));
        return run.MayGoOn("labels");
      }};
  RETURN_IF_ERROR(ShareOutInOrder(run.ctx(), run.ranks(), 0,
                                  static_cast<std::int64_t>(missing.size()),
                                  work));
  RETURN_IF_ERROR(run.OnFirst([&] { return writer.Finish(); }));
  return StageResult{{"prepare/labels.h5"}, {}};
}

}  // namespace rtpurbo
