#include "trainer/evaluation/fidelity.h"

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/attention_view.h"
#include "kernels/top_k_kl.h"
#include "tests/model/random_model.h"
#include "tests/status_matchers.h"
#include "tests/trainer/small_teacher.h"

namespace rtpurbo::testing {
namespace {

using kernels::AttentionPattern;

constexpr std::int64_t kTokens = 60;
constexpr std::int64_t kLabels = 9;  // rows 50 .. 58

class FidelityTest : public ::testing::Test {
 protected:
  FidelityTest() {
    sequence_.tokens_T = RandomTokens(kTokens, 5);
    sequence_.label_begin = kTokens - kLabels;
    labels_ = TeacherLabels(
        *model_, Input(),
        SparseAttend(model_->config(), DenseMode(model_->config()), kTokens - 1,
                     kLabels, nullptr),
        /*top_k=*/10);
  }

  ForwardInput Input() const {
    return MakeInput(model_.ctx(),
                     std::span(sequence_.tokens_T).first(kTokens - 1), kLabels);
  }
  SparseMode Sparse() const {
    return SmallMode(model_.ctx(), model_->config());
  }
  Fidelity Measure(const SparseMode& mode) {
    auto fidelity = MeasureFidelity(*model_, mode, sequence_, labels_);
    EXPECT_OK(fidelity);
    return *fidelity;
  }

  mutable RandomModel model_{SmallConfig(), {}};
  Sequence sequence_;
  TopLabels labels_;
};

// The mean over label rows of what a dense row sees: 51 .. 59 keys.
constexpr double kVisible = 55;

TEST_F(FidelityTest, TheTeacherIsFaithfulToItself) {
  const Fidelity dense = Measure(DenseMode(model_->config()));
  EXPECT_NEAR(dense.kl, 0, 1e-6);
  EXPECT_EQ(dense.argmax_agreement, 1);
  EXPECT_NEAR(dense.kept_mass, 1, 1e-6);
  EXPECT_EQ(dense.tokens_kept, kVisible);
  EXPECT_EQ(dense.blocks_kept, 1);
  EXPECT_EQ(dense.compute_sparsity, 0);
  EXPECT_EQ(dense.memory_sparsity, 0);
}

TEST_F(FidelityTest, AShortSequenceIsDense) {
  SparseMode mode = Sparse();
  mode.dense_below = kTokens - 1;
  const Fidelity fidelity = Measure(mode);
  EXPECT_NEAR(fidelity.kl, 0, 1e-6);
  EXPECT_EQ(fidelity.tokens_kept, kVisible);
  EXPECT_EQ(fidelity.compute_sparsity, 0);
  mode.dense_below = kTokens - 2;
  EXPECT_GT(Measure(mode).kl, 1e-4);
}

TEST_F(FidelityTest, KlAndAgreementAreThoseOfTheLogits) {
  const SparseMode mode = Sparse();
  Tape tape(model_.ctx(), Tape::Mode::kOff);
  const Var x_LD = model_->Hidden(
      tape, Input(),
      SparseAttend(model_->config(), mode, kTokens - 1, kLabels, nullptr));
  const std::vector<float> z =
      ToFloats(model_.ctx(), model_->Logits(tape, x_LD).value());
  const std::vector<float> teacher = ToFloats(model_.ctx(), labels_.logit_LK);
  const auto ids = ToHost<std::int32_t>(model_.ctx(), labels_.id_LK);
  double kl = 0;
  int agree = 0;
  for (std::size_t l = 0; l < kLabels; ++l) {
    const auto log_sum = [&](auto value) {
      double sum = 0;
      for (std::size_t k = 0; k < 10; ++k) {
        sum += std::exp(static_cast<double>(value(k)));
      }
      return std::log(sum);
    };
    const auto student_of = [&](std::size_t k) {
      return z[l * 32 + static_cast<std::size_t>(ids[l * 10 + k])];
    };
    const auto teacher_of = [&](std::size_t k) { return teacher[l * 10 + k]; };
    for (std::size_t k = 0; k < 10; ++k) {
      const double p = teacher_of(k) - log_sum(teacher_of);
      kl += std::exp(p) * (p - (student_of(k) - log_sum(student_of)));
    }
    const auto row = z.begin() + static_cast<std::ptrdiff_t>(l * 32);
    agree += std::max_element(row, row + 32) - row == ids[l * 10] ? 1 : 0;
  }
  const Fidelity fidelity = Measure(mode);
  EXPECT_GT(kl, 1e-3);
  EXPECT_NEAR(fidelity.kl, kl / kLabels, 1e-5);
  EXPECT_EQ(fidelity.argmax_agreement,
            static_cast<double>(agree) / static_cast<double>(kLabels));
}

// Everything from AttentionView::visible, key by key and in double.
struct ByHand {
  double mass = 0;
  double tokens = 0;
  double rows = 0;
  double attended = 0;
  double held = 0;

