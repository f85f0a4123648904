// What the stages of a conversion share: where files are, and what was loaded.
//
// Things are loaded when they are first asked for and kept until the stage that
// has no use for them drops them. One thread.
//
// Every rank has one. What one rank does alone, it does with a model of its own
// (the others wait); what all do together, with a model whose weights they hold
// together.

#ifndef RTPURBO_TRAINER_CONVERSION_RUN_CONTEXT_H_
#define RTPURBO_TRAINER_CONVERSION_RUN_CONTEXT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "configs/schema/run.pb.h"
#include "data/document_stream.h"
#include "data/file_system.h"
#include "data/tokenizer.h"
#include "dist/agree.h"
#include "dist/mesh.h"
#include "dist/solo_communicator.h"
#include "model/head_map.h"
#include "model/sparse_mode.h"
#include "model/transformer.h"
#include "trainer/profile.h"
#include "trainer/run_control.h"
#include "trainer/trained_model.h"

namespace rtpurbo {

// What the ranks have in common of a model: nothing (each has it whole), the
// weights (each holds a part), or the rows of a sequence as well.
enum class Sharing : std::uint8_t { kNothing, kWeights, kWeightsAndRows };

class RunContext {
 public:
  // `run` is complete and valid; `out` is the run's folder.
  RunContext(const ExecContext& ctx, FileSystem& files,
             std::unique_ptr<Mesh> mesh, configs::Run run, std::string out,
             RunControl control);

  const ExecContext& ctx() const { return ctx_; }
  FileSystem& files() { return files_; }
  const configs::Run& run() const { return run_; }
  const std::string& folder() const { return out_; }
  const RunControl& control() const { return control_; }
  // All ranks of the run.
  Communicator& ranks() { return mesh_->world(); }
  // Those that hold the same part of a model that is shared.
  Replicas replicas() {
    return {&mesh_->replica_expert(), &mesh_->along(MeshAxis::kReplica)};
  }
  // Those over which the ranks speak.
  std::vector<NamedGroup> groups() const { return mesh_->named_groups(); }
  // What to trace of a training stage, and where to.
  Profile::Options ProfileOf(absl::string_view stage) const;
  // Between two pieces of work of a stage: OK, or Cancelled if the run was
  // asked to stop.
  absl::Status MayGoOn(absl::string_view stage) const;
  // Which of them work on the same sequences as this one.
  WorkTeam team() const { return mesh_->team(); }
  // Calls `fn` on the first rank; all get its result.
  absl::Status OnFirst(const std::function<absl::Status()>& fn) {
    return OnFirstRank(ctx_, ranks(), fn);
  }
  // What models have in common from now on.
  void ShareModels(Sharing sharing);
  // Of a file of the run.
  std::string Path(absl::string_view name) const;

  absl::StatusOr<const ModelConfig*> model_config();
  // That ends an answer.
  absl::StatusOr<std::int32_t> EndToken();
  absl::StatusOr<const Tokenizer*> tokenizer();
  absl::StatusOr<std::string> TokenizerFingerprint();
  absl::StatusOr<std::string> TeacherFingerprint();
  absl::StatusOr<const TokenStore*> store();

  // The dense model, frozen.
  absl::StatusOr<Transformer*> Teacher();
  void DropTeacher() { teacher_.reset(); }
  // How a model of this run is made, from any folder.
  Transformer::Options ModelOptions(const std::set<Role>& trainable,
                                    float weight_decay);

  // Streams of one run share no sequence but the order of text.
  enum class StreamUse { kMeasure = 0, kAlign = 1, kDistill = 2 };
  absl::StatusOr<std::unique_ptr<DocumentStream>> MakeStream(StreamUse use);

  // heads.textproto is the map that is used.
  absl::StatusOr<HeadMap> ReadHeadMap(
      const std::string& name = "heads.textproto");
  // How the converted model attends; projections may be null.
  SparseMode ModeOf(const HeadMap& map,
                    std::shared_ptr<const IndexProjections> projections) const;

 private:
  ExecContext ctx_;
  FileSystem& files_;
  configs::Run run_;
  std::string out_;
  RunControl control_;
  std::unique_ptr<Mesh> mesh_;
  SoloCommunicator solo_;
  Sharing sharing_ = Sharing::kNothing;
  std::optional<ModelConfig> model_config_;
  std::optional<Tokenizer> tokenizer_;
  std::string tokenizer_fingerprint_;
  std::string teacher_fingerprint_;
  std::unique_ptr<TokenStore> store_;
  std::unique_ptr<Transformer> teacher_;
};

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_CONVERSION_RUN_CONTEXT_H_
