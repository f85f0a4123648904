#include "trainer/projections_file.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "data/safetensors.h"
#include "data/safetensors_writer.h"
#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

using Metadata = std::map<std::string, std::string>;
using Rule = kernels::Selection::Rule;
using Order = kernels::Selection::Order;

constexpr char kFormat[] = "rtpurbo projections";
constexpr char kVersion[] = "1";
constexpr std::int64_t kMaxWidth = 4096;  // of what is taken for a width

std::string QueryName(std::int64_t layer) {
  return absl::StrCat("layers.", layer, ".index_q");
}
std::string KeyName(std::int64_t layer) {
  return absl::StrCat("layers.", layer, ".index_k");
}
std::string HeadsName(std::int64_t layer) {
  return absl::StrCat("layers.", layer, ".heads");
}

// The shortest text that reads back as the same number.
std::string ExactText(double value) {
  std::array<char, 32> text;
  const auto end =
      std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return std::string(text.data(), end);
}

Metadata MetadataOf(const SparseMode& mode) {
  const kernels::Selection& selection = mode.selection;
  Metadata metadata = {
      {"format", kFormat},
      {"version", kVersion},
      {"width", absl::StrCat(mode.projections->width)},
      {"window", absl::StrCat(mode.map.window)},
      {"sinks", absl::StrCat(mode.map.sinks)},
      {"dense_below", absl::StrCat(mode.dense_below)},
      {"rule", selection.rule == Rule::kTopP ? "top_p" : "top_k"},
      {"top_p", ExactText(selection.top_p)},
      {"top_k", absl::StrCat(selection.top_k)},
      {"granularity", selection.block == 1 ? "token" : "block"},
      {"block", absl::StrCat(selection.block)},
      {"order", selection.order == Order::kMass ? "mass" : "maximum"},
      {"forced_sinks", absl::StrCat(selection.sinks)},
      {"recent", absl::StrCat(selection.recent)},
      {"model_fingerprint", mode.map.model_fingerprint},
  };
  for (std::size_t l = 0; l < mode.projections->layers.size(); ++l) {
    const IndexProjections::Layer& layer = mode.projections->layers[l];
    if (!layer.empty()) {
      metadata[HeadsName(static_cast<std::int64_t>(l))] =
          absl::StrJoin(layer.head_S, ",");
    }
  }
  return metadata;
}

// Reads an open file and keeps the first error, which names the file.
class Reader {
 public:
  Reader(const SafetensorsFolder& weights, std::string path)
      : weights_(weights),
        metadata_(weights.files()[0]->header.metadata),
        path_(std::move(path)) {}

  const absl::Status& status() const { return status_; }

  std::string Text(const std::string& key) {
    const auto found = metadata_.find(key);
    if (found == metadata_.end()) {
      Fail(absl::StrCat("has no ", key, " in its metadata"));
      return "";
    }
    return found->second;
  }
  std::int64_t Integer(
      const std::string& key, std::int64_t least,
      std::int64_t most = std::numeric_limits<std::int64_t>::max()) {
    const std::string text = Text(key);
    std::int64_t value = least;
    if (status_.ok() &&
        (!absl::SimpleAtoi(text, &value) || value < least || value > most)) {
      Fail(absl::StrCat("says ", key, " = ", text, ", not an integer from ",
                        least, " to ", most));
    }
    return value;
  }
  double Number(const std::string& key) {
    const std::string text = Text(key);
    double value = 0;
    if (status_.ok() && (!absl::SimpleAtod(text, &value) || !(value >= 0))) {
      Fail(absl::StrCat("says ", key, " = ", text, ", not a number"));
    }
    return value;
  }
  // Whether the value of `key` is `yes` and not `no`.
  bool Choice(const std::string& key, const char* yes, const char* no) {
    const std::string text = Text(key);
    if (status_.ok() && text != yes && text != no) {
      Fail(absl::StrCat("says ", key, " = ", text, ", neither ", yes, " nor ",
                        no));
    }
    return text == yes;
  }
  // What the file says of `key` must be what is `expected` by `whose`.
  void Expect(const std::string& key, const std::string& expected,
              const char* whose) {
    const std::string text = Text(key);
    if (status_.ok() && text != expected) {
      Fail(absl::StrCat("says ", key, " = ", text, ", but ", whose, " has ",
                        expected));
    }
  }
  // Fills `tensor`, which says what shape it must have.
  void Fill(const ExecContext& ctx, const std::string& name, Tensor* tensor) {
    names_.insert(name);
    std::vector<float> values(static_cast<std::size_t>(tensor->size()));
    Update(CheckShape(name, tensor->shape()));
    if (status_.ok()) {
      Update(weights_.ReadF32(name, 0, values));
    }
    for (const float value : values) {
      if (!std::isfinite(value)) {
        Update(absl::DataLossError(
            absl::StrCat(path_, ": ", name, " holds ", value)));
        return;
      }
    }
    *tensor = FromHost(ctx.Tagged("projections"), values, tensor->shape());
  }
  // After all were filled.
  void ExpectNothingElse() {
    for (const std::string& name : weights_.names()) {
      if (!names_.contains(name)) {
        Fail(absl::StrCat("holds ", name,
                          ", for which the head map has no retrieval head"));
      }
    }
  }