  void Add(const ExecContext& ctx, const HeadMap& map,
           const AttentionCall& call, const AttentionPattern& pattern) {
    const std::vector<float> q = ToFloats(ctx, call.q_THC.value());
    const std::vector<float> k = ToFloats(ctx, call.k_NGC.value());
    const kernels::AttentionView view = kernels::ViewOf(
        pattern, call.q_THC.value(), call.k_NGC.value(), call.query_begin);
    for (std::int64_t t = view.T - kLabels; t < view.T; ++t) {
      const std::int64_t i = call.query_begin + t;
      for (std::int64_t j = 0; j <= i; ++j) {
        std::vector<bool> any(2);
        for (std::int64_t h = 0; h < 4; ++h) {
          const bool visible = view.visible(h, t, j);
          attended += visible / static_cast<double>(i + 1) / 4;
          any[static_cast<std::size_t>(h / 2)] =
              any[static_cast<std::size_t>(h / 2)] || visible;
        }
        held += (any[0] + any[1]) / static_cast<double>(i + 1) / 2;
      }
      for (std::int64_t h = 0; h < 4; ++h) {
        if (map.retrieves(call.layer, h)) {
          AddHead(view, q, k, h, t);
        }
      }
    }
  }
  void AddHead(const kernels::AttentionView& view, const std::vector<float>& q,
               const std::vector<float>& k, std::int64_t h, std::int64_t t) {
    double all = 0;
    double kept = 0;
    for (std::int64_t j = 0; j <= view.query_begin + t; ++j) {
      double score = 0;
      for (std::int64_t c = 0; c < view.C; ++c) {
        score += static_cast<double>(
                     q[static_cast<std::size_t>(view.row(h, t) + c)]) *
                 k[static_cast<std::size_t>(view.key(h, j) + c)];
      }
      const double weight = std::exp(view.scale * score);
      all += weight;
      kept += view.visible(h, t, j) ? weight : 0;
      tokens += view.visible(h, t, j);
    }
    mass += kept / all;
    ++rows;
  }
};

TEST_F(FidelityTest, BudgetsAreWhatEachRowSees) {
  for (const std::int64_t block : {1, 4, 16}) {
    SparseMode mode = Sparse();
    mode.selection.block = block;
    ByHand expected;
    KeptCounts counts;
    Tape tape(model_.ctx(), Tape::Mode::kOff);
    model_->Hidden(
        tape, Input(),
        SparseAttend(model_->config(), mode, kTokens - 1, kLabels, &counts,
                     [&](const AttentionCall& call,
                         const AttentionPattern& pattern, const Tensor&) {
                       expected.Add(model_.ctx(), mode.map, call, pattern);
                     }));
    const Fidelity fidelity = Measure(mode);
    const double rows = 3 * kLabels;
    EXPECT_EQ(expected.rows, rows);
    EXPECT_NEAR(fidelity.kept_mass, expected.mass / rows, 1e-5);
    EXPECT_LT(fidelity.kept_mass, 0.999);
    EXPECT_DOUBLE_EQ(fidelity.tokens_kept, expected.tokens / rows);
    EXPECT_DOUBLE_EQ(fidelity.tokens_kept,
                     static_cast<double>(counts.tokens) / rows);
    EXPECT_DOUBLE_EQ(fidelity.blocks_kept,
                     static_cast<double>(counts.blocks) / rows);
    EXPECT_NEAR(fidelity.compute_sparsity,
                1 - expected.attended / (2 * kLabels), 1e-12);
    EXPECT_NEAR(fidelity.memory_sparsity, 1 - expected.held / (2 * kLabels),
                1e-12);
    EXPECT_LT(fidelity.memory_sparsity, fidelity.compute_sparsity);
  }
}

TEST_F(FidelityTest, DenseRetrievalHeadsKeepEverything) {
  SparseMode mode = Sparse();
  mode.projections = nullptr;
  const Fidelity fidelity = Measure(mode);
  EXPECT_NEAR(fidelity.kept_mass, 1, 1e-6);
  EXPECT_EQ(fidelity.tokens_kept, kVisible);
  EXPECT_GT(fidelity.kl, 1e-4);
  EXPECT_GT(fidelity.compute_sparsity, 0.4);
  // Three of four key/value heads serve a dense head; the window of the other
  // holds 6 keys and 2 sinks.
  double local = 0;
  for (double visible = 51; visible < 60; ++visible) {
    local += 8 / visible / kLabels;
  }
  EXPECT_NEAR(fidelity.memory_sparsity, 1 - (3 + local) / 4, 1e-12);
}

TEST_F(FidelityTest, WithoutRetrievalHeadsThereIsNoBudget) {
  SparseMode mode = Sparse();
  mode.projections = nullptr;
  for (HeadMap::Layer& layer : mode.map.layers) {
    layer.retrieval_H.assign(4, false);
  }
  const Fidelity fidelity = Measure(mode);
  EXPECT_TRUE(std::isnan(fidelity.kept_mass));
  EXPECT_TRUE(std::isnan(fidelity.tokens_kept));
  const nlohmann::json row = FidelityRow("window only", fidelity);
  EXPECT_TRUE(row["kept_mass"].is_null());
  EXPECT_EQ(row["model"], "window only");
  EXPECT_EQ(row["kl"].get<double>(), fidelity.kl);
  EXPECT_EQ(row.size(), 8U);
}

TEST_F(FidelityTest, RunsAreTheSameBitForBit) {
  const Fidelity a = Measure(Sparse());
  const Fidelity b = Measure(Sparse());
  EXPECT_EQ(FidelityRow("x", a).dump(), FidelityRow("x", b).dump());
}

TEST_F(FidelityTest, MeansCountSequencesAlike) {
  Fidelity a;
  a.kl = 1;
  a.memory_sparsity = 0.5;
  Fidelity b;
  b.kl = 4;
  const Fidelity mean = MeanFidelity(std::vector{a, b});
  EXPECT_EQ(mean.kl, 2.5);
  EXPECT_EQ(mean.memory_sparsity, 0.25);
}

}  // namespace
}  // namespace rtpurbo::testing
