#include "tests/autograd/op_cases.h"

#include <cstdint>
#include <memory>

#include "autograd/ops/ops.h"
#include "kernels/permute.h"
#include "kernels/rope.h"
#include "kernels/router.h"
#include "tests/device_test.h"

namespace rtpurbo::testing {
namespace {

using Vars = std::vector<Var>;
using Ints = std::vector<std::int32_t>;

Tensor I32(const Tape& tape, const Ints& values, const Shape& shape) {
  return FromHost(tape.ctx(), values, shape);
}

OpInput In(const Shape& shape) {
  return {shape, false};
}

OpInput F32(const Shape& shape) {
  return {shape, true};
}

// Two choices for each of three tokens, of four experts.
const Ints& Experts() {
  static const auto& experts = *new Ints{2, 0, 2, 3, 0, 2};
  return experts;
}

struct Layout {
  Tensor place;
  Tensor source;
  Tensor offset;
};

Layout MakeLayout(const Tape& tape) {
  const ExecContext& ctx = tape.ctx();
  Layout layout{Tensor::Empty(ctx, DType::kI32, {3, 2}),
                Tensor::Empty(ctx, DType::kI32, {6}),
                Tensor::Empty(ctx, DType::kI32, {5})};
  kernels::PermuteLayout(ctx, I32(tape, Experts(), {3, 2}), &layout.place,
                         &layout.source, &layout.offset);
  return layout;
}

std::vector<OpCase> DenseCases() {
  const auto linear = [](Tape& tape, const Vars& in) {
    return ops::Linear(tape, in[0], in[1]);
  };
  const auto rms_norm = [](Tape& tape, const Vars& in) {
    return ops::RmsNorm(tape, in[0], in[1], 1e-6F);
  };
  const auto swi_glu = [](Tape& tape, const Vars& in) {
    return ops::SwiGlu(tape, in[0], in[1]);
  };
  const auto add = [](Tape& tape, const Vars& in) {
    return ops::Add(tape, in[0], in[1]);
  };
  const auto reshape = [](Tape& tape, const Vars& in) {
    return ops::Reshape(tape, in[0], {8, 3});
  };
  const auto rows = [](Tape& tape, const Vars& in) {
    return ops::Rows(tape, in[0], 2, 6);
  };
  const auto pick_rows = [](Tape& tape, const Vars& in) {
    return ops::PickRows(tape, in[0], I32(tape, {5, 0, 5, 2}, {4}));
  };
  const auto concat_rows = [](Tape& tape, const Vars& in) {
    return ops::ConcatRows(tape, in);
  };
  const auto embedding = [](Tape& tape, const Vars& in) {
    return ops::Embedding(tape, in[0], I32(tape, {5, 0, 5, 2}, {4}));
  };
  return {{"Linear", {In({5, 7}), In({3, 7})}, linear},
          {"RmsNorm", {In({5, 7}), In({7})}, rms_norm},
          {"SwiGlu", {In({5, 7}), In({5, 7})}, swi_glu},
          {"Add", {In({5, 7}), In({5, 7})}, add},
          {"Reshape", {In({4, 6})}, reshape},
          {"Rows", {In({9, 4})}, rows},
          {"PickRows", {In({6, 4})}, pick_rows},
          {"ConcatRows", {In({2, 3}), In({0, 3}), In({4, 3})}, concat_rows},
          {"Embedding", {In({6, 4})}, embedding}};
}

std::vector<OpCase> AttentionCases() {
  const auto rope = [](Tape& tape, const Vars& in) {
    const ExecContext& ctx = tape.ctx();
    Tensor cosine = Tensor::Empty(ctx, DType::kF32, {9, 3});
    Tensor sine = Tensor::Empty(ctx, DType::kF32, {9, 3});
    kernels::RopeTables(ctx, 100, 9, 6, &cosine, &sine);
    return ops::Rope(tape, in[0], I32(tape, {8, 0, 3}, {3}), cosine, sine);
  };
  const auto attention = [](Tape& tape, const Vars& in) {
    const auto pattern = std::make_shared<kernels::AttentionPattern>();
    pattern->scale = 0.4F;
    pattern->sinks = 1;
    pattern->window_H = {kernels::AttentionPattern::kDense, 2};
    pattern->kv_head_H = {0, 0};
    return ops::RangeAttention(tape, pattern, in[0], in[1], in[2],
                               /*query_begin=*/4);
  };
  return {{"Rope", {In({3, 2, 6})}, rope},
          {"RangeAttention",
           {In({5, 2, 4}), In({9, 1, 4}), In({9, 1, 4})},
           attention},
          {"GateHeads",
           {In({5, 2, 4}), In({5, 2, 4}), F32({2})},
           [](Tape& tape, const Vars& in) {
             return ops::GateHeads(tape, in[0], in[1], in[2]);
           }}};
}

std::vector<OpCase> ExpertCases() {
  const auto router = [](bool normalize) {
    return [normalize](Tape& tape, const Vars& in) {
      const ExecContext& ctx = tape.ctx();
      Tensor prob = Tensor::Empty(ctx, DType::kF32, {3, 4});
      Tensor chosen = Tensor::Empty(ctx, DType::kI32, {3, 2});
      kernels::RouterSelect(ctx, in[0].value(), &prob, &chosen);
      return ops::RouterWeights(tape, in[0], prob, I32(tape, Experts(), {3, 2}),
                                normalize);
    };
  };
  return {
      {"RouterWeights", {In({3, 4})}, router(false)},
      {"RouterWeightsNormalized", {In({3, 4})}, router(true)},
      {"Permute",
       {In({3, 5})},
       [](Tape& tape, const Vars& in) {
         const Layout layout = MakeLayout(tape);
         return ops::Permute(tape, in[0], layout.place, layout.source);
       }},
      {"GroupedLinear",
       {In({6, 5}), In({4, 3, 5})},
       [](Tape& tape, const Vars& in) {
         return ops::GroupedLinear(tape, in[0], in[1], MakeLayout(tape).offset);
       }},
      {"Combine", {In({6, 5}), F32({3, 2})}, [](Tape& tape, const Vars& in) {
         return ops::Combine(tape, in[0], in[1], MakeLayout(tape).place);
       }}};
}

std::vector<OpCase> LossCases() {
  return {{"CrossEntropy",
           {In({3, 6})},
           [](Tape& tape, const Vars& in) {
             return ops::CrossEntropy(tape, in[0], I32(tape, {5, 0, 2}, {3}));
           }},
          {"TopKKl", {In({2, 5}), In({7, 5})}, [](Tape& tape, const Vars& in) {
             const Tensor id = I32(tape, {6, 1, 3, 1, 0, 6}, {2, 3});
             const Tensor teacher = Random(tape.ctx(), DType::kF32, {2, 3}, 9);
             return ops::TopKKl(tape, in[0], in[1], id, teacher);
           }}};
}

}  // namespace

const std::vector<OpCase>& OpCases() {
  static const auto& cases = *[] {
    auto* all = new std::vector<OpCase>;
    for (const auto& some :
         {DenseCases(), AttentionCases(), ExpertCases(), LossCases()}) {
      all->insert(all->end(), some.begin(), some.end());
    }
    return all;
  }();
  return cases;
}

}  // namespace rtpurbo::testing
