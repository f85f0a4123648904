// Useful arithmetic of a training step of stage 2 beside the machine's matrix
// product: tiny, 2048 tokens, 64 label rows.
//
// Useful FLOPs of a sequence of T tokens are three times (forward, and two
// products of the backward for each) those of
//   products    2 T x the elements of every matrix that a token goes through;
//               in the last block, queries, output, router and experts count
//               for label rows alone
//   attention   4 C for each visible pair of query and key, all heads
//   head        2 V D for each label row
// Recomputation and the teacher don't count. The rival is sgemm of 2048^3 with
// the same threads, in the same process.

#include <cblas.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <vector>

#include "data/file_system.h"
#include "dist/solo_communicator.h"
#include "kernels/core/parallel.h"
#include "model/attention.h"
#include "trainer/stages/projection_start.h"
#include "trainer/stages/self_distillation.h"
#include "trainer/trained_model.h"

namespace rtpurbo {
namespace {

constexpr std::int64_t kTokens = 2048;
constexpr std::int64_t kLabels = 64;
constexpr int kRepeats = 5;

// The median of kRepeats, after one to warm up.
double Seconds(const std::function<void()>& work) {
  std::vector<double> seconds;
  for (int i = 0; i <= kRepeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    seconds.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
            .count());
  }
  std::sort(seconds.begin() + 1, seconds.end());
  return seconds[1 + kRepeats / 2];
}

double GemmFlops() {
  constexpr std::int64_t kN = 2048;
  openblas_set_num_threads(NumThreads());
  const std::vector<float> a(kN * kN, 0.5F);
  const std::vector<float> b(kN * kN, 0.25F);
  std::vector<float> c(kN * kN);
  const double seconds = Seconds([&] {
    const auto n = static_cast<int>(kN);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, a.data(),
                n, b.data(), n, 0, c.data(), n);
  });
  openblas_set_num_threads(1);
  return 2.0 * kN * kN * kN / seconds;
}

// Pairs of query and key that one head sees in rows [T - rows, T).
double VisiblePairs(std::int64_t T, std::int64_t rows, bool dense,
                    const HeadMap& map) {
  double pairs = 0;
  for (std::int64_t i = T - rows; i < T; ++i) {
    pairs += static_cast<double>(
        dense ? i + 1
              : std::min(i + 1, map.window + 1) +
                    std::clamp<std::int64_t>(i - map.window, 0, map.sinks));
  }
  return pairs;
}

double UsefulFlops(const ModelConfig& c, const HeadMap& map) {
  const std::int64_t T = kTokens - 1;
  double flops =
      2.0 * static_cast<double>(kLabels * c.vocab_size * c.hidden_size);
  for (std::int64_t l = 0; l < c.num_layers; ++l) {
    const std::int64_t rows = l + 1 == c.num_layers ? kLabels : T;
    const std::int64_t kv = 2 * c.hidden_size * c.num_kv_heads * c.head_width;
    const std::int64_t rest =
        2 * c.hidden_size * c.num_heads * c.head_width +
        c.hidden_size * c.num_experts +
        3 * c.experts_per_token * c.hidden_size * c.expert_size;
    flops += 2.0 * static_cast<double>(kv * T + rest * rows);
    for (std::int64_t h = 0; h < c.num_heads; ++h) {
      flops += 4.0 * static_cast<double>(c.head_width) *
               VisiblePairs(T, rows, map.retrieves(l, h), map);
    }
  }
  return 3 * flops;
}

// As calibration finds it: 6 of 32 heads, in three layers.
HeadMap MapOf(const ModelConfig& config) {
  HeadMap map = LocalMap(config);
  map.window = 256;
  map.sinks = 4;
  for (const auto& [layer, head] :
       {std::pair<int, int>{1, 0}, {1, 4}, {2, 1}, {2, 6}, {3, 2}, {3, 7}}) {
    map.layers[static_cast<std::size_t>(layer)]
        .retrieval_H[static_cast<std::size_t>(head)] = true;
  }
  return map;
}

int Main() {
  const char* root = std::getenv("RTPURBO_ROOT");
  const std::string folder =
      std::string(root == nullptr ? "." : root) + "/tests/data/tiny";
  const auto device = Device::Open(DeviceType::kCpu).value();
  SoloCommunicator alone;
  Transformer::Options model_options;
  model_options.max_positions = kTokens;
  model_options.comm = &alone;
  model_options.trainable = {Role::kEmbedding, Role::kAttention, Role::kNorms,
                             Role::kExperts, Role::kHead};
  const auto model =
      LoadTransformer(device->ctx(), RealFileSystem(), folder, model_options)
          .value();
  Sequence sequence;
  for (std::int64_t t = 0; t < kTokens; ++t) {
    sequence.tokens_T.push_back(static_cast<std::int32_t>(t * 977 % 8192));
  }
  sequence.label_begin = kTokens - kLabels;
  const HeadMap map = MapOf(model->config());
  ProjectionStart start;
  start.width = 8;
  SelfDistillation::Options options;
  options.mode.map = map;
  options.mode.projections = std::make_shared<IndexProjections>(
      StartProjections(*model, map, start, {sequence.tokens_T}));
  const std::span<const std::int32_t> tokens(sequence.tokens_T);
  const TopLabels labels = TeacherLabels(
      *model, MakeInput(device->ctx(), tokens.first(kTokens - 1), kLabels),
      RangeAttend(MakePatterns(model->config(), DenseMap(model->config()))),
      10);
  options.train = [&](std::int64_t) -> absl::StatusOr<Sequence> {
    return sequence;
  };
  options.train_labels = [&](std::int64_t) -> absl::StatusOr<TopLabels> {
    return labels;
  };
  const double gemm = GemmFlops();
  const double useful = UsefulFlops(model->config(), map);
  std::printf("threads %d, sgemm 2048^3 %.1f GFLOP/s\n", NumThreads(),
              gemm / 1e9);
  for (const bool recompute : {false, true}) {
    options.recompute = recompute;
    SelfDistillation stage(*model, options);
    const double seconds = Seconds([&] {
      StepSums sums;
      CHECK(stage.RunMicroBatch(0, 0, 1.0F / kLabels, &sums).ok());
    });
    std::printf(
        "stage 2, %ld tokens, recompute %d: %.0f ms, %.2f useful GFLOP, "
        "%.1f GFLOP/s, %.1f %% of sgemm, %.0f tokens/s\n",
        static_cast<long>(kTokens), recompute ? 1 : 0, seconds * 1e3,
        useful / 1e9, useful / seconds / 1e9, 100 * useful / seconds / gemm,
        static_cast<double>(kTokens) / seconds);
  }
  return 0;
}

}  // namespace
}  // namespace rtpurbo

int main() {
  return rtpurbo::Main();
}