 private:
  void Update(const absl::Status& status) { status_.Update(status); }
  void Fail(const std::string& what) {
    Update(absl::FailedPreconditionError(absl::StrCat(path_, " ", what)));
  }
  absl::Status CheckShape(const std::string& name, const Shape& shape) const {
    ASSIGN_OR_RETURN(const SafetensorsEntry* entry, weights_.Find(name));
    if (entry->shape == shape && entry->dtype == kSafetensorsF32) {
      return absl::OkStatus();
    }
    return absl::FailedPreconditionError(absl::StrCat(
        path_, ": ", name, " is ", entry->dtype, " of shape [",
        absl::StrJoin(entry->shape, ", "), "], but the model, its map and ",
        "width ask for F32 of [", absl::StrJoin(shape, ", "), "]"));
  }

  const SafetensorsFolder& weights_;
  const Metadata& metadata_;
  std::string path_;
  std::set<std::string> names_;
  absl::Status status_;
};

void ReadSelection(Reader& in, kernels::Selection* selection) {
  selection->rule =
      in.Choice("rule", "top_p", "top_k") ? Rule::kTopP : Rule::kTopK;
  selection->order =
      in.Choice("order", "mass", "maximum") ? Order::kMass : Order::kMaximum;
  selection->top_p = in.Number("top_p");
  selection->top_k = in.Integer("top_k", 0);
  selection->block = in.Integer("block", 1);
  selection->sinks = in.Integer("forced_sinks", 0);
  selection->recent = in.Integer("recent", 0);
  in.Expect("granularity", selection->block == 1 ? "token" : "block",
            "a file with this block");
}

void CheckMap(Reader& in, const ModelConfig& config, const HeadMap& map) {
  in.Expect("window", absl::StrCat(map.window), "the head map");
  in.Expect("sinks", absl::StrCat(map.sinks), "the head map");
  if (!map.model_fingerprint.empty() && !in.Text("model_fingerprint").empty()) {
    in.Expect("model_fingerprint", map.model_fingerprint, "the head map");
  }
  for (std::int64_t l = 0; l < config.num_layers; ++l) {
    const std::vector<std::int32_t> heads = map.RetrievalHeads(l);
    if (!heads.empty()) {
      in.Expect(HeadsName(l), absl::StrJoin(heads, ","), "the head map");
    }
  }
}

}  // namespace

absl::Status WriteProjections(const ExecContext& ctx, FileSystem& files,
                              const std::string& folder,
                              const SparseMode& mode) {
  CHECK(mode.projections != nullptr);
  const std::vector<IndexProjections::Layer>& layers = mode.projections->layers;
  CHECK_EQ(layers.size(), mode.map.layers.size());
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto l = static_cast<std::int64_t>(i);
    CHECK(layers[i].head_S == mode.map.RetrievalHeads(l)) << "layer " << l;
    if (!layers[i].empty()) {
      tensors.emplace_back(QueryName(l), layers[i].wq_SRC);
      tensors.emplace_back(KeyName(l), layers[i].wk_SRC);
    }
  }
  std::vector<SafetensorsSpec> specs;
  specs.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) {
    specs.push_back({name, kSafetensorsF32, tensor.shape()});
  }
  SafetensorsOptions options;
  options.stem = "projections";
  options.metadata = MetadataOf(mode);
  ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsWriter> writer,
                   SafetensorsWriter::Create(files, folder, specs, options));
  for (const auto& [name, tensor] : tensors) {
    RETURN_IF_ERROR(writer->Write(
        name, 0, std::span<const float>(ToHost<float>(ctx, tensor))));
  }
  return writer->Finish();
}

absl::StatusOr<SparseMode> ReadProjections(const ExecContext& ctx,
                                           FileSystem& files,
                                           const std::string& folder,
                                           const ModelConfig& config,
                                           const HeadMap& map) {
  const std::string path = JoinPath(folder, kProjectionsFile);
  ASSIGN_OR_RETURN(const SafetensorsFolder weights,
                   SafetensorsFolder::OpenFile(files, path));
  Reader in(weights, path);
  in.Expect("format", kFormat, "this program");
  in.Expect("version", kVersion, "this program");
  SparseMode mode;
  mode.map = map;
  mode.dense_below = in.Integer("dense_below", 0);
  ReadSelection(in, &mode.selection);
  CheckMap(in, config, map);
  const std::int64_t width = in.Integer("width", 1, kMaxWidth);
  RETURN_IF_ERROR(in.status());
  if (mode.map.model_fingerprint.empty()) {
    mode.map.model_fingerprint = in.Text("model_fingerprint");
  }
  auto projections = std::make_shared<IndexProjections>(
      ZeroProjections(ctx, config, map, width));
  for (std::int64_t l = 0; l < config.num_layers; ++l) {
    IndexProjections::Layer& layer =
        projections->layers[static_cast<std::size_t>(l)];
    if (!layer.empty()) {
      in.Fill(ctx, QueryName(l), &layer.wq_SRC);
      in.Fill(ctx, KeyName(l), &layer.wk_SRC);
    }
  }
  in.ExpectNothingElse();
  RETURN_IF_ERROR(in.status());
  mode.projections = std::move(projections);
  return mode;
}

}  // namespace rtpurbo
