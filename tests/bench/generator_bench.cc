// Times of prefill and decoding of the teacher `tiny`, dense and sparse:
//   generator_bench [tokens]

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <numeric>
#include <string>
#include <vector>

#include "kernels/core/parallel.h"
#include "kernels/core/rng.h"
#include "model/generator.h"
#include "tests/trainer/tiny_teacher.h"

namespace rtpurbo::testing {
namespace {

// Seconds of all threads together: other programs count little.
double ProcessorSeconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

SparseMode Sparse(const ModelConfig& config, const ExecContext& ctx,
                  bool retrieval) {
  SparseMode mode;
  mode.map = LocalMap(config);
  mode.map.window = 256;
  mode.map.sinks = 4;
  if (retrieval) {
    for (const std::size_t head : {0, 1, 2, 3, 5}) {
      mode.map.layers[3].retrieval_H[head] = true;
    }
    mode.map.layers[0].retrieval_H[7] = true;
  }
  mode.projections = std::make_shared<IndexProjections>(
      ZeroProjections(ctx, config, mode.map, 8));
  return mode;
}

// The best of some, so that other programs on the machine count less.
void Time(TinyTeacher& teacher, const char* name, const SparseMode& mode,
          const std::vector<std::int32_t>& prompt) {
  constexpr int kSteps = 16;
  double prefill = 1e9;
  double step = 1e9;
  const SparseMode* const modes[] = {&mode};
  for (int i = 0; i < 5; ++i) {
    double begin = ProcessorSeconds();
    std::vector<KvCache> caches = Prefill(*teacher, prompt, modes);
    prefill = std::min(prefill, ProcessorSeconds() - begin);
    SparseDecoder decoder(*teacher, mode, std::move(caches[0]));
    begin = ProcessorSeconds();
    for (int k = 0; k < kSteps; ++k) {
      KeptCounts counts;
      decoder.Step(prompt[static_cast<std::size_t>(k)], &counts);
    }
    step = std::min(step, (ProcessorSeconds() - begin) / kSteps);
  }
  std::printf("%-10s %6zu tokens: prefill %8.2f ms, a step %6.3f ms\n", name,
              prompt.size(), prefill * 1e3, step * 1e3);
}

void Run(std::int64_t tokens) {
  TinyTeacher teacher;
  const ModelConfig& config = teacher->config();
  std::vector<std::int32_t> prompt;
  Rng rng(1, 1);
  for (std::int64_t i = 0; i < tokens; ++i) {
    prompt.push_back(static_cast<std::int32_t>(rng.Below(config.vocab_size)));
  }
  for (const int threads : {1, 2}) {
    SetNumThreads(threads);
    std::printf("%d threads\n", threads);
    Time(teacher, "dense", DenseMode(config), prompt);
    Time(teacher, "windowed", Sparse(config, teacher->ctx(), false), prompt);
    Time(teacher, "sparse", Sparse(config, teacher->ctx(), true), prompt);
  }
}

}  // namespace
}  // namespace rtpurbo::testing

int main(int argc, char** argv) {
  rtpurbo::testing::Run(argc > 1 ? std::atoll(argv[1]) : 2048);
}
