#include "trainer/exporter.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "data/safetensors.h"
#include "data/safetensors_writer.h"
#include "kernels/core/bf16.h"
#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"
#include "kernels/elementwise.h"
#include "nlohmann/json.hpp"
#include "trainer/projections_file.h"
#include "trainer/trained_model.h"

namespace rtpurbo {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kConfig[] = "config.json";
constexpr char kHeadwise[] = "headwise_config";
constexpr char kThreshold[] = "seqlen_threshold";
// What a folder holds beside config.json and weights.
constexpr const char* kCopied[] = {"tokenizer.json",
                                   "tokenizer_config.json",
                                   "generation_config.json",
                                   "vocab.json",
                                   "merges.txt",
                                   "special_tokens_map.json",
                                   "added_tokens.json",
                                   "chat_template.jinja",
                                   "chat_template.json",
                                   "preprocessor_config.json"};
// Elements that are on the host at a time.
constexpr std::int64_t kPiece = std::int64_t{1} << 22;

// Where the elements of a published tensor are: in a group's flat buffer.
struct Place {
  const Transformer::Group* group = nullptr;
  std::int64_t offset = 0;
  Shape shape;
};
using Places = std::map<std::string, Place>;

Places PlacesOf(const Transformer& model) {
  Places places;
  for (const Transformer::Group& group : model.groups()) {
    for (std::size_t i = 0; i < group.layout.parameters.size(); ++i) {
      std::int64_t offset = group.params->offset(i);
      for (const PublishedTensor& tensor :
           group.layout.parameters[i].published) {
        places[tensor.name] = {&group, offset, tensor.shape};
        offset += NumElements(tensor.shape);
      }
    }
  }
  return places;
}

// Some folders hold a copy of the embedding as the head that is tied to it.
void AddTiedHead(const Transformer& model, const SafetensorsFolder& teacher,
                 Places* places) {
  constexpr char kHead[] = "lm_head.weight";
  if (model.config().tied_head && teacher.Has(kHead)) {
    (*places)[kHead] = places->at("model.embed_tokens.weight");
  }
}

// The teacher's tensors in their order.
absl::StatusOr<std::vector<SafetensorsSpec>> SpecsOf(
    const SafetensorsFolder& teacher, const std::string& folder,
    const Places& places) {
  std::vector<SafetensorsSpec> specs;
  for (const auto& file : teacher.files()) {
    for (const SafetensorsEntry& entry : file->header.entries) {
      const absl::StatusOr<const SafetensorsEntry*> used =
          teacher.Find(entry.name);
      if (!used.ok() || *used != &entry) {
        continue;  // the index takes it from another shard
      }
      const auto place = places.find(entry.name);
      if (place == places.end() || place->second.shape != entry.shape) {
        return absl::FailedPreconditionError(absl::StrCat(
            folder, ": tensor ", entry.name, " is not the model's"));
      }
      specs.push_back({entry.name, entry.dtype, entry.shape});
    }
  }
  if (specs.size() != places.size()) {
    return absl::FailedPreconditionError(absl::StrCat(
        folder, " holds ", specs.size(), " tensors, but the model ",
        places.size(), ": it is not the model's teacher"));
  }
  return specs;
}

// Where a model computes in bf16 and the teacher has a wider type, values that
// are still the teacher's would lose bits: those get its values back.
void RestoreTeacher(std::span<const float> teacher, std::span<float> values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (static_cast<float>(BFloat16(teacher[i])) == values[i]) {
      values[i] = teacher[i];
    }
  }
}

class WeightWriter {
 public:
  WeightWriter(const ExecContext& ctx, const SafetensorsFolder& teacher,
               SafetensorsWriter* writer)
      : ctx_(ctx), teacher_(teacher), writer_(*writer) {}

