#include "tests/trainer/test_distillation.h"

#include <span>

#include "data/file_system.h"
#include "trainer/stages/projection_start.h"
#include "trainer/trained_model.h"

namespace rtpurbo::testing {

std::unique_ptr<Transformer> LoadTestModel(const ExecContext& ctx,
                                           Communicator& comm,
                                           const std::string& dir,
                                           const std::set<Role>& trainable,
                                           Communicator* sequence,
                                           Communicator* expert) {
  Transformer::Options options;
  options.max_positions = 256;
  options.trainable = trainable;
  options.comm = &comm;
  options.sequence = sequence;
  options.expert = expert;
  return LoadTransformer(ctx, RealFileSystem(), dir, options).value();
}

HeadMap TestMap(const ModelConfig& config) {
  HeadMap map = LocalMap(config);
  map.layers[0].retrieval_H[2] = true;
  map.layers[1].retrieval_H[0] = true;
  map.window = 8;
  map.sinks = 2;
  return map;
}

SparseMode TestMode(Transformer& teacher) {
  ProjectionStart start;
  start.width = 8;
  SparseMode mode;
  mode.map = TestMap(teacher.config());
  mode.projections = std::make_shared<IndexProjections>(
      StartProjections(teacher, mode.map, start, {TestSequence(0).tokens_T}));
  mode.selection.block = 8;
  mode.selection.recent = 8;
  mode.selection.top_p = 0.5;
  return mode;
}

Sequence TestSequence(std::int64_t index) {
  constexpr std::int64_t kTokens = 90;
  Sequence sequence;
  sequence.index = index;
  for (std::int64_t t = 0; t < kTokens; ++t) {
    sequence.tokens_T.push_back(
        static_cast<std::int32_t>((t * 37 + index * 101 + 11) % 8192));
  }
  sequence.label_begin = kTokens - (index % 2 == 0 ? 3 : 30);
  return sequence;
}

TopLabels TestLabels(Transformer& teacher, const Sequence& sequence) {
  const std::span<const std::int32_t> tokens(sequence.tokens_T);
  return TeacherLabels(
      teacher,
      MakeInput(teacher.ctx(), tokens.first(tokens.size() - 1),
                sequence.num_labels()),
      RangeAttend(MakePatterns(teacher.config(), DenseMap(teacher.config()))),
      10);
}

}  // namespace rtpurbo::testing
