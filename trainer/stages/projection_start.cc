#include "trainer/stages/projection_start.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "dist/agree.h"
#include "kernels/core/parallel.h"
#include "model/attention.h"
#include "model/projection_start.h"
#include "trainer/model_input.h"

namespace rtpurbo {
namespace {

// Sums over rows of x x^T, for each head: [heads][C * C].
using Moments = std::vector<std::vector<double>>;

std::vector<float> FloatsOf(const ExecContext& ctx, const Tensor& x) {
  if (x.dtype() == DType::kF32) {
    return ToHost<float>(ctx, x);
  }
  const std::vector<BFloat16> rounded = ToHost<BFloat16>(ctx, x);
  std::vector<float> values(rounded.size());
  std::transform(rounded.begin(), rounded.end(), values.begin(),
                 [](BFloat16 value) { return static_cast<float>(value); });
  return values;
}

// sum += row row^T.
void AddOuter(const float* row, std::int64_t C, double* sum) {
  for (std::int64_t a = 0; a < C; ++a) {
    for (std::int64_t b = 0; b < C; ++b) {
      sum[a * C + b] +=
          static_cast<double>(row[a]) * static_cast<double>(row[b]);
    }
  }
}

// Adds what one layer's x_THC gives. Rows are summed in order, in f64.
void AddMoments(const ExecContext& ctx, const Tensor& x_THC, Moments* moments) {
  const std::int64_t T = x_THC.dim(0);
  const std::int64_t H = x_THC.dim(1);
  const std::int64_t C = x_THC.dim(2);
  const std::vector<float> x = FloatsOf(ctx, x_THC);
  ParallelFor(H, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t h = begin; h < end; ++h) {
      for (std::int64_t t = 0; t < T; ++t) {
        AddOuter(x.data() + (t * H + h) * C, C,
                 (*moments)[static_cast<std::size_t>(h)].data());
      }
    }
  });
}

struct LayerMoments {
  Moments q_H;
  Moments k_G;
};

// Adds up what each rank brings, in rank order. An error leaves it as it is.
void SumOverRanks(const ExecContext& ctx, Communicator& comm,
                  Moments* moments) {
  for (std::vector<double>& sums : *moments) {
    const absl::StatusOr<std::vector<std::string>> all =
        GatherBytes(ctx, comm,
                    {reinterpret_cast<const char*>(sums.data()),
                     sums.size() * sizeof(double)});
    if (!all.ok()) {
      return;
    }
    std::fill(sums.begin(), sums.end(), 0);
    std::vector<double> one(sums.size());
    for (const std::string& bytes : *all) {
      std::memcpy(one.data(), bytes.data(), bytes.size());
      for (std::size_t i = 0; i < sums.size(); ++i) {
        sums[i] += one[i];
      }
    }
  }
}

std::vector<LayerMoments> MeasureMoments(
    Transformer& model, const IndexProjections& projections,
    const std::vector<std::vector<std::int32_t>>& sequences) {
  const ModelConfig& config = model.config();
  const std::vector<double> zero(
      static_cast<std::size_t>(config.head_width * config.head_width));
  const LayerMoments empty{
      Moments(static_cast<std::size_t>(config.num_heads), zero),
      Moments(static_cast<std::size_t>(config.num_kv_heads), zero)};
  std::vector<LayerMoments> moments(projections.layers.size(), empty);
  const Attend dense = RangeAttend(MakePatterns(config, DenseMap(config)));
  const Attend attend = [&](Tape& tape, Stash& stash,
                            const AttentionCall& call) {
    const auto l = static_cast<std::size_t>(call.layer);
    if (!projections.layers[l].empty()) {
      AddMoments(model.ctx(), call.q_pre_THC.value(), &moments[l].q_H);
      AddMoments(model.ctx(), call.k_pre_NGC.value(), &moments[l].k_G);
    }
    return dense(tape, stash, call);
  };
  for (const std::vector<std::int32_t>& tokens : sequences) {
    Tape tape(model.ctx(), Tape::Mode::kOff);
    model.AfterBlocks(
        tape,
        MakeInput(model, tokens, static_cast<std::int64_t>(tokens.size())),
        attend, config.num_layers);
  }
  if (Communicator* const sequence = model.options().sequence;
      sequence != nullptr) {
    for (std::size_t l = 0; l < moments.size(); ++l) {
      if (!projections.layers[l].empty()) {
        SumOverRanks(model.ctx(), *sequence, &moments[l].q_H);
        SumOverRanks(model.ctx(), *sequence, &moments[l].k_G);
      }
    }
  }
  return moments;
}

void Append(const std::vector<float>& from, std::vector<float>* to) {
  to->insert(to->end(), from.begin(), from.end());
}

// One layer's projections, `make` giving those of a slot.
template <typename Make>
void FillLayer(const ExecContext& ctx, const Make& make,
               IndexProjections::Layer* layer) {
  std::vector<float> wq;
  std::vector<float> wk;
  for (std::size_t s = 0; s < layer->head_S.size(); ++s) {
    const ProjectionPair pair = make(layer->head_S[s], layer->kv_head_S[s]);
    Append(pair.wq_RC, &wq);
    Append(pair.wk_RC, &wk);
  }
  layer->wq_SRC = FromHost(ctx, wq, layer->wq_SRC.shape());
  layer->wk_SRC = FromHost(ctx, wk, layer->wk_SRC.shape());
}

std::vector<double> RotationOf(const ModelConfig& config, const HeadMap& map,
                               ProjectionStart::Kind kind,
                               std::int64_t longest) {
  if (kind == ProjectionStart::Kind::kSvdPlain) {
    return Identity(config.head_width);
  }
  return MeanRotation(config.rope_base, config.head_width,
                      std::min(map.window, longest - 1), longest - 1);
}

}  // namespace

IndexProjections StartProjections(
    Transformer& model, const HeadMap& map, const ProjectionStart& start,
    const std::vector<std::vector<std::int32_t>>& sequences) {
  const ModelConfig& config = model.config();
  const std::int64_t C = config.head_width;
  IndexProjections projections =
      ZeroProjections(model.ctx(), config, map, start.width);
  if (start.kind == ProjectionStart::Kind::kRandom) {
    for (std::size_t l = 0; l < projections.layers.size(); ++l) {
      const auto make = [&](std::int32_t head, std::int32_t /*kv_head*/) {
        const auto stream = static_cast<std::uint64_t>(
            static_cast<std::int64_t>(l) * config.num_heads + head);
        return RandomProjections(C, start.width, start.seed, stream);
      };
      if (!projections.layers[l].empty()) {
        FillLayer(model.ctx(), make, &projections.layers[l]);
      }
    }
    return projections;
  }
  std::size_t longest = 2;
  for (const std::vector<std::int32_t>& tokens : sequences) {
    longest = std::max(longest, tokens.size());
  }
  const std::vector<double> d_CC =
      RotationOf(config, map, start.kind, static_cast<std::int64_t>(longest));
  const std::vector<LayerMoments> moments =
      MeasureMoments(model, projections, sequences);
  for (std::size_t l = 0; l < projections.layers.size(); ++l) {
    const auto make = [&](std::int32_t head, std::int32_t kv_head) {
      return BestProjections(moments[l].q_H[static_cast<std::size_t>(head)],
                             moments[l].k_G[static_cast<std::size_t>(kv_head)],
                             d_CC, C, start.width, start.ridge);
    };
    if (!projections.layers[l].empty()) {
      FillLayer(model.ctx(), make, &projections.layers[l]);
    }
  }
  return projections;
}

}  // namespace rtpurbo
