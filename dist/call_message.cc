#include "dist/call_message.h"

#include <cstring>
#include <string>

#include "dist/status_bytes.h"

namespace rtpurbo::internal {
namespace {

// "rtpurbo" and the version of this format.
constexpr std::int64_t kMagic = 0x72747075'72626F01;
constexpr std::size_t kNumFixed = 11;  // words before the lists

}  // namespace

std::int64_t MaxCallWords(int num_ranks) {
  return static_cast<std::int64_t>(kNumFixed) + std::int64_t{2} * num_ranks;
}

void Encode(const Call& call, std::span<const std::byte> payload,
            std::vector<std::int64_t>* message) {
  const auto length = [](const auto& list) {
    return static_cast<std::int64_t>(list.size());
  };
  *message = {kMagic,
              call.is_last ? 1 : 0,
              static_cast<std::int64_t>(call.op),
              static_cast<std::int64_t>(call.dtype),
              static_cast<std::int64_t>(call.reduce),
              call.root,
              call.size,
              length(call.send_rows),
              length(call.receive_rows),
              length(call.members),
              length(payload)};
  for (const auto list : {call.send_rows, call.receive_rows, call.members}) {
    message->insert(message->end(), list.begin(), list.end());
  }
  if (!payload.empty()) {
    const std::size_t begin = message->size();
    message->resize(begin + (payload.size() + 7) / 8);
    std::memcpy(message->data() + begin, payload.data(), payload.size());
  }
}

absl::StatusOr<DecodedCall> Decode(std::span<const std::int64_t> message) {
  const auto size = [&](std::size_t i) {
    return static_cast<std::size_t>(message[i]);
  };
  if (message.size() < kNumFixed || message[0] != kMagic ||
      message.size() !=
          kNumFixed + size(7) + size(8) + size(9) + (size(10) + 7) / 8) {
    return absl::FailedPreconditionError(
        "it runs another version of this program");
  }
  std::size_t end = kNumFixed;
  const auto next = [&](std::size_t length) {
    end += length;
    return message.subspan(end - length, length);
  };
  DecodedCall decoded;
  decoded.call = {.op = static_cast<CommOp>(message[2]),
                  .dtype = static_cast<DType>(message[3]),
                  .reduce = static_cast<ReduceOp>(message[4]),
                  .root = static_cast<int>(message[5]),
                  .size = message[6],
                  .send_rows = next(size(7)),
                  .receive_rows = next(size(8)),
                  .members = next(size(9)),
                  .is_last = message[1] != 0};
  decoded.payload = std::as_bytes(message.subspan(end)).first(size(10));
  return decoded;
}

std::vector<std::byte> EncodeError(const absl::Status& error) {
  const std::string text = EncodeStatus(error).substr(0, kMaxErrorBytes);
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

absl::Status DecodeError(std::span<const std::byte> bytes) {
  return DecodeStatus(absl::string_view(
      reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

}  // namespace rtpurbo::internal
