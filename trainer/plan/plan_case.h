// One stage of a run on one mesh, as the numbers that memory and time follow
// from.

#ifndef RTPURBO_TRAINER_PLAN_PLAN_CASE_H_
#define RTPURBO_TRAINER_PLAN_PLAN_CASE_H_

#include <cstdint>
#include <set>

#include "configs/schema/run.pb.h"
#include "dist/mesh.h"
#include "kernels/core/dtype.h"
#include "model/model_config.h"
#include "model/parameter_names.h"

namespace rtpurbo {

enum class PlanStage : std::uint8_t { kAlign, kDistill };
constexpr const char* Name(PlanStage stage) {
  return stage == PlanStage::kAlign ? "align" : "distill";
}

// Ranks on the replica, shard and expert axes take sequences of their own;
// those on the sequence axis share one.
struct PlanCase {
  ModelConfig config;
  PlanStage stage = PlanStage::kDistill;
  MeshShape mesh;
  DType dtype = DType::kF32;  // of activations and gathered weights
  std::set<Role> trainable;   // empty for kAlign
  bool recompute = false;
  std::int64_t sequences = 1;        // of a step, over all ranks
  std::int64_t tokens = 0;           // of a sequence
  std::int64_t output_rows = 0;      // kDistill: label rows of a sequence
  double loss_rows = 0;              // kAlign: rows that the loss uses
  double rows_from = 0;              // kAlign: first of them, as a share
  std::int64_t retrieval_heads = 0;  // of all layers
  std::int64_t window = 0;
  std::int64_t sinks = 0;
  std::int64_t dense_below = 0;
  std::int64_t projection_width = 0;  // R
  std::int64_t max_positions = 0;     // rows of the rotation tables

  std::int64_t num_ranks() const {
    return std::int64_t{mesh.replica} * mesh.shard * mesh.sequence *
           mesh.expert;
  }
  // Tokens of a sequence on one rank, rounded up.
  std::int64_t local_tokens() const {
    return (tokens + mesh.sequence - 1) / mesh.sequence;
  }
  // Micro-batches of a rank in a step: sequences over the ranks that take their
  // own, rounded up.
  std::int64_t micro_batches() const {
    const std::int64_t takers = num_ranks() / mesh.sequence;
    return (sequences + takers - 1) / takers;
  }
  // Query heads of a layer that retrieve, on average.
  double retrieval_per_layer() const {
    return static_cast<double>(retrieval_heads) /
           static_cast<double>(config.num_layers);
  }
};

// The longest sequence of the stage.
PlanCase CaseOf(const configs::Run& run, const ModelConfig& config,
                PlanStage stage, const MeshShape& mesh);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_PLAN_PLAN_CASE_H_
