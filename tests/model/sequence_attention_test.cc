// A model whose sequence is cut over ranks computes what it computes on one:
// values, gradients, selections; and moves the bytes that the map asks for.

#include "model/sequence_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <mutex>
#include <numeric>
#include <string>
#include <tuple>
#include <vector>

#include "autograd/ops/ops.h"
#include "dist/communicator.h"
#include "gtest/gtest.h"
#include "model/attention.h"
#include "tests/device_test.h"
#include "tests/dist/ranks.h"
#include "tests/model/random_model.h"
#include "tests/model/small_sparse.h"

namespace rtpurbo::testing {
namespace {

constexpr std::int64_t kTopK = 10;

// How a step attends.
enum class Way { kDense, kLocal, kSelective, kGated };

struct StepCase {
  std::string name;
  std::int64_t tokens = 70;
  std::int64_t labels = 20;
  Way way = Way::kSelective;
  bool recompute = false;
};

std::vector<StepCase> Cases() {
  return {
      {"Dense", 70, 20, Way::kDense},
      {"Local", 70, 20, Way::kLocal},
      {"Selective", 70, 20, Way::kSelective},
      {"Recomputed", 70, 20, Way::kSelective, true},
      {"Gated", 70, 20, Way::kGated},
      {"OneLabel", 70, 1, Way::kSelective},
      {"LabelsOnAllRanks", 70, 60, Way::kSelective},
      {"OnlyLabels", 33, 33, Way::kSelective},
      {"EmptyChunks", 5, 2, Way::kSelective, true},
      {"OneToken", 1, 1, Way::kSelective},
  };
}

// Layer 0 has a retrieval head on key/value head 0 alone, layer 1 on both.
HeadMap NoHeads(const ModelConfig& config) {
  HeadMap map = LocalMap(config);
  map.window = kSmallWindow;
  map.sinks = kSmallSinks;
  return map;
}

struct StepResult {
  double loss = 0;
  std::vector<float> hidden;  // of the label rows, in order
  std::vector<float> grads;   // of weights, then of gates
  KeptCounts kept;
};

class Step {
 public:
  Step(const StepCase& c, Communicator* sequence)
      : c_(c), sequence_(sequence), ctx_(model_.ctx()) {
    for (int l = 0; l < 2; ++l) {
      gates_.emplace_back(
          FromHost(ctx_, std::vector<float>{0.1F, 0.4F, 0.6F, 0.9F}, {4}),
          true);
    }
  }

  StepResult Run() {
    const ForwardInput input = Input();
    StepResult result;
    Tape tape(ctx_);
    const Var x = model_->Hidden(tape, input, MakeAttend(&result.kept));
    const Var loss = Loss(tape, x, input.part.get());
    tape.Backward(loss, 1.0F / static_cast<float>(c_.labels));
    result.loss = static_cast<double>(ToFloat(ctx_, loss.value()));
    result.hidden = ToFloats(ctx_, x.value());
    result.grads = model_.Grads();
    for (const Var& gate : gates_) {
      if (gate.grad().defined()) {
        const std::vector<float> grad = ToFloats(ctx_, gate.grad());
        result.grads.insert(result.grads.end(), grad.begin(), grad.end());
      }
    }
    return result;
  }

 private:
  ForwardInput Input() const {
    const std::vector<std::int32_t> tokens = RandomTokens(c_.tokens, 3);
    if (sequence_ != nullptr) {
      return CutSequence(ctx_, tokens, c_.labels, c_.recompute, sequence_);
    }
    std::vector<std::int32_t> positions(tokens.size());
    std::iota(positions.begin(), positions.end(), 0);
    ForwardInput input;
    input.id_T = FromHost(ctx_, tokens, {c_.tokens});
    input.position_T = FromHost(ctx_, positions, {c_.tokens});
    input.output_rows = c_.labels;
    input.recompute = c_.recompute;
    return input;
  }

