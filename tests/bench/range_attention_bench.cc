// Time of range attention on the CPU, beside a matrix product of the BLAS in
// the same process with the same threads.
//
//   range_attention_bench [threads]
//
// Useful work: 4 C FLOPs a visible pair of query and key forward, 10 C
// backward, which counts the scores that it computes again; 2 C + 6 R for
// alignment KL with both gradients.

#include <cblas.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "kernels/alignment_kl.h"
#include "kernels/core/parallel.h"
#include "kernels/range_attention.h"
#include "tests/device_test.h"

namespace rtpurbo {
namespace {

using kernels::AttentionInputs;
using kernels::AttentionPattern;
using testing::Random;

// The shortest of some runs, in seconds: what other work on the machine does
// not disturb.
double Seconds(const std::function<void()>& fn) {
  double best = 1e9;
  double total = 0;
  for (int run = 0; run < 3 || (total < 1 && run < 50); ++run) {
    const auto begin = std::chrono::steady_clock::now();
    fn();
    const std::chrono::duration<double> time =
        std::chrono::steady_clock::now() - begin;
    best = std::min(best, time.count());
    total += time.count();
  }
  return best;
}

double SgemmGflops() {
  constexpr int kSide = 2048;
  constexpr std::size_t kSize = std::size_t{kSide} * kSide;
  const std::vector<float> a(kSize, 0.5F);
  const std::vector<float> b(kSize, 0.5F);
  std::vector<float> c(kSize);
  const double seconds = Seconds([&] {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, kSide, kSide, kSide,
                1, a.data(), kSide, b.data(), kSide, 0, c.data(), kSide);
  });
  return 2.0 * kSide * kSide * kSide / seconds * 1e-9;
}

struct BenchCase {
  std::string name;
  std::int64_t T;
  std::int64_t H;
  std::int64_t G;
  std::int64_t C;
  std::int64_t window;
  std::int64_t sinks = 0;
  std::int64_t selected_rows = 0;
};

AttentionPattern PatternOf(const ExecContext& ctx, const BenchCase& c) {
  AttentionPattern pattern;
  pattern.scale = 1 / std::sqrt(static_cast<float>(c.C));
  pattern.sinks = c.sinks;
  for (std::int64_t h = 0; h < c.H; ++h) {
    pattern.window_H.push_back(c.window);
    pattern.kv_head_H.push_back(static_cast<std::int32_t>(h / (c.H / c.G)));
  }
  if (c.selected_rows > 0) {
    const std::int64_t words = kernels::MaskWords(c.T, pattern.block);
    const std::vector<std::int32_t> bits(
        static_cast<std::size_t>(c.selected_rows * words), 0x11111111);
    pattern.selected_SMB = FromHost(ctx, bits, {1, c.selected_rows, words});
    pattern.slot_H.assign(static_cast<std::size_t>(c.H), 0);
  }
  return pattern;
}

// Pairs of a query and a key that it sees, over all heads.
double VisiblePairs(const BenchCase& c) {
  double pairs = 0;
  for (std::int64_t t = 0; t < c.T; ++t) {
    if (t >= c.T - c.selected_rows) {
      pairs += static_cast<double>(t + 1) / 4;
    } else {
      const std::int64_t begin = c.window == AttentionPattern::kDense
                                     ? 0
                                     : std::max<std::int64_t>(0, t - c.window);
      pairs += static_cast<double>(t + 1 - begin + std::min(begin, c.sinks));
    }
  }
  return pairs * static_cast<double>(c.H);
}

void Print(const BenchCase& c, const char* pass, double seconds, double flops,
           double sgemm) {
  const double gflops = flops / seconds * 1e-9;
  std::printf(
      "%-12s T %5ld H %2ld G %2ld C %3ld  %-8s %8.2f ms %7.1f GFLOP/s"
      " %5.0f %% of sgemm\n",
      c.name.c_str(), c.T, c.H, c.G, c.C, pass, seconds * 1e3, gflops,
      100 * gflops / sgemm);
}

void Run(const ExecContext& ctx, const BenchCase& c, double sgemm) {
  const AttentionPattern pattern = PatternOf(ctx, c);
  const AttentionInputs in = {Random(ctx, DType::kF32, {c.T, c.H, c.C}, 1),
                              Random(ctx, DType::kF32, {c.T, c.G, c.C}, 2),
                              Random(ctx, DType::kF32, {c.T, c.G, c.C}, 3), 0};
  const Tensor d_o = Random(ctx, DType::kF32, {c.T, c.H, c.C}, 4);
  Tensor o = Tensor::Zeros(ctx, DType::kF32, {c.T, c.H, c.C});
  Tensor lse = Tensor::Zeros(ctx, DType::kF32, {c.H, c.T});
  Tensor dq = Tensor::Zeros(ctx, DType::kF32, {c.T, c.H, c.C});
  Tensor dk = Tensor::Zeros(ctx, DType::kF32, {c.T, c.G, c.C});
  Tensor dv = Tensor::Zeros(ctx, DType::kF32, {c.T, c.G, c.C});
  const double flops = VisiblePairs(c) * static_cast<double>(c.C);
  Print(c, "forward",
        Seconds([&] { RangeAttentionForward(ctx, pattern, in, &o, &lse); }),
        4 * flops, sgemm);
  Print(c, "backward", Seconds([&] {
          RangeAttentionBackward(ctx, pattern, in, o, lse, d_o, &dq, &dk, &dv);
        }),
        10 * flops, sgemm);
}

// A quarter of the later rows of each head and the last 24, as training draws
// them.
void RunAlignment(const ExecContext& ctx, std::int64_t num_heads,
                  double sgemm) {
  const BenchCase c = {"alignment", 2048, 8, 2, 32, AttentionPattern::kDense};
  constexpr std::int64_t kR = 8;
  std::vector<std::int32_t> row_M;
  double pairs = 0;
  for (std::int64_t i = c.T / 8; i < c.T; ++i) {
    if (i % 4 == 0 || i >= c.T - 24) {
      row_M.push_back(static_cast<std::int32_t>(i));
      pairs += static_cast<double>(i + 1);
    }
  }
  const auto M = static_cast<std::int64_t>(row_M.size());
  const std::int64_t S = num_heads;
  const kernels::AlignmentInputs in = {
      .q_THC = Random(ctx, DType::kF32, {c.T, c.H, c.C}, 1),
      .k_NGC = Random(ctx, DType::kF32, {c.T, c.G, c.C}, 2),
      .lse_HT = Tensor::Zeros(ctx, DType::kF32, {c.H, c.T}),
      .x_MSR = Random(ctx, DType::kF32, {M, S, kR}, 3),
      .y_NSR = Random(ctx, DType::kF32, {c.T, S, kR}, 4),
      .row_M = FromHost(ctx, row_M, {M}),
      .head_S = std::vector<std::int32_t>(static_cast<std::size_t>(S), 3)};
  Tensor kl = Tensor::Zeros(ctx, DType::kF32, {S, M});
  Tensor dx = Tensor::Zeros(ctx, DType::kF32, {M, S, kR});
  Tensor dy = Tensor::Zeros(ctx, DType::kF32, {c.T, S, kR});
  const AttentionPattern pattern = PatternOf(ctx, c);
  const double seconds =
      Seconds([&] { AlignmentKl(ctx, pattern, in, 1, &kl, &dx, &dy); });
  Print(c, "KL", seconds, pairs * static_cast<double>(S * (2 * c.C + 6 * kR)),
        sgemm);
}

}  // namespace
}  // namespace rtpurbo

