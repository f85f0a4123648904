#include "trainer/stages/head_calibration.h"

#include <algorithm>
#include <iterator>
#include <span>
#include <utility>

#include "model/attention.h"
#include "model/head_map.h"
#include "trainer/model_input.h"

namespace rtpurbo {
namespace {

constexpr std::int64_t kTopK = 10;

HeadMap WithLocal(HeadMap map, const LocalShape& local) {
  map.window = local.window;
  map.sinks = local.sinks;
  return map;
}

// If ranks share the rows of sequences: adds up what each brings, on all.
// model.status() tells of errors.
void SumOverSequence(const Transformer& model, std::vector<float>* numbers) {
  if (Communicator* const sequence = model.options().sequence;
      sequence != nullptr) {
    const ExecContext& ctx = model.ctx();
    Tensor sum =
        FromHost(ctx, *numbers, {static_cast<std::int64_t>(numbers->size())});
    sequence->AllReduce(ctx, ReduceOp::kSum, &sum).IgnoreError();
    *numbers = ToHost<float>(ctx, sum);
  }
}

// A question as the model sees it: the last token is only predicted.
struct Labelled {
  std::int64_t rows = 0;  // of the answer, on all ranks
  ForwardInput input;
  TopLabels labels;
};

Labelled Label(Transformer& model, const AnsweredTokens& question,
               bool recompute) {
  const std::span<const std::int32_t> all(question.tokens);
  const auto rows =
      static_cast<std::int64_t>(all.size()) - question.answer_begin;
  CHECK_LE(1, rows) << "a question without an answer";
  Labelled result;
  result.rows = rows;
  result.input = MakeInput(model, all.first(all.size() - 1), rows, recompute);
  const Attend dense =
      RangeAttend(MakePatterns(model.config(), DenseMap(model.config())));
  result.labels = TeacherLabels(model, result.input, dense, kTopK);
  return result;
}

double MeanKl(Transformer& model, const Labelled& question,
              const Attend& attend) {
  Tape tape(model.ctx(), Tape::Mode::kOff);
  const Var x = model.Hidden(tape, question.input, attend);
  const Var loss = LabelLoss(tape, model, x, question.labels);
  std::vector<float> sum = ToHost<float>(model.ctx(), loss.value());
  SumOverSequence(model, &sum);
  return static_cast<double>(sum[0]) / static_cast<double>(question.rows);
}

// The gradient of every gate, all gates at `value`, added to *score negated
// and divided by `points`.
void AddGateGradients(Transformer& model, const Labelled& question,
                      const std::vector<PatternPtr>& full,
                      const std::vector<PatternPtr>& local, float value,
                      std::int64_t points, std::vector<float>* score) {
  const ModelConfig& config = model.config();
  const auto H = static_cast<std::size_t>(config.num_heads);
  std::vector<Var> gates;
  for (std::int64_t l = 0; l < config.num_layers; ++l) {
    gates.emplace_back(
        FromHost(model.ctx(), std::vector<float>(H, value), {config.num_heads}),
        /*requires_grad=*/true);
  }
  Tape tape(model.ctx());
  const Var x =
      model.Hidden(tape, question.input, GatedAttend(full, local, gates));
  const Var loss = LabelLoss(tape, model, x, question.labels);
  tape.Backward(loss, 1 / static_cast<float>(question.rows * points));
  for (std::size_t l = 0; l < gates.size(); ++l) {
    const std::vector<float> grad = ToHost<float>(model.ctx(), gates[l].grad());
    for (std::size_t h = 0; h < H; ++h) {
      (*score)[l * H + h] -= grad[h];
    }
  }
}

// Positions of the `count` best, ascending.
std::vector<std::size_t> Best(const std::vector<float>& score,
                              std::int64_t count) {
  std::vector<std::size_t> order = RankScores(score);
  order.resize(static_cast<std::size_t>(count));
  std::sort(order.begin(), order.end());
  return order;
}

}  // namespace

std::vector<float> NeedleScores(Transformer& model,
                                const std::vector<std::int32_t>& tokens,
                                kernels::RowRange post, kernels::RowRange pre) {
  const ModelConfig& config = model.config();
  const ExecContext& ctx = model.ctx();
  const auto T = static_cast<std::int64_t>(tokens.size());
  std::vector<float> score(static_cast<std::size_t>(config.num_query_heads()));
  // Of those rows of `post` that the call has: what they add to the mean.
  const auto observe = [&](const AttentionCall& call,
                           const kernels::AttentionPattern& pattern,
                           const Tensor& lse_HT) {
    const kernels::RowRange rows = {
        std::max(post.begin, call.query_begin),
        std::min(post.end, call.query_begin + call.q_THC.value().dim(0))};
    if (rows.begin >= rows.end) {
      return;
    }
    Tensor mass_H = Tensor::Empty(ctx, DType::kF32, {config.num_heads});
    kernels::AttentionMass(ctx, pattern, call.q_THC.value(), call.k_NGC.value(),
                           call.query_begin, lse_HT, rows, pre, &mass_H);
    const std::vector<float> mass = ToHost<float>(ctx, mass_H);
    const float share = static_cast<float>(rows.end - rows.begin) /
                        static_cast<float>(post.end - post.begin);
    for (std::size_t h = 0; h < mass.size(); ++h) {
      score[static_cast<std::size_t>(call.layer) * mass.size() + h] +=
          share * mass[h];
    }
  };
  Tape tape(ctx, Tape::Mode::kOff);
  model.AfterBlocks(
      tape, MakeInput(model, tokens, T),
      ObservedAttend(MakePatterns(config, DenseMap(config)), observe),
      config.num_layers);
  SumOverSequence(model, &score);
  return score;
}

std::vector<float> EffectScores(Transformer& model, const LocalShape& local,
                                const AnsweredTokens& question,
                                std::int64_t points, bool recompute) {
  const ModelConfig& config = model.config();
  const Labelled labelled = Label(model, question, recompute);
  const std::vector<PatternPtr> full = MakePatterns(config, DenseMap(config));
  const std::vector<PatternPtr> windowed =
      MakePatterns(config, WithLocal(LocalMap(config), local));
  std::vector<float> score(static_cast<std::size_t>(config.num_query_heads()));
  for (std::int64_t i = 0; i < points; ++i) {
    const double gate =
        (static_cast<double>(i) + 0.5) / static_cast<double>(points);
    AddGateGradients(model, labelled, full, windowed, static_cast<float>(gate),
                     points, &score);
  }
  SumOverSequence(model, &score);
  return score;
}

std::vector<float> OneByOneScores(Transformer& model, const LocalShape& local,
                                  const AnsweredTokens& question) {
  const ModelConfig& config = model.config();
  const Labelled labelled = Label(model, question, /*recompute=*/false);
  std::vector<float> score;
  HeadMap map = WithLocal(DenseMap(config), local);
  for (HeadMap::Layer& layer : map.layers) {
    for (std::size_t h = 0; h < layer.retrieval_H.size(); ++h) {
      layer.retrieval_H[h] = false;
      score.push_back(static_cast<float>(
          MeanKl(model, labelled, RangeAttend(MakePatterns(config, map)))));
      layer.retrieval_H[h] = true;
    }
  }
  return score;
}

double RankOverlap(const std::vector<float>& a, const std::vector<float>& b,
                   std::int64_t count) {
  const std::vector<std::size_t> best_a = Best(a, count);
  const std::vector<std::size_t> best_b = Best(b, count);
  std::vector<std::size_t> both;
  std::set_intersection(best_a.begin(), best_a.end(), best_b.begin(),
                        best_b.end(), std::back_inserter(both));
  return static_cast<double>(both.size()) / static_cast<double>(count);
}

}  // namespace rtpurbo
