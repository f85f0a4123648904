// What the files that include hdf5.h share: the lock, ids that are given back,
// and the library's errors as text. For data/hdf5_*.cc alone.

#ifndef RTPURBO_DATA_HDF5_LIBRARY_H_
#define RTPURBO_DATA_HDF5_LIBRARY_H_

#include <hdf5.h>

#include <cstdint>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace rtpurbo::internal {

// Hdf5File keeps ids as this, so that its header needs no hdf5.h.
static_assert(std::is_same_v<hid_t, std::int64_t>);

// Held around every call of the library, which is not thread-safe. Also keeps
// it from printing its errors.
class Hdf5Lock {
 public:
  Hdf5Lock() : lock_(Mutex()) {
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    H5Eclear2(H5E_DEFAULT);
  }

 private:
  static std::mutex& Mutex() {
    static std::mutex& mutex = *new std::mutex;
    return mutex;
  }
  std::lock_guard<std::mutex> lock_;
};

// An id of the library, given back when it goes. Negative: the library failed.
class Hdf5Handle {
 public:
  Hdf5Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  ~Hdf5Handle() {
    if (id_ >= 0) {
      close_(id_);
    }
  }
  Hdf5Handle(const Hdf5Handle&) = delete;
  Hdf5Handle& operator=(const Hdf5Handle&) = delete;
  hid_t id() const { return id_; }
  hid_t Release() { return std::exchange(id_, -1); }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

// What the library has to say about its last failure: the cause, then what it
// was doing.
inline std::string Hdf5Error() {
  std::vector<std::string> texts;
  const auto keep = [](unsigned /*depth*/, const H5E_error2_t* error,
                       void* to) {
    if (error->desc != nullptr) {
      static_cast<std::vector<std::string>*>(to)->emplace_back(error->desc);
    }
    return herr_t{0};
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep, &texts);
  H5Eclear2(H5E_DEFAULT);
  if (texts.empty()) {
    return "the HDF5 library gives no reason";
  }
  return texts.size() == 1
             ? texts.front()
             : absl::StrCat(texts.front(), " (", texts.back(), ")");
}

// "/" for "", the root.
inline const char* Hdf5PathOf(const std::string& name) {
  return name.empty() ? "/" : name.c_str();
}

}  // namespace rtpurbo::internal

#endif  // RTPURBO_DATA_HDF5_LIBRARY_H_
