#include "trainer/trained_model.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/core/process.h"
#include "kernels/core/progress.h"
#include "kernels/core/status_macros.h"
#include "kernels/elementwise.h"

namespace rtpurbo {
namespace {

absl::Status CheckShape(const SafetensorsFolder& weights,
                        const PublishedTensor& tensor,
                        const std::string& folder) {
  ASSIGN_OR_RETURN(const SafetensorsEntry* entry, weights.Find(tensor.name));
  if (entry->shape != tensor.shape) {
    return absl::FailedPreconditionError(absl::StrCat(
        folder, ": tensor ", tensor.name, " has shape [",
        absl::StrJoin(entry->shape, ", "), "], but config.json asks for [",
        absl::StrJoin(tensor.shape, ", "), "]"));
  }
  return absl::OkStatus();
}

// Reads what this rank holds of one parameter, which lies at
// [offset, offset + size) of the group's flat buffer, into `shard`: elements
// [begin, begin + shard.size()) of that buffer.
absl::Status ReadParameter(const SafetensorsFolder& weights,
                           const ParameterLayout& parameter,
                           std::int64_t offset, std::int64_t begin,
                           std::span<float> shard) {
  for (const PublishedTensor& tensor : parameter.published) {
    const std::int64_t size = NumElements(tensor.shape);
    const auto end = begin + static_cast<std::int64_t>(shard.size());
    const std::int64_t from = std::max(offset, begin);
    const std::int64_t to = std::min(offset + size, end);
    if (from < to) {
      RETURN_IF_ERROR(
          weights.ReadF32(tensor.name, from - offset,
                          shard.subspan(static_cast<std::size_t>(from - begin),
                                        static_cast<std::size_t>(to - from))));
    }
    offset += size;
  }
  return absl::OkStatus();
}

// Reads groups in pieces. The files' pages, the f32 values and their copy on
// the device, of one piece each, are all that is held beside the weights: the
// buffers are the same for all pieces, because an allocator that gets them back
// in between finds no use for them once something small lies in the gap.
class GroupReader {
 public:
  GroupReader(const SafetensorsFolder& weights, const std::string& folder,
              const ExecContext& ctx)
      : weights_(weights),
        folder_(folder),
        ctx_(ctx),
        values_(kPiece),
        staged_(Tensor::Empty(ctx, DType::kF32, {kPiece})) {}

  absl::Status Read(const Transformer::Group& group) {
    for (const ParameterLayout& parameter : group.layout.parameters) {
      for (const PublishedTensor& tensor : parameter.published) {
        RETURN_IF_ERROR(CheckShape(weights_, tensor, folder_));
      }
    }
    const std::int64_t size = group.params->shard().size();
    for (std::int64_t begin = 0; begin < size; begin += kPiece) {
      RETURN_IF_ERROR(ReadPiece(group, begin, std::min(size, begin + kPiece)));
    }
    return absl::OkStatus();
  }

 private:
  static constexpr std::int64_t kPiece = std::int64_t{1} << 20;  // elements

  // Elements [begin, end) of the shard.
  absl::Status ReadPiece(const Transformer::Group& group, std::int64_t begin,
                         std::int64_t end) {
    ParamGroup& params = *group.params;
    const std::int64_t first =
        params.options().comm->rank() * params.shard().size();
    const auto values =
        std::span(values_).first(static_cast<std::size_t>(end - begin));
    std::fill(values.begin(), values.end(), 0.0F);  // between parameters
    for (std::size_t i = 0; i < group.layout.parameters.size(); ++i) {
      RETURN_IF_ERROR(ReadParameter(weights_, group.layout.parameters[i],
                                    params.offset(i), first + begin, values));
    }
    const Tensor staged = staged_.Slice(0, end - begin);
    CopyBytes(ctx_, values.data(), staged.bytes(), staged.num_bytes());
    Tensor part = params.shard().Slice(begin, end);
    kernels::Cast(ctx_, staged, &part);
    Synchronize(ctx_);
    weights_.Forget();
    return absl::OkStatus();
  }

