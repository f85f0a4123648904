#include "trainer/stage_checkpoint.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "data/checkpoint_folder.h"
#include "dist/agree.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

// Part of a flat buffer that holds one parameter's elements, on the device.
struct Piece {
  TensorPart part;
  Tensor device;
};

// The pieces of `flat`, a buffer laid out as tensor.weight. Their host tensors
// are `flat` itself on the CPU, else room for a copy.
void AddPieces(const ExecContext& ctx, const TrainedTensor& tensor,
               const Tensor& flat, const std::string& prefix,
               std::vector<Piece>* pieces) {
  const std::int64_t shard_end = tensor.begin + flat.size();
  for (const TrainedTensor::Parameter& parameter : tensor.parameters) {
    const Interval elements = parameter.elements();
    const std::int64_t end = parameter.offset + elements.size();
    const std::int64_t from = std::max(parameter.offset, tensor.begin);
    const std::int64_t to = std::min(end, shard_end);
    if (from >= to) {
      continue;
    }
    Piece piece;
    piece.device = flat.Slice(from - tensor.begin, to - tensor.begin);
    const std::int64_t first = elements.begin - parameter.offset;
    piece.part = {prefix + parameter.name, parameter.shape, first + from,
                  first + to, piece.device};
    if (OnCuda(ctx)) {
      static Device* const kHost =
          Device::Open(DeviceType::kCpu).value().release();
      piece.part.local = Tensor::Empty(kHost->ctx(), DType::kF32, {to - from});
    }
    pieces->push_back(std::move(piece));
  }
}

// All that this rank holds, or what it speaks for.
enum class Which : std::uint8_t { kHeld, kFirst };

std::vector<Piece> AllPieces(const ExecContext& ctx, const Optimizer& optimizer,
                             Which which) {
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < optimizer.tensors().size(); ++i) {
    const TrainedTensor& tensor = optimizer.tensors()[i];
    if (which == Which::kFirst && !tensor.is_first()) {
      continue;
    }
    AddPieces(ctx, tensor, tensor.weight, "", &pieces);
    AddPieces(ctx, tensor, optimizer.m()[i], "adam.m/", &pieces);
    AddPieces(ctx, tensor, optimizer.v()[i], "adam.v/", &pieces);
  }
  return pieces;
}

enum class Direction : std::uint8_t { kToHost, kToDevice };

void CopyPieces(const ExecContext& ctx, const std::vector<Piece>& pieces,
                Direction direction) {
  if (!OnCuda(ctx)) {
    return;  // they are the same bytes
  }
  for (const Piece& piece : pieces) {
    const Tensor& from =
        direction == Direction::kToHost ? piece.device : piece.part.local;
    const Tensor& to =
        direction == Direction::kToHost ? piece.part.local : piece.device;
    CopyBytes(ctx, from.bytes(), to.bytes(), from.num_bytes());
  }
  Synchronize(ctx);
}

std::vector<TensorPart> PartsOf(const std::vector<Piece>& pieces) {
  std::vector<TensorPart> parts;
  parts.reserve(pieces.size());
  for (const Piece& piece : pieces) {
    parts.push_back(piece.part);
  }
  return parts;
}

// 17 digits give the same double back.
std::string Join(const std::vector<double>& values) {
  std::string text;
  for (const double value : values) {
    absl::StrAppendFormat(&text, "%s%.17g", text.empty() ? "" : " ", value);
  }
  return text;
}

absl::StatusOr<std::vector<double>> ReadNumbers(const Checkpoint& checkpoint,
                                                const std::string& key) {
  ASSIGN_OR_RETURN(const std::string text, checkpoint.State(key));
  std::vector<double> values;
  for (const absl::string_view word :
       absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    double value = 0;
    if (!absl::SimpleAtod(word, &value)) {
      return absl::DataLossError(absl::StrCat(checkpoint.dir(), ": state ", key,
                                              " has \"", word, "\""));
    }
    values.push_back(value);
  }
  return values;
}

