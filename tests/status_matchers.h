// Matchers for absl::Status and absl::StatusOr, which Debian 12's Abseil does
// not have yet.
//
//   ASSERT_OK(Save());                  EXPECT_THAT(Load(), IsOk());
//   ASSERT_OK_AND_ASSIGN(const Model model, Load());
//   EXPECT_THAT(Load(), StatusIs(absl::StatusCode::kNotFound,
//                                HasSubstr("model.safetensors")));

#ifndef RTPURBO_TESTS_STATUS_MATCHERS_H_
#define RTPURBO_TESTS_STATUS_MATCHERS_H_

#include <ostream>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo::testing {

inline const absl::Status& StatusOf(const absl::Status& status) {
  return status;
}
template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& status_or) {
  return status_or.status();
}

MATCHER(IsOk, "is OK") {
  *result_listener << StatusOf(arg).ToString();
  return arg.ok();
}

MATCHER_P(StatusIs, code, absl::StatusCodeToString(code)) {
  *result_listener << StatusOf(arg).ToString();
  return StatusOf(arg).code() == code;
}

MATCHER_P2(StatusIs, code, message,
           absl::StatusCodeToString(code) + " with a message that " +
               ::testing::DescribeMatcher<std::string>(message)) {
  *result_listener << StatusOf(arg).ToString();
  return StatusOf(arg).code() == code &&
         ::testing::Matches(message)(std::string(StatusOf(arg).message()));
}

}  // namespace rtpurbo::testing

#define EXPECT_OK(expr) EXPECT_THAT((expr), ::rtpurbo::testing::IsOk())
#define ASSERT_OK(expr) ASSERT_THAT((expr), ::rtpurbo::testing::IsOk())
// NOLINTBEGIN(bugprone-macro-parentheses): as for ASSIGN_OR_RETURN
#define ASSERT_OK_AND_ASSIGN(lhs, expr) \
  ASSERT_OK_AND_ASSIGN_(STATUS_MACROS_NAME_(value_or_, __LINE__), lhs, expr)
#define ASSERT_OK_AND_ASSIGN_(value_or, lhs, expr)   \
  auto value_or = (expr);                            \
  ASSERT_THAT(value_or, ::rtpurbo::testing::IsOk()); \
  lhs = *std::move(value_or)
// NOLINTEND(bugprone-macro-parentheses)

#endif  // RTPURBO_TESTS_STATUS_MATCHERS_H_
