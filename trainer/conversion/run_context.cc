#include "trainer/conversion/run_context.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "data/digest.h"
#include "data/fingerprint.h"
#include "data/safetensors.h"
#include "kernels/core/status_macros.h"
#include "trainer/conversion/config_options.h"
#include "trainer/trained_model.h"

namespace rtpurbo {

RunContext::RunContext(const ExecContext& ctx, FileSystem& files,
                       std::unique_ptr<Mesh> mesh, configs::Run run,
                       std::string out, RunControl control)
    : ctx_(ctx),
      files_(files),
      run_(std::move(run)),
      out_(std::move(out)),
      control_(std::move(control)),
      mesh_(std::move(mesh)) {}

absl::Status RunContext::MayGoOn(absl::string_view stage) const {
  return control_.MayGoOn()
             ? absl::OkStatus()
             : absl::CancelledError(absl::StrCat(
                   stage, " was stopped, as asked; what is written is kept: ",
                   "start the same command again to go on"));
}

void RunContext::ShareModels(Sharing sharing) {
  if (sharing != sharing_) {
    DropTeacher();
    sharing_ = sharing;
  }
}

std::string RunContext::Path(absl::string_view name) const {
  return JoinPath(out_, name);
}

absl::StatusOr<const ModelConfig*> RunContext::model_config() {
  if (!model_config_.has_value()) {
    ASSIGN_OR_RETURN(model_config_,
                     ReadModelConfig(files_, run_.model().path()));
  }
  return &*model_config_;
}

absl::StatusOr<std::int32_t> RunContext::EndToken() {
  ASSIGN_OR_RETURN(const ModelConfig* config, model_config());
  if (config->end_tokens.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        JoinPath(run_.model().path(), "config.json"),
        ": there is no eos_token_id, so nothing can end an answer"));
  }
  return config->end_tokens[0];
}

Profile::Options RunContext::ProfileOf(absl::string_view stage) const {
  return {control_.profile_steps, Path("profile"), std::string(stage)};
}

absl::StatusOr<const Tokenizer*> RunContext::tokenizer() {
  if (!tokenizer_.has_value()) {
    ASSIGN_OR_RETURN(tokenizer_, Tokenizer::Load(JoinPath(run_.model().path(),
                                                          "tokenizer.json"),
                                                 files_));
  }
  return &*tokenizer_;
}

absl::StatusOr<std::string> RunContext::TokenizerFingerprint() {
  if (tokenizer_fingerprint_.empty()) {
    ASSIGN_OR_RETURN(
        const std::string json,
        files_.ReadFile(JoinPath(run_.model().path(), "tokenizer.json")));
    tokenizer_fingerprint_ = Sha256Hex(json);
  }
  return tokenizer_fingerprint_;
}

absl::StatusOr<std::string> RunContext::TeacherFingerprint() {
  if (teacher_fingerprint_.empty()) {
    ASSIGN_OR_RETURN(const SafetensorsFolder weights,
                     SafetensorsFolder::Open(files_, run_.model().path()));
    ASSIGN_OR_RETURN(teacher_fingerprint_,
                     ModelFingerprint(files_, run_.model().path(), weights));
  }
  return teacher_fingerprint_;
}

absl::StatusOr<const TokenStore*> RunContext::store() {
  if (store_ == nullptr) {
    ASSIGN_OR_RETURN(store_,
                     TokenStore::Open(files_, Path("prepare/tokens.h5")));
  }
  return store_.get();
}

Transformer::Options RunContext::ModelOptions(const std::set<Role>& trainable,
                                              float weight_decay) {
  Transformer::Options options;
  options.dtype = ComputeTypeOf(run_.model());
  options.trainable = trainable;
  options.weight_decay = weight_decay;
  options.max_positions = LongestSequence(run_);
  options.comm = sharing_ == Sharing::kNothing
                     ? static_cast<Communicator*>(&solo_)
                     : &mesh_->shard_sequence();
  if (sharing_ != Sharing::kNothing && mesh_->shape().expert > 1) {
    options.expert = &mesh_->along(MeshAxis::kExpert);
  }
  if (sharing_ == Sharing::kWeightsAndRows && mesh_->shape().sequence > 1) {
    options.sequence = &mesh_->along(MeshAxis::kSequence);
  }
  return options;
}

absl::StatusOr<Transformer*> RunContext::Teacher() {
  if (teacher_ == nullptr) {
    ASSIGN_OR_RETURN(teacher_,
                     LoadTransformer(ctx_, files_, run_.model().path(),
                                     ModelOptions({}, 0)));
  }
  return teacher_.get();
}

absl::StatusOr<std::unique_ptr<DocumentStream>> RunContext::MakeStream(
    StreamUse use) {
  ASSIGN_OR_RETURN(const Tokenizer* words, tokenizer());
  ASSIGN_OR_RETURN(const std::string fingerprint, TokenizerFingerprint());
  ASSIGN_OR_RETURN(const TokenStore* tokens, store());
  ASSIGN_OR_RETURN(const std::int32_t end_token, EndToken());
  const NeedlePlaces places{run_.attention().window(),
                            run_.data().first_needle(),
                            run_.data().needle_margin()};
  ASSIGN_OR_RETURN(QuestionMaker questions,
                   QuestionMaker::Create(*words, end_token, places));
  DocumentStreamOptions options = use == StreamUse::kAlign
                                      ? AlignStreamOptions(run_)
                                      : DistillStreamOptions(run_);
  options.stream = static_cast<std::int64_t>(use);
  if (use == StreamUse::kMeasure) {
    options.seed = MeasureSeed(run_);
  }
  return DocumentStream::Create(*tokens, fingerprint, std::move(questions),
                                options);
}

absl::StatusOr<HeadMap> RunContext::ReadHeadMap(const std::string& name) {
  const std::string path = Path(name);
  ASSIGN_OR_RETURN(const std::string text, files_.ReadFile(path));
  ASSIGN_OR_RETURN(HeadMap map, HeadMapFromText(text, path));
  ASSIGN_OR_RETURN(const ModelConfig* config, model_config());
  RETURN_IF_ERROR(CheckFits(*config, map, path));
  return map;
}

SparseMode RunContext::ModeOf(
    const HeadMap& map,
    std::shared_ptr<const IndexProjections> projections) const {
  SparseMode mode;
  mode.map = map;
  mode.projections = std::move(projections);
  mode.selection = SelectionOf(run_.attention());
  mode.dense_below = run_.attention().dense_below();
  return mode;
}

}  // namespace rtpurbo
