// How a process finds out which rank of how many it is, and the first words
// with the others.
//
// A process that no launcher has started is a world of one, and needs no MPI at
// all. A launcher shows in the environment:
//
//   mpirun of OpenMPI       OMPI_COMM_WORLD_SIZE
//   MPICH, Intel MPI, PMI   PMI_SIZE
//   srun                    SLURM_STEP_NUM_TASKS; not the other SLURM_
//   variables,
//                           which a batch script has that starts one process
//   PMIx                    PMIX_RANK: the size is not told
//
// Under a launcher the ranks are those of MPI. A build without MPI, or an MPI
// that sees another number of ranks than the launcher, is an error: never N
// worlds of one that overwrite each other's files.

#ifndef RTPURBO_DIST_BOOTSTRAP_H_
#define RTPURBO_DIST_BOOTSTRAP_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "dist/communicator.h"

namespace rtpurbo {

struct Launcher {
  std::string variable;  // that tells of it
  std::optional<int> num_ranks;
};
// Null if this process was started alone. `get` reads the environment.
std::optional<Launcher> FindLauncher(
    const std::function<const char*(const char* variable)>& get);

namespace internal {

struct Backend {
  std::unique_ptr<Communicator> world;
  std::function<void()> close;               // after a successful run
  std::function<void(int exit_code)> abort;  // does not return
  std::function<void(const absl::Status& why)> give_up;
};
Backend StartAlone();
absl::StatusOr<Backend> StartMpi(const Launcher& launcher);
// What a build without MPI does under a launcher.
absl::StatusOr<Backend> StartWithoutMpi(const Launcher& launcher);

}  // namespace internal

// Opened once, by the main thread, at the start of the program.
class Bootstrap {
 public:
  // Returns FailedPrecondition if the launcher and this build do not fit each
  // other, or MPI was opened before; Internal if MPI says no.
  static absl::StatusOr<std::unique_ptr<Bootstrap>> Open();
  // Without Close(), a process that ends under a launcher is a failed one: the
  // launcher ends the others.
  ~Bootstrap();
  Bootstrap(const Bootstrap&) = delete;
  Bootstrap& operator=(const Bootstrap&) = delete;

  int rank() const { return world().rank(); }
  int size() const { return world().size(); }
  // Among the ranks on hosts of this name, in the order of rank().
  int local_rank() const { return local_rank_; }
  int local_size() const { return local_size_; }
  const std::string& host_name() const { return host_name_; }
  // Of all ranks. Until Close().
  Communicator& world() const { return *backend_.world; }

  // These three are calls of all ranks, apart from those of world().
  absl::Status Barrier();
  // *bytes = that of rank `root`; at most kMaxBroadcastBytes.
  absl::Status Broadcast(int root, std::string* bytes);
  // Waits for all ranks and leaves MPI; no communicator works afterwards.
  absl::Status Close();

  // Every pending and later call of all communicators of this process returns
  // `why`: another rank is lost. Any thread.
  void GiveUp(const absl::Status& why) { backend_.give_up(why); }

  // Ends all processes of the world, this one at once, with `why` in the log.
  [[noreturn]] void Abort(int exit_code, absl::string_view why);

  static constexpr std::size_t kMaxBroadcastBytes = std::size_t{1} << 20;

 private:
  explicit Bootstrap(internal::Backend backend);
  absl::Status FindHosts();

  std::unique_ptr<Device> device_;
  internal::Backend backend_;
  std::unique_ptr<Communicator> control_;
  std::string host_name_;
  int local_rank_ = 0;
  int local_size_ = 1;
};

}  // namespace rtpurbo

#endif  // RTPURBO_DIST_BOOTSTRAP_H_