  Attend MakeAttend(KeptCounts* kept) const {
    const ModelConfig& config = model_->config();
    const HeadMap map = SomeHeads(config);
    if (c_.way == Way::kDense) {
      return RangeAttend(MakePatterns(config, DenseMap(config)));
    }
    if (c_.way == Way::kLocal) {
      return RangeAttend(MakePatterns(config, NoHeads(config)));
    }
    if (c_.way == Way::kGated) {
      return GatedAttend(MakePatterns(config, DenseMap(config)),
                         MakePatterns(config, NoHeads(config)), gates_);
    }
    kernels::Selection selection;
    selection.block = 8;
    selection.recent = 8;
    selection.top_p = 0.5;
    return SelectiveAttend(MakePatterns(config, map),
                           RandomProjections(ctx_, config, map, 4, 50),
                           selection, c_.labels, kept);
  }

  Var Loss(Tape& tape, const Var& x, const SequencePart* part) {
    std::vector<std::int32_t> ids;
    for (std::int64_t i = 0; i < c_.labels * kTopK; ++i) {
      ids.push_back(
          static_cast<std::int32_t>((i / kTopK * 7 + i % kTopK) % 32));
    }
    Tensor id_LK = FromHost(ctx_, ids, {c_.labels, kTopK});
    Tensor logit_LK = Random(ctx_, DType::kF32, {c_.labels, kTopK}, 4);
    if (part != nullptr) {
      id_LK = OwnRows(ctx_, *part, id_LK);
      logit_LK = OwnRows(ctx_, *part, logit_LK);
    }
    return model_->WithHead(tape, x, [&](Tape& t, const Var& in, const Var& w) {
      return ops::TopKKl(t, in, w, id_LK, logit_LK);
    });
  }