  // Writes what this rank holds of a tensor.
  absl::Status Write(const SafetensorsSpec& tensor, const Place& place) {
    const Tensor& shard = place.group->params->shard();
    const std::int64_t begin =
        place.group->params->options().comm->rank() * shard.size();
    const std::int64_t size = NumElements(tensor.shape);
    const std::int64_t to = std::min(place.offset + size, begin + shard.size());
    for (std::int64_t from = std::max(place.offset, begin); from < to;
         from += kPiece) {
      const std::int64_t end = std::min(to, from + kPiece);
      RETURN_IF_ERROR(WritePiece(tensor, from - place.offset,
                                 shard.Slice(from - begin, end - begin)));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status WritePiece(const SafetensorsSpec& tensor, std::int64_t begin,
                          const Tensor& piece) {
    Tensor exact = Tensor::Empty(ctx_, DType::kF32, piece.shape());
    kernels::Cast(ctx_, piece, &exact);
    std::vector<float> values = ToHost<float>(ctx_, exact);
    if (piece.dtype() == DType::kBF16 && tensor.dtype != kSafetensorsBF16) {
      std::vector<float> old(values.size());
      RETURN_IF_ERROR(teacher_.ReadF32(tensor.name, begin, old));
      RestoreTeacher(old, values);
    }
    const auto bad =
        std::find_if_not(values.begin(), values.end(),
                         [](float value) { return std::isfinite(value); });
    if (bad != values.end()) {
      return absl::FailedPreconditionError(absl::StrCat(
          "element ", begin + (bad - values.begin()), " of ", tensor.name,
          " is ", *bad, ": such a model is not exported"));
    }
    return writer_.Write(tensor.name, begin, std::span<const float>(values));
  }

  ExecContext ctx_;
  const SafetensorsFolder& teacher_;
  SafetensorsWriter& writer_;
};

absl::Status WriteWeights(FileSystem& files, const Transformer& model,
                          const std::string& teacher, const std::string& folder,
                          const ExportOptions& options) {
  ASSIGN_OR_RETURN(const SafetensorsFolder weights,
                   SafetensorsFolder::Open(files, teacher));
  Places places = PlacesOf(model);
  AddTiedHead(model, weights, &places);
  ASSIGN_OR_RETURN(const std::vector<SafetensorsSpec> specs,
                   SpecsOf(weights, teacher, places));
  SafetensorsOptions format;
  format.max_shard_bytes = options.max_shard_bytes;
  format.metadata = weights.files()[0]->header.metadata;
  ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsWriter> writer,
                   SafetensorsWriter::Create(files, folder, specs, format));
  WeightWriter weight_writer(model.ctx(), weights, writer.get());
  for (const SafetensorsSpec& tensor : specs) {
    RETURN_IF_ERROR(weight_writer.Write(tensor, places.at(tensor.name)));
  }
  return writer->Finish();
}

Json HeadwiseConfig(const SparseMode& mode) {
  Json headwise = {{"sink_token_num", mode.map.sinks},
                   {"swa_token_num", mode.map.window},
                   {kThreshold, mode.dense_below + 1}};
  for (std::size_t l = 0; l < mode.map.layers.size(); ++l) {
    Json heads = Json::array();
    for (const bool retrieval : mode.map.layers[l].retrieval_H) {
      heads.push_back(retrieval ? 1 : 0);
    }
    headwise[absl::StrCat(l)] = std::move(heads);
  }
  return headwise;
}

absl::Status WriteConfig(FileSystem& files, const SparseMode& mode,
                         const std::string& teacher,
                         const std::string& folder) {
  const std::string path = JoinPath(teacher, kConfig);
  ASSIGN_OR_RETURN(const std::string text, files.ReadFile(path));
  Json config = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) {
    return absl::DataLossError(absl::StrCat(path, ": not a JSON object"));
  }
  config[kHeadwise] = HeadwiseConfig(mode);
  return files.WriteFileAtomically(JoinPath(folder, kConfig),
                                   config.dump(2) + "\n");
}

absl::Status CopyOthers(FileSystem& files, const std::string& teacher,
                        const std::string& folder) {
  for (const char* name : kCopied) {
    const std::string path = JoinPath(teacher, name);
    ASSIGN_OR_RETURN(const bool exists, files.Exists(path));
    if (exists) {
      ASSIGN_OR_RETURN(const std::string contents, files.ReadFile(path));
      RETURN_IF_ERROR(
          files.WriteFileAtomically(JoinPath(folder, name), contents));
    }
  }
  return absl::OkStatus();
}

// The text of an object's headwise_config; null if there is none.
absl::StatusOr<Json> ReadHeadwise(FileSystem& files,
                                  const std::string& folder) {
  const std::string path = JoinPath(folder, kConfig);
  ASSIGN_OR_RETURN(const std::string text, files.ReadFile(path));
  Json config = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) {
    return absl::DataLossError(absl::StrCat(path, ": not a JSON object"));
  }
  return config.contains(kHeadwise) ? config[kHeadwise] : Json();
}

// Whether `out` is there. An error if something that is no export would be
// lost.
absl::StatusOr<bool> MayReplace(FileSystem& files, const std::string& out) {
  ASSIGN_OR_RETURN(const bool exists, files.Exists(out));
  if (!exists) {
    return false;
  }
  ASSIGN_OR_RETURN(const bool is_folder, files.IsDirectory(out));
  if (is_folder) {
    ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(out));
    if (names.empty()) {
      return true;
    }
    ASSIGN_OR_RETURN(const bool has_config,
                     files.Exists(JoinPath(out, kConfig)));
    if (has_config) {
      ASSIGN_OR_RETURN(const Json headwise, ReadHeadwise(files, out));
      if (!headwise.is_null()) {
        return true;
      }
    }
  }
  return absl::FailedPreconditionError(absl::StrCat(
      "cannot export to ", out,
      ": it is there and no exported model. Remove it, or name another "
      "folder"));
}