int main(int argc, char** argv) {
  using rtpurbo::kernels::AttentionPattern;
  if (argc > 1) {
    rtpurbo::SetNumThreads(std::atoi(argv[1]));
  }
  openblas_set_num_threads(rtpurbo::NumThreads());
  const double sgemm = rtpurbo::SgemmGflops();
  std::printf("%d threads, sgemm 2048^3: %.1f GFLOP/s\n", rtpurbo::NumThreads(),
              sgemm);
  const auto device = *rtpurbo::Device::Open(rtpurbo::DeviceType::kCpu);
  constexpr std::int64_t kDense = AttentionPattern::kDense;
  const std::vector<rtpurbo::BenchCase> cases = {
      {"dense", 2048, 8, 2, 32, kDense},
      {"window", 2048, 8, 2, 32, 256, 4},
      {"selected", 2048, 8, 2, 32, kDense, 0, 300},
      {"dense", 2048, 8, 2, 64, kDense},
      {"window", 2048, 8, 2, 64, 256, 4},
      {"dense", 2048, 8, 1, 128, kDense},
      {"odd ratio", 2048, 3, 3, 32, kDense},
      {"short", 64, 8, 2, 32, kDense},
  };
  for (const rtpurbo::BenchCase& c : cases) {
    rtpurbo::Run(device->ctx(), c, sgemm);
  }
  rtpurbo::RunAlignment(device->ctx(), 1, sgemm);
  rtpurbo::RunAlignment(device->ctx(), 3, sgemm);
  return 0;
}
