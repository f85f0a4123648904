#include "trainer/conversion/config_options.h"

#include <algorithm>

#include "kernels/core/check.h"
#include "kernels/core/rng.h"

namespace rtpurbo {
namespace {

DocumentStreamOptions StreamOptions(const configs::Run& run,
                                    std::int64_t tokens,
                                    double question_share) {
  DocumentStreamOptions options;
  options.seed = run.seed();
  options.tokens = tokens;
  options.min_tokens =
      run.data().min_tokens() < tokens ? run.data().min_tokens() : 0;
  options.question_share = question_share;
  options.kinds = KindsOf(run.data().question_kinds());
  options.label_tokens = run.distill().label_tokens();
  options.text_label_tokens =
      std::min(run.distill().text_label_tokens(), run.distill().label_tokens());
  return options;
}

template <typename StageConfig>
TrainOptions BaseOptions(const configs::Run& run, const StageConfig& stage) {
  TrainOptions options;
  options.steps = stage.steps();
  options.schedule.kind = stage.schedule() == configs::COSINE
                              ? Schedule::Kind::kCosine
                              : Schedule::Kind::kConstant;
  options.schedule.peak = stage.learning_rate();
  options.schedule.warmup_steps = stage.warmup_steps();
  options.schedule.total_steps = stage.steps();
  options.optimizer.beta1 = run.optimizer().beta1();
  options.optimizer.beta2 = run.optimizer().beta2();
  options.optimizer.epsilon = run.optimizer().epsilon();
  options.optimizer.clip = stage.clip_norm();
  options.checkpoint_every = run.checkpoint().every();
  options.keep_last = run.checkpoint().keep_last();
  return options;
}

}  // namespace

std::int64_t LongestSequence(const configs::Run& run) {
  std::int64_t longest =
      std::max({run.data().tokens(), run.calibration().tokens(),
                run.align().tokens(), run.distill().tokens()});
  for (const std::int64_t tokens : run.evaluation().tokens()) {
    longest = std::max(longest, tokens);
  }
  return longest + run.evaluation().answer_tokens();
}

DType ComputeTypeOf(const configs::Model& model) {
  return model.compute_type() == configs::Model::BFLOAT16 ? DType::kBF16
                                                          : DType::kF32;
}

std::int64_t ProjectionWidthOf(const configs::Attention& attention,
                               const ModelConfig& config) {
  const std::int64_t width = attention.projection_width();
  return std::min(
      config.head_width,
      width > 0 ? width : std::max<std::int64_t>(8, config.head_width / 8));
}

kernels::Selection SelectionOf(const configs::Attention& attention) {
  kernels::Selection selection;
  selection.order = attention.order() == configs::Attention::MAXIMUM
                        ? kernels::Selection::Order::kMaximum
                        : kernels::Selection::Order::kMass;
  selection.top_p = attention.top_p();
  selection.block = attention.granularity() == configs::Attention::TOKEN
                        ? 1
                        : attention.block();
  selection.sinks = attention.sinks();
  selection.recent = attention.recent();
  return selection;
}

QuestionKind KindOf(configs::QuestionKind kind) {
  switch (kind) {
    case configs::MULTI_KEY:
      return QuestionKind::kMultiKey;
    case configs::MULTI_VALUE:
      return QuestionKind::kMultiValue;
    case configs::MULTI_QUERY:
      return QuestionKind::kMultiQuery;
    case configs::VARIABLE_TRACKING:
      return QuestionKind::kVariableTracking;
    default:
      return QuestionKind::kSingle;
  }
}

std::vector<QuestionKind> KindsOf(
    const google::protobuf::RepeatedField<int>& kinds) {
  std::vector<QuestionKind> result;
  for (const int kind : kinds) {
    result.push_back(KindOf(static_cast<configs::QuestionKind>(kind)));
  }
  return result;
}

DocumentStreamOptions AlignStreamOptions(const configs::Run& run) {
  return StreamOptions(run, run.align().tokens(), run.align().question_share());
}

DocumentStreamOptions DistillStreamOptions(const configs::Run& run) {
  return StreamOptions(run, run.distill().tokens(),
                       run.distill().question_share());
}

std::uint64_t MeasureSeed(const configs::Run& run) {
  return run.evaluation().seed() == 0
             ? run.seed()
             : MixBits(run.seed() ^ MixBits(run.evaluation().seed()));
}

std::set<Role> TrainableRoles(const configs::Distill& distill) {
  std::set<Role> roles = {Role::kAttention};
  if (distill.trainable() != configs::Distill::ATTENTION) {
    roles.insert(Role::kNorms);
  }
  if (distill.trainable() == configs::Distill::ALL) {
    roles.insert({Role::kEmbedding, Role::kExperts, Role::kHead});
  }
  if (distill.train_router()) {
    roles.insert(Role::kRouter);
  }
  return roles;
}

ProjectionStart StartOf(const configs::Run& run, std::int64_t width) {
  ProjectionStart start;
  switch (run.align().start()) {
    case configs::Align::SVD_PLAIN:
      start.kind = ProjectionStart::Kind::kSvdPlain;
      break;
    case configs::Align::RANDOM:
      start.kind = ProjectionStart::Kind::kRandom;
      break;
    default:
      start.kind = ProjectionStart::Kind::kSvdRope;
  }
  start.width = width;
  start.ridge = run.align().ridge();
  start.seed = run.seed();
  return start;
}

TrainOptions AlignTrainOptions(const configs::Run& run) {
  TrainOptions options = BaseOptions(run, run.align());
  options.held_out_every = run.align().steps();
  return options;
}

TrainOptions DistillTrainOptions(const configs::Run& run) {
  TrainOptions options = BaseOptions(run, run.distill());
  options.held_out_every = run.distill().held_out_every();
  return options;
}

}  // namespace rtpurbo