absl::StatusOr<std::int64_t> ReadInteger(const Checkpoint& checkpoint,
                                         const std::string& key) {
  ASSIGN_OR_RETURN(const std::string text, checkpoint.State(key));
  std::int64_t value = 0;
  if (!absl::SimpleAtoi(text, &value)) {
    return absl::DataLossError(
        absl::StrCat(checkpoint.dir(), ": state ", key, " is \"", text, "\""));
  }
  return value;
}

absl::Status LoadPieces(const ExecContext& ctx, const Checkpoint& checkpoint,
                        const std::vector<Piece>& pieces) {
  RETURN_IF_ERROR(checkpoint.Load(PartsOf(pieces)));
  CopyPieces(ctx, pieces, Direction::kToDevice);
  return absl::OkStatus();
}

}  // namespace

absl::Status SaveStage(const ExecContext& ctx, FileSystem& files,
                       Communicator& ranks, const std::string& folder,
                       const std::string& config_text,
                       const Optimizer& optimizer, const StageState& state,
                       std::int64_t incarnation) {
  const std::vector<Piece> pieces = AllPieces(ctx, optimizer, Which::kFirst);
  CopyPieces(ctx, pieces, Direction::kToHost);
  RETURN_IF_ERROR(OnFirstRank(ctx, ranks, [&] {
    return PrepareCheckpoint(files, folder, state.step, incarnation);
  }));
  const auto write = [&]() -> absl::StatusOr<std::string> {
    ASSIGN_OR_RETURN(
        const CheckpointFile file,
        WriteCheckpointFile(files, folder, state.step, ranks.rank(),
                            PartsOf(pieces), incarnation));
    return file.SerializeAsString();
  };
  ASSIGN_OR_RETURN(const std::vector<std::string> records,
                   GatherResults(ctx, ranks, write()));
  CheckpointContents contents;
  contents.step = state.step;
  contents.incarnation = incarnation;
  contents.config = config_text;
  contents.state = {{"bad_steps", absl::StrCat(state.bad_steps)},
                    {"best_step", absl::StrCat(state.best_step)},
                    {"first_held_out", Join(state.first_held_out)},
                    {"best_held_out", Join(state.best_held_out)}};
  for (const std::string& record : records) {
    CHECK(contents.files.emplace_back().ParseFromString(record));
  }
  return OnFirstRank(ctx, ranks, [&]() -> absl::Status {
    RETURN_IF_ERROR(CommitCheckpoint(files, folder, contents));
    return SetBestCheckpoint(files, folder, state.best_step);
  });
}

absl::StatusOr<StageState> LoadStage(const ExecContext& ctx,
                                     const Checkpoint& checkpoint,
                                     const Optimizer& optimizer) {
  StageState state;
  state.step = checkpoint.step();
  ASSIGN_OR_RETURN(state.bad_steps, ReadInteger(checkpoint, "bad_steps"));
  ASSIGN_OR_RETURN(state.best_step, ReadInteger(checkpoint, "best_step"));
  ASSIGN_OR_RETURN(state.first_held_out,
                   ReadNumbers(checkpoint, "first_held_out"));
  ASSIGN_OR_RETURN(state.best_held_out,
                   ReadNumbers(checkpoint, "best_held_out"));
  RETURN_IF_ERROR(
      LoadPieces(ctx, checkpoint, AllPieces(ctx, optimizer, Which::kHeld)));
  return state;
}

absl::Status LoadWeights(const ExecContext& ctx, const Checkpoint& checkpoint,
                         const std::vector<TrainedTensor>& tensors) {
  std::vector<Piece> pieces;
  for (const TrainedTensor& tensor : tensors) {
    AddPieces(ctx, tensor, tensor.weight, "", &pieces);
  }
  return LoadPieces(ctx, checkpoint, pieces);
}

}  // namespace rtpurbo