  const StepCase& c_;
  Communicator* sequence_;
  mutable RandomModel model_;
  ExecContext ctx_;
  std::vector<Var> gates_;
};

void AddTo(const std::vector<float>& from, std::vector<float>* to) {
  to->resize(from.size());
  for (std::size_t i = 0; i < from.size(); ++i) {
    (*to)[i] += from[i];
  }
}

// The sum of all ranks' results; `hidden` in the order of positions.
StepResult RunOn(int size, const StepCase& c) {
  StepResult sum;
  std::vector<float> hidden(static_cast<std::size_t>(c.labels * 16));
  std::mutex mutex;
  RunCpuRanks(size, [&](const ExecContext& /*ctx*/, Communicator& comm) {
    const StepResult one = Step(c, &comm).Run();
    EXPECT_TRUE(comm.Poll().ok()) << comm.Poll();
    const SequenceShard shard(c.tokens, size);
    const std::lock_guard<std::mutex> lock(mutex);
    sum.loss += one.loss;
    AddTo(one.grads, &sum.grads);
    sum.kept.rows += one.kept.rows;
    sum.kept.tokens += one.kept.tokens;
    sum.kept.blocks += one.kept.blocks;
    sum.kept.visible += one.kept.visible;
    auto from = one.hidden.begin();
    for (int i = 0; i < SequenceShard::kChunks; ++i) {
      const Interval rows = shard.queries(comm.rank(), i, c.labels);
      const auto count = static_cast<std::ptrdiff_t>(rows.size() * 16);
      std::copy(from, from + count,
                hidden.begin() + static_cast<std::ptrdiff_t>(
                                     (rows.begin - c.tokens + c.labels) * 16));
      from += count;
    }
  });
  sum.hidden = hidden;
  return sum;
}

using Param = std::tuple<int, StepCase>;
class SequenceStepTest : public ::testing::TestWithParam<Param> {};

INSTANTIATE_TEST_SUITE_P(All, SequenceStepTest,
                         ::testing::Combine(::testing::Values(1, 2, 4),
                                            ::testing::ValuesIn(Cases())),
                         [](const auto& p) {
                           return std::get<StepCase>(p.param).name + "On" +
                                  std::to_string(std::get<int>(p.param));
                         });

// Sums over keys and rows are taken in another order: 1e-6 of the largest.
TEST_P(SequenceStepTest, IsTheStepOfOneRank) {
  const auto& [size, c] = GetParam();
  const StepResult one = Step(c, nullptr).Run();
  const StepResult many = RunOn(size, c);
  EXPECT_NEAR(many.loss, one.loss, 1e-6 * std::max(1.0, one.loss));
  ExpectNear(many.hidden, one.hidden, 4e-6F);
  const double norm = std::sqrt(std::inner_product(
      one.grads.begin(), one.grads.end(), one.grads.begin(), 0.0));
  EXPECT_GT(norm, 1e-3);
  ASSERT_EQ(many.grads.size(), one.grads.size());
  for (std::size_t i = 0; i < one.grads.size(); ++i) {
    ASSERT_NEAR(many.grads[i], one.grads[i], 1e-6 * norm) << i;
  }
  EXPECT_EQ(many.kept.rows, one.kept.rows);
  EXPECT_EQ(many.kept.tokens, one.kept.tokens);
  EXPECT_EQ(many.kept.blocks, one.kept.blocks);
  EXPECT_EQ(many.kept.visible, one.kept.visible);
}

TEST_P(SequenceStepTest, HasTheSameBitsInEveryRun) {
  const auto& [size, c] = GetParam();
  EXPECT_EQ(RunOn(size, c).hidden, RunOn(size, c).hidden);
}

// Both passes of the steps above, without and with recomputation: keys and
// values forth and their gradients back, and projected keys of 4 f32 a
// retrieval head to the ranks that have label rows.
TEST(SequenceStepBytesTest, AreThoseThatTheMapAsksFor) {
  for (const bool recompute : {false, true}) {
    const StepCase c = {"", 70, 20, Way::kSelective, recompute};
    RunCpuRanks(4, [&](const ExecContext& /*ctx*/, Communicator& comm) {
      Step(c, &comm).Run();
      const ModelConfig config = SmallConfig();
      const HeadMap map = SomeHeads(config);
      const SequenceShard shard(c.tokens, comm.size());
      const int rank = comm.rank();
      std::int64_t bytes = 0;
      for (std::int64_t layer = 0; layer < config.num_layers; ++layer) {
        const KeyNeeds needs =
            NeedsOf(*MakePatterns(config, map)[static_cast<std::size_t>(layer)],
                    config.num_kv_heads);
        const std::int64_t wanted = layer == 1 ? c.labels : c.tokens;
        bytes +=
            2 * config.head_width * 4 *
            ((recompute ? 2 : 1) * NumKeyRowsSent(shard, needs, wanted, rank) +
             NumKeyRowsReceived(shard, needs, wanted, rank));
        const KeyNeeds all = {.whole_G = {true}};
        bytes += static_cast<std::int64_t>(map.RetrievalHeads(layer).size()) *
                 4 * 4 * NumKeyRowsSent(shard, all, c.labels, rank);
      }
      EXPECT_EQ(comm.stats().total().bytes_sent, bytes);
    });
  }
}

// One layer: 3 key/value heads of width 4, query heads {0, 1} on the first,
// which is whole if one of them is dense, 2 on the second, 3 on the third.
constexpr std::int64_t kTokens = 61;
constexpr std::int64_t kQ = 4;
constexpr std::int64_t kG = 3;
constexpr std::int64_t kC = 4;

kernels::AttentionPattern SomePattern(bool one_is_dense) {
  kernels::AttentionPattern pattern;
  pattern.scale = 0.5F;
  pattern.sinks = kSmallSinks;
  pattern.window_H.assign(kQ, kSmallWindow);
  if (one_is_dense) {
    pattern.window_H[1] = kernels::AttentionPattern::kDense;
  }
  pattern.kv_head_H = {0, 0, 1, 2};
  return pattern;
}

// This rank's rows of a call on random queries, keys and values, of which
// those that `spoilt(position, kv head)` says are NaN.
template <typename Fn>
AttentionCall CallOn(const ExecContext& ctx, const SequencePart& part,
                     std::int64_t wanted, Fn spoilt) {
  std::vector<float> k = Normal(kTokens * kG * kC, 2);
  for (std::size_t i = 0; i < k.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i) / kC;
    if (spoilt(row / kG, row % kG)) {
      k[i] = std::numeric_limits<float>::quiet_NaN();
    }
  }
  const auto own = [&](const Tensor& whole) {
    return Var(OwnRows(ctx, part, whole), true);
  };
  const Tensor q = Random(ctx, DType::kF32, {kTokens, kQ, kC}, 1);
  AttentionCall call;
  call.part = &part;
  call.wanted = wanted;
  call.q_THC = own(q.Slice(kTokens - wanted, kTokens));
  call.k_NGC = own(FromHost(ctx, k, {kTokens, kG, kC}));
  call.v_NGC = call.k_NGC;
  return call;
}

bool Nowhere(std::int64_t /*position*/, std::int64_t /*kv_head*/) {
  return false;
}

template <typename Fn>
std::vector<float> Attend(const ExecContext& ctx, const SequencePart& part,
                          const kernels::AttentionPattern& pattern, Fn spoilt) {
  Tape tape(ctx, Tape::Mode::kOff);
  const AttentionCall call = CallOn(ctx, part, kTokens, spoilt);
  return ToFloats(
      ctx, SequenceKeys(tape, call, pattern).Attend(tape, pattern).value());
}

// NaN in every key that a rank's queries do not see, on whatever rank it lies,
// changes no bit of that rank's output.
void ExpectReadsItsHaloOnly(const ExecContext& ctx, Communicator& comm,
                            bool dense, int victim) {
  const SequencePart part{SequenceShard(kTokens, 4), &comm, kTokens};
  const kernels::AttentionPattern pattern = SomePattern(dense);
  const KeyNeeds needs = NeedsOf(pattern, kG);
  const auto is_far = [&](std::int64_t i, std::int64_t g) {
    const bool whole = needs.whole_G[static_cast<std::size_t>(g)];
    return Intersection({{i, i + 1}},
                        KeysOf(part.shard, needs, kTokens, victim, whole))
        .empty();
  };
  const std::vector<float> clean = Attend(ctx, part, pattern, Nowhere);
  const std::vector<float> spoilt = Attend(ctx, part, pattern, is_far);
  if (comm.rank() == victim) {
    EXPECT_EQ(spoilt, clean);  // NaN equals nothing
  }
}

TEST(SequenceKeysTest, KeysOutsideOfTheHaloAreNotRead) {
  for (const bool dense : {false, true}) {
    for (int victim = 0; victim < 4; ++victim) {
      RunCpuRanks(4, [=](const ExecContext& ctx, Communicator& comm) {
        ExpectReadsItsHaloOnly(ctx, comm, dense, victim);
      });
    }
  }
}

// Forth, and the gradients of both back.
void ExpectBytesOfTheFormula(const ExecContext& ctx, Communicator& comm,
                             bool dense, std::int64_t wanted) {
  const SequencePart part{SequenceShard(kTokens, 4), &comm, wanted};
  const kernels::AttentionPattern pattern = SomePattern(dense);
  Tape tape(ctx);
  const AttentionCall call = CallOn(ctx, part, wanted, Nowhere);
  const Var o = SequenceKeys(tape, call, pattern).Attend(tape, pattern);
  const KeyNeeds needs = NeedsOf(pattern, kG);
  constexpr std::int64_t kRowBytes = 2 * kC * 4;  // keys and values
  const std::int64_t sent =
      kRowBytes * NumKeyRowsSent(part.shard, needs, wanted, comm.rank());
  const std::int64_t received =
      kRowBytes * NumKeyRowsReceived(part.shard, needs, wanted, comm.rank());
  EXPECT_EQ(comm.stats().total().bytes_sent, sent);
  EXPECT_EQ(comm.stats().total().bytes_received, received);
  tape.Backward(o, o.value());
  EXPECT_EQ(comm.stats().total().bytes_sent, sent + received);
  EXPECT_EQ(comm.stats().total().bytes_received, sent + received);
}

TEST(SequenceKeysTest, BytesOnTheWireAreThoseOfTheFormula) {
  for (const bool dense : {false, true}) {
    for (const std::int64_t wanted : {kTokens, std::int64_t{7}}) {
      RunCpuRanks(4, [=](const ExecContext& ctx, Communicator& comm) {
        ExpectBytesOfTheFormula(ctx, comm, dense, wanted);
      });
    }
  }
}

}  // namespace
}  // namespace rtpurbo::testing
