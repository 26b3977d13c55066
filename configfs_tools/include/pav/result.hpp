// SPDX-License-Identifier: GPL-2.0
//
// One error type and one result type. An Error says what was tried, on what, why it was refused and what to do about
// it; a Result<T> holds either a value or an Error, and refuses to give a value it does not hold.
#pragma once

#include <string>
#include <utility>
#include <variant>

namespace pav::nvmet {

struct Error {
    std::string tried;   // "write ana_state", "parse the desired state"
    std::string object;  // a path, a JSON pointer, a file
    int err = 0;         // errno, or 0 when no system call refused
    std::string reason;  // why, where errno does not tell
    std::string remedy;  // what the administrator can do; may be empty

    // "cannot TRIED OBJECT: REASON (ERRNO): REMEDY" on one line.
    std::string to_text() const;
};

template <class T> class [[nodiscard]] Result {
  public:
    // cppcheck-suppress noExplicitConstructor ; "return value;" is the point
    Result(T value) : v_(std::in_place_index<0>, std::move(value)) {}
    // cppcheck-suppress noExplicitConstructor
    Result(Error error) : v_(std::in_place_index<1>, std::move(error)) {}

    explicit operator bool() const { return v_.index() == 0; }
    bool ok() const { return v_.index() == 0; }

    // Calling value() on an error, or error() on a value, throws std::bad_variant_access: a bug in the caller.
    T &value() & { return std::get<0>(v_); }
    const T &value() const & { return std::get<0>(v_); }
    T &&value() && { return std::get<0>(std::move(v_)); }
    T &operator*() & { return value(); }
    const T &operator*() const & { return value(); }
    T *operator->() { return &value(); }
    const T *operator->() const { return &value(); }
    const Error &error() const { return std::get<1>(v_); }

  private:
    std::variant<T, Error> v_;
};

template <> class [[nodiscard]] Result<void> {
  public:
    Result() = default;
    // cppcheck-suppress noExplicitConstructor
    Result(Error error) : v_(std::move(error)) {}

    explicit operator bool() const { return v_.index() == 0; }
    bool ok() const { return v_.index() == 0; }
    const Error &error() const { return std::get<1>(v_); }

  private:
    std::variant<std::monostate, Error> v_;
};

}  // namespace pav::nvmet
