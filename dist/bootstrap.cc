#include "dist/bootstrap.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <numeric>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "dist/agree.h"
#include "dist/solo_communicator.h"
#include "kernels/core/log.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

#ifdef RTPURBO_WITH_MPI
constexpr bool kHasMpi = true;
#else
constexpr bool kHasMpi = false;
#endif

absl::StatusOr<internal::Backend> Start() {
  const std::optional<Launcher> launcher = FindLauncher(std::getenv);
  if (!launcher.has_value()) {
    return internal::StartAlone();
  }
  if constexpr (kHasMpi) {
    return internal::StartMpi(*launcher);
  }
  return internal::StartWithoutMpi(*launcher);
}

}  // namespace

std::optional<Launcher> FindLauncher(
    const std::function<const char*(const char* variable)>& get) {
  for (const char* variable :
       {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"}) {
    int num_ranks = 0;
    const char* value = get(variable);
    if (value != nullptr && absl::SimpleAtoi(value, &num_ranks)) {
      return Launcher{variable, num_ranks};
    }
  }
  if (get("PMIX_RANK") != nullptr) {
    return Launcher{"PMIX_RANK", std::nullopt};
  }
  return std::nullopt;
}

namespace internal {

Backend StartAlone() {
  return {std::make_unique<SoloCommunicator>(), [] {},
          [](int exit_code) { std::_Exit(exit_code); },
          [](const absl::Status&) {}};
}

absl::StatusOr<Backend> StartWithoutMpi(const Launcher& launcher) {
  if (launcher.num_ranks == 1) {
    return StartAlone();
  }
  const std::string ranks =
      launcher.num_ranks.has_value()
          ? absl::StrCat("one of ", *launcher.num_ranks, " ranks")
          : "a rank";
  return absl::FailedPreconditionError(absl::StrCat(
      "this program was built without MPI, but started as ", ranks, " (",
      launcher.variable,
      " is set): build it with -DRTPURBO_MPI=ON, or start it alone"));
}

}  // namespace internal

absl::StatusOr<std::unique_ptr<Bootstrap>> Bootstrap::Open() {
  ASSIGN_OR_RETURN(internal::Backend backend, Start());
  std::unique_ptr<Bootstrap> bootstrap(new Bootstrap(std::move(backend)));
  ASSIGN_OR_RETURN(bootstrap->device_, Device::Open(DeviceType::kCpu));
  std::vector<int> all(static_cast<std::size_t>(bootstrap->size()));
  std::iota(all.begin(), all.end(), 0);
  ASSIGN_OR_RETURN(bootstrap->control_, bootstrap->world().Split(all));
  RETURN_IF_ERROR(bootstrap->FindHosts());
  return bootstrap;
}

Bootstrap::Bootstrap(internal::Backend backend)
    : backend_(std::move(backend)) {}
Bootstrap::~Bootstrap() = default;

absl::Status Bootstrap::FindHosts() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) {
    return absl::InternalError("gethostname failed");
  }
  host_name_ = name.data();
  ASSIGN_OR_RETURN(const std::vector<std::string> names,
                   GatherBytes(device_->ctx(), *control_, host_name_));
  const auto me = names.begin() + rank();
  local_rank_ = static_cast<int>(std::count(names.begin(), me, host_name_));
  local_size_ =
      static_cast<int>(std::count(names.begin(), names.end(), host_name_));
  return absl::OkStatus();
}

absl::Status Bootstrap::Barrier() {
  return control_->Barrier();
}

absl::Status Bootstrap::Broadcast(int root, std::string* bytes) {
  CHECK_LE(bytes->size(), kMaxBroadcastBytes);
  const ExecContext ctx = device_->ctx();
  Tensor size = FromHost<std::int32_t>(
      ctx, {static_cast<std::int32_t>(bytes->size())}, {1});
  RETURN_IF_ERROR(control_->Broadcast(ctx, root, &size));
  bytes->resize(static_cast<std::size_t>(*size.data<std::int32_t>()));
  const auto words = static_cast<std::int64_t>((bytes->size() + 3) / 4);
  Tensor text = Tensor::Zeros(ctx, DType::kI32, {words});
  std::copy(bytes->begin(), bytes->end(),
            reinterpret_cast<char*>(text.bytes()));
  RETURN_IF_ERROR(control_->Broadcast(ctx, root, &text));
  std::copy_n(reinterpret_cast<const char*>(text.bytes()), bytes->size(),
              bytes->begin());
  return absl::OkStatus();
}

absl::Status Bootstrap::Close() {
  RETURN_IF_ERROR(Barrier());
  control_.reset();
  backend_.world.reset();
  backend_.close();
  return absl::OkStatus();
}

void Bootstrap::Abort(int exit_code, absl::string_view why) {
  Log(LogLevel::kError, "bootstrap", why);
  backend_.abort(exit_code);
  std::abort();  // not reached
}

}  // namespace rtpurbo
