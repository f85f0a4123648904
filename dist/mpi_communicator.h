// Ranks as processes, by MPI, with tensors on the CPU. Calls and their cost are
// those of message_communicator.h. Comparing the calls is all that a small one
// costs: of two processes on two busy cores, 3 us at best for AllReduce of 8
// bytes and 2 us for Barrier.
//
// MPI never blocks here: every message is a non-blocking one, and who waits for
// it tests it, first without a pause (a message is near once all ranks are in a
// call), then between sleeps of up to a millisecond. So a call can be aborted,
// and gives up after timeout(). MPI is entered by one thread at a time.
//
// A failed rank tells the others of its group, who hear of it inside their
// calls and in Poll. A call that fails waits two seconds more for the messages
// that are on their way to or from its tensors. If they do not end, because the
// other process is dead or stopped, MPI is never entered again, as that is when
// it would touch the tensors: all communicators of the process return
// Unavailable.

#ifndef RTPURBO_DIST_MPI_COMMUNICATOR_H_
#define RTPURBO_DIST_MPI_COMMUNICATOR_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dist/message_communicator.h"

namespace rtpurbo {

class MpiCommunicator : public internal::MessageCommunicator {
 public:
  // The group of all processes. Once in a process.
  // REQUIRES: MPI is initialized, with MPI_THREAD_SERIALIZED or better.
  static std::unique_ptr<Communicator> World();
  // Before MPI_Finalize: calls of MPI communicators return FailedPrecondition.
  static void CloseAll();
  // Every pending and later call of all MPI communicators of this process
  // returns `why`, and MPI is never entered again. Any thread.
  static void GiveUpAll(const absl::Status& why);

  ~MpiCommunicator() override;
  int rank() const override;
  int size() const override;
  absl::Status Poll() override;
  void Abort(absl::string_view why) override;

 private:
  class Group;  // all that needs mpi.h

  explicit MpiCommunicator(std::unique_ptr<Group> group);
  absl::Status Meet(const Call& call, std::vector<Message>* messages,
                    std::vector<Message>* received) override;
  absl::Status Exchange(const Call& call, std::span<const Part> send,
                        std::span<const Part> receive) override;
  absl::Status Fail(absl::Status status) override;
  std::int64_t NextGroup() override;
  absl::StatusOr<std::unique_ptr<Communicator>> MakeGroup(
      std::int64_t number, std::span<const std::int64_t> members) override;

  std::unique_ptr<Group> group_;
};

}  // namespace rtpurbo

#endif  // RTPURBO_DIST_MPI_COMMUNICATOR_H_