// Gives the folder `written` the name `out`.
absl::Status Publish(FileSystem& files, const std::string& written,
                     const std::string& out, bool replace) {
  RETURN_IF_ERROR(files.SyncDirectory(written));
  const std::string old = absl::StrCat(out, ".old");
  if (replace) {
    RETURN_IF_ERROR(files.RemoveTree(old));
    RETURN_IF_ERROR(files.Rename(out, old));
  }
  if (absl::Status renamed = files.Rename(written, out); !renamed.ok()) {
    if (replace) {
      files.Rename(old, out).IgnoreError();
    }
    return renamed;
  }
  RETURN_IF_ERROR(files.SyncDirectory(ParentDirectory(out)));
  return files.RemoveTree(old);
}

absl::Status WriteAll(FileSystem& files, const Transformer& model,
                      const SparseMode& mode, const std::string& teacher,
                      const std::string& folder, const ExportOptions& options) {
  RETURN_IF_ERROR(files.RemoveTree(folder));
  RETURN_IF_ERROR(files.CreateDirectories(folder));
  RETURN_IF_ERROR(WriteWeights(files, model, teacher, folder, options));
  if (mode.projections != nullptr) {
    RETURN_IF_ERROR(WriteProjections(model.ctx(), files, folder, mode));
  }
  RETURN_IF_ERROR(CopyOthers(files, teacher, folder));
  return WriteConfig(files, mode, teacher, folder);
}

// The mode that headwise_config says, without projections.
absl::StatusOr<SparseMode> ToMode(const ModelConfig& config,
                                  const Json& headwise,
                                  const std::string& path) {
  for (const char* key : {"sink_token_num", "swa_token_num", kThreshold}) {
    const std::int64_t least = key == std::string("sink_token_num") ? 0 : 1;
    if (!headwise.is_object() || !headwise.contains(key) ||
        !headwise[key].is_number_integer() || headwise[key] < least ||
        headwise[key] > std::numeric_limits<std::int64_t>::max()) {
      return absl::FailedPreconditionError(
          absl::StrCat(path, ": ", kHeadwise, " must have ", key,
                       ", an integer of ", least, " or more"));
    }
  }
  SparseMode mode;
  ASSIGN_OR_RETURN(mode.map,
                   HeadMapFromHeadwise(config, headwise.dump(),
                                       absl::StrCat(path, ": ", kHeadwise)));
  mode.dense_below = headwise[kThreshold].get<std::int64_t>() - 1;
  return mode;
}

}  // namespace

absl::Status ExportModel(FileSystem& files, const Transformer& model,
                         const SparseMode& mode, const std::string& teacher,
                         const std::string& out, const ExportOptions& options) {
  CHECK_LT(mode.dense_below, std::numeric_limits<std::int64_t>::max())
      << "the mode is dense at any length";
  if (model.groups()[0].params->options().comm->size() != 1) {
    return absl::FailedPreconditionError(
        "weights that are shared out over several ranks are not exported: "
        "load the checkpoint with one");
  }
  const std::string name = JoinPath(ParentDirectory(out), BaseName(out));
  ASSIGN_OR_RETURN(const bool replace, MayReplace(files, name));
  const std::string written = absl::StrCat(name, ".tmp");
  absl::Status status = WriteAll(files, model, mode, teacher, written, options);
  if (status.ok()) {
    status = Publish(files, written, name, replace);
  }
  if (!status.ok()) {
    files.RemoveTree(written).IgnoreError();
    return absl::Status(status.code(), absl::StrCat("cannot export to ", out,
                                                    ": ", status.message()));
  }
  return absl::OkStatus();
}

absl::StatusOr<ConvertedModel> LoadConverted(
    const ExecContext& ctx, FileSystem& files, const std::string& folder,
    const Transformer::Options& options) {
  const std::string path = JoinPath(folder, kConfig);
  ASSIGN_OR_RETURN(const ModelConfig config, ReadModelConfig(files, folder));
  ASSIGN_OR_RETURN(const Json headwise, ReadHeadwise(files, folder));
  ConvertedModel converted;
  converted.mode = DenseMode(config);
  if (!headwise.is_null()) {
    ASSIGN_OR_RETURN(converted.mode, ToMode(config, headwise, path));
    ASSIGN_OR_RETURN(const bool has_projections,
                     files.Exists(JoinPath(folder, kProjectionsFile)));
    const std::int64_t dense_below = converted.mode.dense_below;
    if (has_projections) {
      ASSIGN_OR_RETURN(
          converted.mode,
          ReadProjections(ctx, files, folder, config, converted.mode.map));
    }
    if (converted.mode.dense_below != dense_below) {
      return absl::FailedPreconditionError(
          absl::StrCat(path, ": ", kHeadwise, ".", kThreshold, " is ",
                       dense_below + 1, ", but ", kProjectionsFile,
                       " was written with ", converted.mode.dense_below + 1));
    }
  }
  ASSIGN_OR_RETURN(converted.model,
                   LoadTransformer(ctx, files, folder, options));
  return converted;
}

}  // namespace rtpurbo
