#include "data/text/nfc.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "data/text/unicode_ranges.h"
#include "data/text/utf8.h"
#include "kernels/core/check.h"

namespace rtpurbo {
namespace {

constexpr std::uint32_t kFirstMark = 0x300;
constexpr std::uint8_t kFirstByteOfMarks = 0xCC;
constexpr auto kOptions =
    static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);

// Canonical combining class: 0 for what is not a mark, else the order of marks.
int CombiningClass(utf8proc_int32_t code) {
  return utf8proc_get_property(code)->combining_class;
}

void AppendDecomposed(std::uint32_t code,
                      std::vector<utf8proc_int32_t>* codes) {
  std::array<utf8proc_int32_t, 16> parts;
  int boundary = 0;  // of graphemes, which no option asks for
  const utf8proc_ssize_t count = utf8proc_decompose_char(
      static_cast<utf8proc_int32_t>(code), parts.data(),
      static_cast<utf8proc_ssize_t>(parts.size()), kOptions, &boundary);
  CHECK(count > 0 && count <= static_cast<utf8proc_ssize_t>(parts.size()))
      << "decomposition of U+" << std::hex << code << " has length " << count;
  codes->insert(codes->end(), parts.begin(), parts.begin() + count);
}

// utf8proc's own sort takes quadratic time, minutes for a text of marks.
void SortMarks(std::vector<utf8proc_int32_t>* codes) {
  const auto is_mark = [](utf8proc_int32_t code) {
    return CombiningClass(code) != 0;
  };
  auto begin = codes->begin();
  while ((begin = std::find_if(begin, codes->end(), is_mark)) != codes->end()) {
    const auto end = std::find_if_not(begin, codes->end(), is_mark);
    std::stable_sort(begin, end, [](utf8proc_int32_t a, utf8proc_int32_t b) {
      return CombiningClass(a) < CombiningClass(b);
    });
    begin = end;
  }
}

// Collects characters up to one that combines with nothing before it, then
// writes the normal form of what it has.
class Composer {
 public:
  explicit Composer(std::string* out) : out_(out) {}

  void Add(std::uint32_t code) { AppendDecomposed(code, &codes_); }

  void Flush() {
    SortMarks(&codes_);
    const utf8proc_ssize_t size = utf8proc_normalize_utf32(
        codes_.data(), static_cast<utf8proc_ssize_t>(codes_.size()), kOptions);
    CHECK(size >= 0) << utf8proc_errmsg(size);
    for (utf8proc_ssize_t i = 0; i < size; ++i) {
      AppendUtf8(
          static_cast<std::uint32_t>(codes_[static_cast<std::size_t>(i)]),
          out_);
    }
    codes_.clear();
  }

 private:
  std::string* out_;
  std::vector<utf8proc_int32_t> codes_;
};

}  // namespace

bool IsPlainNfc(absl::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) {
    return static_cast<std::uint8_t>(c) >= kFirstByteOfMarks;
  });
}

std::string NormalizeNfc(absl::string_view text) {
  std::string out;
  out.reserve(text.size());
  Composer composer(&out);
  for (std::size_t i = 0; i < text.size();) {
    const Utf8Character c = ReadUtf8(text.substr(i));
    i += c.size;
    const bool alone = c.code >= kFirstMark && Contains(UnknownToNfc(), c.code);
    if (alone || c.code < kFirstMark) {
      composer.Flush();
    }
    if (alone || (c.code < kFirstMark && IsPlainNfc(text.substr(i, 1)))) {
      out.append(text.data() + i - c.size, c.size);  // nothing follows it
    } else {
      composer.Add(c.code);
    }
  }
  composer.Flush();
  return out;
}

}  // namespace rtpurbo
