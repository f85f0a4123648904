#include <mpi.h>

#include <csignal>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "dist/bootstrap.h"
#include "dist/mpi_communicator.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo::internal {
namespace {

// The two calls of MPI that block: MPI_Init_thread, where the launcher ends all
// if one fails, and MPI_Finalize, which comes after a barrier of our own.
void Close() {
  MpiCommunicator::CloseAll();
  MPI_Finalize();
}

absl::Status Init() {
  int was_opened = 0;
  MPI_Initialized(&was_opened);
  if (was_opened != 0) {
    return absl::FailedPreconditionError("MPI can be opened only once");
  }
  // MPI and PMIx write to sockets that another rank may just have closed: that
  // is an error of the write, not the end of this process.
  std::signal(SIGPIPE, SIG_IGN);
  int level = 0;
  if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &level) !=
      MPI_SUCCESS) {
    return absl::InternalError("MPI_Init_thread failed");
  }
  if (level < MPI_THREAD_SERIALIZED) {
    return absl::FailedPreconditionError(
        "this MPI was built without MPI_THREAD_SERIALIZED");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Backend> StartMpi(const Launcher& launcher) {
  RETURN_IF_ERROR(Init());
  std::unique_ptr<Communicator> world = MpiCommunicator::World();
  if (launcher.num_ranks.value_or(world->size()) != world->size()) {
    return absl::FailedPreconditionError(absl::StrCat(
        launcher.variable, " says ", *launcher.num_ranks,
        " ranks, but MPI sees ", world->size(),
        ": the launcher does not speak with this MPI (try mpirun, or srun "
        "--mpi=pmix)"));
  }
  return Backend{std::move(world), Close,
                 [](int exit_code) { MPI_Abort(MPI_COMM_WORLD, exit_code); },
                 MpiCommunicator::GiveUpAll};
}

}  // namespace rtpurbo::internal