  const SafetensorsFolder& weights_;
  const std::string& folder_;
  ExecContext ctx_;
  std::vector<float> values_;
  Tensor staged_;
};

// A weight that nothing here reads would change answers without a sign of it.
absl::Status CheckNothingIsLeft(const SafetensorsFolder& weights,
                                const std::string& folder,
                                const ModelConfig& config) {
  std::set<std::string> known;
  for (const GroupLayout& group : ModelLayout(config)) {
    for (const ParameterLayout& parameter : group.parameters) {
      for (const PublishedTensor& tensor : parameter.published) {
        known.insert(tensor.name);
      }
    }
  }
  if (config.tied_head) {
    known.insert("lm_head.weight");  // some folders hold the copy, too
  }
  for (const std::string& name : weights.names()) {
    if (known.count(name) == 0) {
      return absl::FailedPreconditionError(
          absl::StrCat(folder, ": tensor ", name,
                       " has no place in a model of this config.json"));
    }
  }
  return absl::OkStatus();
}

// Of the first rank, once it has taken kPatience seconds.
class LoadProgress {
 public:
  explicit LoadProgress(const Transformer& model)
      : talks_(model.groups().front().params->options().comm->rank() == 0) {
    for (const Transformer::Group& group : model.groups()) {
      all_ += group.params->shard().num_bytes();
    }
  }
  void Add(const Transformer::Group& group) {
    done_ += group.params->shard().num_bytes();
    if (!line_.has_value() && talks_ && SteadySeconds() - start_ > kPatience) {
      line_.emplace("load, MB a rank", all_ >> 20, done_ >> 20);
    }
    if (line_.has_value()) {
      line_->Update({done_ >> 20, 0});
    }
  }

 private:
  static constexpr double kPatience = 3;

  const bool talks_;
  const double start_ = SteadySeconds();
  std::int64_t all_ = 0;
  std::int64_t done_ = 0;
  std::optional<ProgressLine> line_;
};

}  // namespace

absl::StatusOr<ModelConfig> ReadModelConfig(FileSystem& files,
                                            const std::string& folder) {
  const std::string path = JoinPath(folder, "config.json");
  ASSIGN_OR_RETURN(const std::string json, files.ReadFile(path));
  return ModelConfig::Parse(json, path);
}

absl::Status CheckExpertAxis(const ModelConfig& config, int num_ranks,
                             const std::string& folder) {
  const std::int64_t experts = config.num_experts;
  if (num_ranks == 1 || (experts > 0 && experts % num_ranks == 0)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "mesh.expert is ", num_ranks, ", but the model in ", folder, " has ",
      experts, " experts", experts > 0 ? " (not divisible)" : ""));
}

absl::StatusOr<std::unique_ptr<Transformer>> LoadTransformer(
    const ExecContext& ctx, FileSystem& files, const std::string& folder,
    const Transformer::Options& options) {
  ASSIGN_OR_RETURN(ModelConfig config, ReadModelConfig(files, folder));
  ASSIGN_OR_RETURN(const SafetensorsFolder weights,
                   SafetensorsFolder::Open(files, folder));
  RETURN_IF_ERROR(CheckNothingIsLeft(weights, folder, config));
  const int experts = options.expert == nullptr ? 1 : options.expert->size();
  RETURN_IF_ERROR(CheckExpertAxis(config, experts, folder));
  auto model = std::make_unique<Transformer>(ctx, std::move(config), options);
  LoadProgress progress(*model);
  GroupReader reader(weights, folder, ctx);
  for (const Transformer::Group& group : model->groups()) {
    RETURN_IF_ERROR(reader.Read(group));
    progress.Add(group);
  }
  return model;
}

std::vector<TrainedTensor> TrainedTensors(const Transformer& model,
                                          const Replicas& replicas) {
  std::vector<TrainedTensor> tensors;
  for (const Transformer::Group& group : model.groups()) {
    ParamGroup& params = *group.params;
    if (!params.options().trainable) {
      continue;
    }
    TrainedTensor tensor;
    tensor.name = group.layout.name;
    tensor.role = Name(group.layout.role);
    tensor.weight = params.shard();
    tensor.grad = params.grad_shard();
    tensor.weight_decay = params.options().weight_decay;
    tensor.begin = params.options().comm->rank() * params.shard().size();
    tensor.replicas =
        group.layout.by_expert ? replicas.of_experts : replicas.of_most;
    for (std::size_t i = 0; i < group.layout.parameters.size(); ++i) {
      const ParameterLayout& parameter = group.layout.parameters[i];
      const std::int64_t size = NumElements(parameter.shape);
      tensor.parameters.push_back(
          {absl::StrCat(group.layout.name, ".", parameter.name),
           parameter.whole, params.offset(i),
           Interval{parameter.begin, parameter.begin + size}});
    }
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

}  // namespace rtpurbo
