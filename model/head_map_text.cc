// The text form of a head map.

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "configs/schema/head_map.pb.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/text_format.h"
#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"
#include "model/head_map.h"

namespace rtpurbo {
namespace {

// Keeps "file:line: what" of each error. Lines of protobuf count from 0.
class ErrorLines : public google::protobuf::io::ErrorCollector {
 public:
  explicit ErrorLines(absl::string_view file) : file_(file) {}
  void AddError(int line, int /*column*/, const std::string& message) override {
    errors_.push_back(absl::StrCat(file_, ":", line + 1, ": ", message));
  }
  absl::Status status() const {
    return absl::DataLossError(absl::StrJoin(errors_, "\n"));
  }

 private:
  std::string file_;
  std::vector<std::string> errors_;
};

absl::StatusOr<HeadMap::Layer> ToLayer(const configs::HeadMap::Layer& layer,
                                       std::size_t index,
                                       absl::string_view file) {
  const int heads = layer.retrieval_size();
  if (layer.score_size() != 0 && layer.score_size() != heads) {
    return absl::DataLossError(absl::StrCat(file, ": layer ", index, " has ",
                                            heads, " heads, but ",
                                            layer.score_size(), " scores"));
  }
  return HeadMap::Layer{{layer.retrieval().begin(), layer.retrieval().end()},
                        {layer.score().begin(), layer.score().end()}};
}

}  // namespace

std::string ToText(const HeadMap& map) {
  configs::HeadMap message;
  message.set_method(map.method);
  message.set_share(map.share);
  message.set_window(map.window);
  message.set_sinks(map.sinks);
  message.set_model_fingerprint(map.model_fingerprint);
  message.set_documents(map.documents);
  for (const HeadMap::Layer& layer : map.layers) {
    configs::HeadMap::Layer& out = *message.add_layers();
    for (const bool retrieval : layer.retrieval_H) {
      out.add_retrieval(retrieval);
    }
    out.mutable_score()->Add(layer.score_H.begin(), layer.score_H.end());
  }
  google::protobuf::TextFormat::Printer printer;
  printer.SetUseShortRepeatedPrimitives(true);  // a layer is two lines
  std::string text;
  CHECK(printer.PrintToString(message, &text));
  return text;
}

absl::StatusOr<HeadMap> HeadMapFromText(absl::string_view text,
                                        absl::string_view file) {
  configs::HeadMap message;
  ErrorLines errors(file);
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&errors);
  if (!parser.ParseFromString(std::string(text), &message)) {
    return errors.status();
  }
  HeadMap map;
  map.method = message.method();
  map.share = message.share();
  map.window = message.window();
  map.sinks = message.sinks();
  map.model_fingerprint = message.model_fingerprint();
  map.documents = message.documents();
  for (const configs::HeadMap::Layer& layer : message.layers()) {
    ASSIGN_OR_RETURN(HeadMap::Layer one,
                     ToLayer(layer, map.layers.size(), file));
    map.layers.push_back(std::move(one));
  }
  return map;
}

absl::Status CheckFits(const ModelConfig& config, const HeadMap& map,
                       absl::string_view file) {
  const bool fits =
      static_cast<std::int64_t>(map.layers.size()) == config.num_layers &&
      std::all_of(map.layers.begin(), map.layers.end(), [&](const auto& layer) {
        return static_cast<std::int64_t>(layer.retrieval_H.size()) ==
               config.num_heads;
      });
  if (fits) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(absl::StrCat(
      file, ": the map has ", map.layers.size(), " layers",
      map.layers.empty()
          ? ""
          : absl::StrCat(" of ", map.layers[0].retrieval_H.size(),
                         " heads in the first"),
      ", but the model has ", config.num_layers, " layers of ",
      config.num_heads, " query heads. Calibrate this model, or name its map"));
}

}  // namespace rtpurbo
