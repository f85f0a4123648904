// One step of a whole model under every option that must not matter.

#include "model/transformer.h"

#include <numeric>

#include "autograd/ops/ops.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/attention.h"
#include "model/head_map.h"
#include "tests/device_test.h"
#include "tests/model/random_model.h"
#include "tests/model/small_sparse.h"

namespace rtpurbo::testing {
namespace {

constexpr std::int64_t kTopK = 10;

ForwardInput Input(const ExecContext& ctx,
                   const std::vector<std::int32_t>& tokens,
                   const std::vector<std::int32_t>& positions,
                   std::int64_t rows, bool recompute) {
  const auto T = static_cast<std::int64_t>(tokens.size());
  return {FromHost(ctx, tokens, {T}), FromHost(ctx, positions, {T}), rows,
          recompute};
}

ForwardInput Input(const ExecContext& ctx,
                   const std::vector<std::int32_t>& tokens, std::int64_t rows,
                   bool recompute = false) {
  std::vector<std::int32_t> positions(tokens.size());
  std::iota(positions.begin(), positions.end(), 0);
  return Input(ctx, tokens, positions, rows, recompute);
}

struct Labels {
  Tensor id_LK;
  Tensor logit_LK;
};

// Ten different ids a row, and logits.
Labels SomeLabels(const ExecContext& ctx, std::int64_t rows, unsigned seed) {
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < rows * kTopK; ++i) {
    ids.push_back(static_cast<std::int32_t>((i / kTopK * 7 + i % kTopK) % 32));
  }
  return {FromHost(ctx, ids, {rows, kTopK}),
          Random(ctx, DType::kF32, {rows, kTopK}, seed)};
}

Var Loss(Tape& tape, Transformer& model, const Var& x, const Labels& labels) {
  return model.WithHead(tape, x, [&](Tape& t, const Var& in, const Var& w) {
    return ops::TopKKl(t, in, w, labels.id_LK, labels.logit_LK);
  });
}

struct StepResult {
  float loss;
  std::vector<float> grads;
};

// One sparse step on 70 tokens with 20 label rows.
StepResult SparseStep(bool recompute, const std::set<Role>& trainable) {
  RandomModel model(SmallConfig(), trainable);
  const ExecContext ctx = model.ctx();
  const HeadMap map = SomeHeads(model->config());
  kernels::Selection selection;
  selection.block = 8;
  selection.recent = 8;
  selection.top_p = 0.5;
  const Attend attend =
      SelectiveAttend(MakePatterns(model->config(), map),
                      RandomProjections(ctx, model->config(), map, 4, 50),
                      selection, 20, nullptr);
  Tape tape(ctx);
  const Var x = model->Hidden(
      tape, Input(ctx, RandomTokens(70, 3), 20, recompute), attend);
  const Var loss = Loss(tape, *model, x, SomeLabels(ctx, 20, 4));
  tape.Backward(loss, 1.0F / 20);
  return {ToFloat(ctx, loss.value()), model.Grads()};
}

double Norm(const std::vector<float>& values) {
  return std::sqrt(
      std::inner_product(values.begin(), values.end(), values.begin(), 0.0));
}

TEST(TransformerTest, RecomputedStepHasTheBitsOfThePlainOne) {
  const StepResult plain = SparseStep(false, kAllRoles);
  const StepResult recomputed = SparseStep(true, kAllRoles);
  EXPECT_GT(Norm(plain.grads), 1e-4);
  EXPECT_EQ(plain.loss, recomputed.loss);
  EXPECT_EQ(plain.grads, recomputed.grads);
}

TEST(TransformerTest, FrozenRolesDoNotChangeTheOtherGradients) {
  const StepResult plain = SparseStep(true, {Role::kAttention});
  const StepResult all = SparseStep(true, kAllRoles);
  EXPECT_EQ(plain.loss, all.loss);
  EXPECT_LT(plain.grads.size(), all.grads.size());
  // The first trained group of `plain` is block 0's attention, after the
  // embedding in `all`.
  const auto begin = all.grads.begin() + std::ptrdiff_t{32} * 16;
  const std::vector<float> same(begin, begin + 512);
  EXPECT_EQ(std::vector<float>(plain.grads.begin(), plain.grads.begin() + 512),
            same);
}

TEST(TransformerTest, LastBlockComputesOnlyTheRowsThatAreWanted) {
  RandomModel model;
  const ExecContext ctx = model.ctx();
  const Attend attend =
      RangeAttend(MakePatterns(model->config(), SomeHeads(model->config())));
  const auto hidden = [&](std::int64_t rows) {
    Tape tape(ctx, Tape::Mode::kOff);
    return model->Hidden(tape, Input(ctx, RandomTokens(33, 5), rows), attend)
        .value();
  };
  const std::vector<float> all = ToFloats(ctx, hidden(33));
  for (const std::int64_t rows : {1, 2, 17}) {
    const std::vector<float> last(all.end() - rows * 16, all.end());
    ExpectNear(ToFloats(ctx, hidden(rows)), last, 1e-5F);
  }
}

// Two documents with 3 and 300 labels, as two micro-batches and as one packed
// sequence: losses are sums, so the step is the same.
TEST(TransformerTest, UnequalMicroBatchesAreOneBatch) {
  RandomModel apart;
  RandomModel packed;
  const ExecContext ctx = apart.ctx();
  const std::vector<std::int32_t> a = RandomTokens(40, 1);
  const std::vector<std::int32_t> b = RandomTokens(310, 2);
  const Labels label_a = SomeLabels(ctx, 3, 7);
  const Labels label_b = SomeLabels(ctx, 300, 8);
  const float scale = 1.0F / 303;
  const HeadMap map = SomeHeads(apart->config());
  for (const auto& [tokens, labels] : {std::pair{a, label_a}, {b, label_b}}) {
    Tape tape(ctx);
    const Var x =
        apart->Hidden(tape, Input(ctx, tokens, labels.id_LK.dim(0)),
                      RangeAttend(MakePatterns(apart->config(), map)));
    tape.Backward(Loss(tape, *apart, x, labels), scale);
  }
  std::vector<std::int32_t> tokens = a;
  tokens.insert(tokens.end(), b.begin(), b.end());
  std::vector<std::int32_t> positions(350);
  std::vector<std::int32_t> documents(350);
  for (std::int32_t t = 0; t < 350; ++t) {
    documents[static_cast<std::size_t>(t)] = t < 40 ? 0 : 40;
    positions[static_cast<std::size_t>(t)] = t < 40 ? t : t - 40;
  }
  const Tensor document_N = FromHost(packed.ctx(), documents, {350});
  Tape tape(packed.ctx());
  const Var x = packed->Hidden(
      tape, Input(packed.ctx(), tokens, positions, 350, false),
      RangeAttend(MakePatterns(packed->config(), map, document_N)));
  const Var loss =
      ops::Add(tape, Loss(tape, *packed, ops::Rows(tape, x, 37, 40), label_a),
               Loss(tape, *packed, ops::Rows(tape, x, 50, 350), label_b));
  tape.Backward(loss, scale);
  const std::vector<float> expected = apart.Grads();
  const double norm = Norm(expected);
  ASSERT_GT(norm, 1e-3);
  std::vector<float> difference = packed.Grads();
  for (std::size_t i = 0; i < difference.size(); ++i) {
    difference[i] -= expected[i];
  }
  EXPECT_LT(Norm(difference), 1e-5 * norm);
}

// What lies behind a window changes nothing, and what lies in it does.
TEST(TransformerTest, LocalModelSeesNothingBehindItsWindows) {
  RandomModel model;
  const ExecContext ctx = model.ctx();
  HeadMap map = LocalMap(model->config());
  map.window = 5;
  map.sinks = 1;
  const auto last_row = [&](std::size_t changed) {
    std::vector<std::int32_t> tokens = RandomTokens(40, 9);
    tokens[changed] = (tokens[changed] + 1) % 32;
    Tape tape(ctx, Tape::Mode::kOff);
    return ToFloats(
        ctx, model
                 ->Hidden(tape, Input(ctx, tokens, 1),
                          RangeAttend(MakePatterns(model->config(), map)))
                 .value());
  };
  // Two layers of window 5 reach ten positions back from row 39; position 0 is
  // a sink.
  EXPECT_EQ(last_row(27), last_row(28));
  EXPECT_NE(last_row(28), last_row(29));
  EXPECT_NE(last_row(28), last_row(0));
}

}  // namespace
}  // namespace rtpurbo::testing
